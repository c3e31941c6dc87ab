"""What one run does with the files that wait, as plain functions: the assets call the steps, the replay all at once.

Every step may be repeated at any time: what it finds done it leaves alone.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from assets.config import Settings
from assets.ingestion.landing.batches import LandedBatch
from assets.ingestion.landing.claims import claimed
from assets.ingestion.landing.intake import Intake, finish_applied, ingest_claimed, refuse_batch
from assets.ingestion.landing.places import ClaimedFile
from assets.ingestion.limits import within
from assets.ingestion.registry import text_options
from assets.serving.live.apply import apply_batches, feature_config, waiting_batches
from assets.serving.live.generation import OpenGeneration, open_generation, writer_lock
from assets.serving.live.ledger import LedgerEntry, applied, entries
from assets.serving.live.maintain import Maintained, maintain_index
from assets.serving.live.refresh import Refreshed, refresh_embeddings
from assets.serving.live.removal import reconcile
from assets.storage import Storage, locked
from assets.training.checkpoints import CheckpointError

Clock = Callable[[], int]
"""Wall clock, microseconds."""

NOT_OF_A_BATCH: Final = (OSError, MemoryError, CheckpointError)
"""Faults of the machine and of what serves: trying again may help, refusing a batch never does."""


@dataclass
class Applied:
    """What became of landed batches.

    Attributes:
        entries: of the ledger, of the batches applied now.
        refused: source name -> reason, of batches that cannot be applied and went to the quarantine.
        finished: claimed files that were moved away.
    """

    entries: list[LedgerEntry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    finished: list[ClaimedFile] = field(default_factory=list)


@dataclass(frozen=True)
class Processed:
    """What :func:`process_waiting` did, step by step."""

    intake: Intake
    applied: Applied
    refreshed: Refreshed
    maintained: Maintained


def process_waiting(
    storage: Storage, settings: Settings, clock: Clock, partitions: Collection[str] | None = None
) -> Processed:
    """Land, apply, embed and index the claimed files of ``partitions`` (``None``: of all).

    Raises:
        NoIndexError: when nothing serves yet.
    """
    chosen = list(claimed(storage)) if partitions is None else partitions
    with within(settings.limits):
        intake = ingest_claimed(storage, settings.freshness, chosen, clock(), text_options(settings))
    with locked(writer_lock(storage)), open_generation(storage) as opened:
        reconcile(opened, settings, clock())
        done = _apply_landed(opened, settings, chosen, clock())
        refreshed = refresh_embeddings(opened.store, opened.model, settings.freshness, clock(), clock)
        maintained = maintain_index(opened, settings, clock())
    return Processed(intake, done, refreshed, maintained)


def apply_landed(storage: Storage, settings: Settings, partitions: Collection[str], now: int) -> Applied:
    """Apply what landed in ``partitions`` and move its files away.

    A batch that cannot be applied while others can is refused, so that it stands before nothing; where none can be,
    the fault is not theirs and is raised.

    Args:
        now: wall clock, microseconds.

    Raises:
        NoIndexError: when nothing serves yet.
    """
    with locked(writer_lock(storage)), open_generation(storage) as opened:
        reconcile(opened, settings, now)
        return _apply_landed(opened, settings, partitions, now)


def embed_due(storage: Storage, settings: Settings, clock: Clock) -> Refreshed:
    """Embed the items that are due and write the delta.

    Raises:
        NoIndexError: when nothing serves yet.
    """
    with locked(writer_lock(storage)), open_generation(storage) as opened:
        reconcile(opened, settings, clock())
        return refresh_embeddings(opened.store, opened.model, settings.freshness, clock(), clock)


def _apply_landed(opened: OpenGeneration, settings: Settings, partitions: Collection[str], now: int) -> Applied:
    with opened.store.read() as reader:
        waiting = waiting_batches(opened.storage, reader, partitions)
    done = _apply(opened, settings, waiting, now)
    with opened.store.read() as reader:
        done.finished = finish_applied(opened.storage, partitions, lambda digests: applied(reader, digests))
    return done


def _apply(opened: OpenGeneration, settings: Settings, batches: Sequence[LandedBatch], now: int) -> Applied:
    config = feature_config(opened.model, settings.freshness)
    try:
        return Applied(apply_batches(opened, batches, config, now))
    except NOT_OF_A_BATCH:
        raise
    except Exception as error:
        return _one_by_one(opened, settings, batches, now, error)


def _one_by_one(
    opened: OpenGeneration, settings: Settings, batches: Sequence[LandedBatch], now: int, fault: Exception
) -> Applied:
    """Apply each batch alone, after together they failed with ``fault``."""
    config = feature_config(opened.model, settings.freshness)
    failed: list[tuple[LandedBatch, Exception]] = []
    for batch in batches:
        try:
            apply_batches(opened, [batch], config, now)
        except NOT_OF_A_BATCH:
            raise
        except Exception as alone:  # told below
            failed.append((batch, alone))
    digests = {batch.digest for batch in batches}
    with opened.store.read() as reader:
        done = Applied([entry for entry in entries(reader) if entry.digest in digests])
    if not done.entries:
        raise fault
    for batch, own in failed:
        reason = f"{batch.source}: applying it failed with {type(own).__name__}: {own}"
        refuse_batch(opened.storage, batch, reason)
        done.refused[batch.source] = reason
    return done
