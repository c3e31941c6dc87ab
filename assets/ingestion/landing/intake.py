"""From claimed files to landed batches: the first step of a run. One file's fault is that file's alone.

A file that ended several processes while it was read goes to the quarantine too, see :mod:`.marks`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from assets.config import FreshnessConfig
from assets.ingestion.content import TextOptions
from assets.ingestion.landing.batches import SHORT, Arrival, Landed, LandedBatch, write_batch
from assets.ingestion.landing.claims import claimed, drop_empty_claims, finish, quarantine, refuse_unfit
from assets.ingestion.landing.contract import file_batch_digest, read_engagements, read_items
from assets.ingestion.landing.errors import LandingError, UnfinishedError
from assets.ingestion.landing.marks import marked
from assets.ingestion.landing.places import ClaimedFile, Kind, reading_folder
from assets.storage import Storage, encodable


@dataclass
class Intake:
    """What became of claimed files.

    Attributes:
        batches: landed, those that were there already too, in the order in which they were seen.
        refused: name -> reason, of the files that went to the quarantine.
        unfinished: names of files that are still written.
    """

    batches: list[LandedBatch] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def ingest_claimed(
    storage: Storage,
    config: FreshnessConfig,
    partitions: Collection[str] | None,
    now: int,
    text: TextOptions | None = None,
) -> Intake:
    """Read, validate and land the claimed files of ``partitions`` (``None``: of all), ``files_per_run`` at most.

    The claimed files stay where they are until :func:`finish_applied` finds them applied.

    Args:
        now: wall clock, microseconds.
        text: what items' content is made of.
    """
    intake = Intake()
    for file in waiting_files(storage, partitions)[: config.files_per_run]:
        try:
            intake.batches.append(_land(storage, config, file, now, text))
        except UnfinishedError:
            intake.unfinished.append(file.name)
        except LandingError as error:
            if file.path.exists():  # else another run has applied it meanwhile
                # People know it by the name they gave it.
                reason = encodable(str(error)).replace(file.path.name, file.name)
                quarantine(storage, file.path, file.path.name, reason)
                intake.refused[file.name] = reason
    return intake


def waiting_files(storage: Storage, partitions: Collection[str] | None) -> list[ClaimedFile]:
    """Claimed files of ``partitions`` (``None``: of all) in the order in which they were seen."""
    chosen = [
        file
        for partition, files in claimed(storage).items()
        if partitions is None or partition in partitions
        for file in files
    ]
    return sorted(chosen, key=lambda file: file.seen_at)


def finish_applied(
    storage: Storage, partitions: Collection[str] | None, applied: Callable[[Collection[str]], Collection[str]]
) -> list[ClaimedFile]:
    """Move the claimed files away whose content was applied; the content as it is now.

    A file that was written to since it was read has another digest and stays, to be read again.

    Args:
        applied: which of some digests were applied.
    """
    digests = {file: digest for file in waiting_files(storage, partitions) if (digest := _digest(file))}
    known = set(applied(list(digests.values())))
    done = [file for file, digest in digests.items() if digest in known]
    for file in done:
        finish(storage, file)
    drop_empty_claims(storage, {file.partition for file in done})
    return done


def refuse_batch(storage: Storage, batch: LandedBatch, reason: str) -> None:
    """Take a batch that cannot be applied, and its file where it is still claimed, to the quarantine."""
    for file in waiting_files(storage, [batch.partition]):
        if file.seen_at == batch.seen_at:
            quarantine(storage, file.path, file.path.name, reason)
    quarantine(storage, batch.path, f"{batch.seen_at}--{batch.kind}--{batch.digest[:SHORT]}.batch.parquet", reason)


def _digest(file: ClaimedFile) -> str | None:
    try:
        return file_batch_digest(file.path, file.kind, file.seen_at)
    except FileNotFoundError:
        return None


def _land(
    storage: Storage, config: FreshnessConfig, file: ClaimedFile, now: int, text: TextOptions | None
) -> LandedBatch:
    try:
        refuse_unfit(file.path)  # it lay open to others until it was claimed
    except OSError as error:
        raise LandingError(f"{file.name}: cannot be read: {error}") from error
    with marked(reading_folder(storage) / file.path.name, file.name):
        landed = _read(config, file, now, text)
    return write_batch(
        storage, file.partition, landed, Arrival(file.name, file.landed_at, file.seen_at, file.path.name)
    )


def _read(config: FreshnessConfig, file: ClaimedFile, now: int, text: TextOptions | None) -> Landed:
    try:
        if file.kind == Kind.ITEMS:
            return read_items(file.path, file.seen_at, config.max_quarantine_share, text)
        return read_engagements(file.path, now, config.max_quarantine_share)
    except (LandingError, MemoryError, OSError):
        raise
    except Exception as error:  # whatever a strange file makes a library raise, the files behind it must be read
        raise LandingError(f"{file.name}: reading it failed with {type(error).__name__}: {error}") from error
