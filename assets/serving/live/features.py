"""Feature logging: engagements into item and user features, each batch once, all in one transaction.

What is kept does not depend on the order in which rows arrive: histories are the latest by (timestamp, source row),
counts are sums, first and last are minima and maxima. Only what retention sets aside does, and the ledger tells that.
An item's ``train_count`` is what its checkpoint was trained with: nothing changes it here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.config import TriggerConfig
from assets.idmap import IdMap
from assets.serving.live.accept import Accepted, accept, oldest_accepted
from assets.serving.live.counted import Engagements, count_items, extend_item_histories, extend_user_histories
from assets.serving.live.ledger import LedgerEntry, applied, put_entries
from assets.serving.live.pending import touch, touch_available, upcoming_keys
from assets.serving.live.rows import BatchRows, forget_rows
from assets.serving.store.interface import KeyValueStore, Reader, Table, Writer
from assets.serving.store.meta import WATERMARK, put_meta
from assets.serving.store.numbers import assign_numbers
from assets.stream import Int

__all__ = ["BatchRows", "FeatureConfig", "log_features"]


@dataclass(frozen=True)
class FeatureConfig:
    """What of the engagements is kept.

    Attributes:
        item_history_length: latest engagements of qualified users kept per item; 0 keeps none.
        user_history_length: latest engagements kept per user; 0 keeps none.
        event_types: dense ids of event types in users' histories; unknown ones are out of vocabulary.
        half_life_days: of the decayed counts.
        retention_us: rows this much older than the watermark are set aside, but not those of the base; ``None``: none.
        trigger: when touched items are embedded again.
    """

    item_history_length: int
    user_history_length: int
    event_types: IdMap
    half_life_days: float
    retention_us: int | None
    trigger: TriggerConfig


def log_features(
    store: KeyValueStore, batches: Sequence[BatchRows], qualified: IdMap, config: FeatureConfig, now: int
) -> list[LedgerEntry]:
    """Apply the batches that are not in the ledger yet, in their order, in one transaction.

    The result does not depend on how batches are grouped into calls.

    Args:
        qualified: dense ids of the users that item histories hold; others are left out of them.
        now: wall clock, microseconds.

    Returns:
        The entries of the batches applied now.
    """
    with store.write() as writer:
        chosen = _not_applied(writer, batches)
        if not chosen:
            return []
        accepted = accept(writer, chosen, config.retention_us)
        numbers = _apply(writer, accepted, qualified, config, now)
        forget_rows(writer, int(oldest_accepted(np.array([accepted.watermark]), config.retention_us)[0]))
        entries = [_entry(batch, accepted, at, numbers, now) for at, batch in enumerate(chosen)]
        put_entries(writer, entries)
        return entries


def _not_applied(reader: Reader, batches: Sequence[BatchRows]) -> list[BatchRows]:
    """The batches that are not in the ledger, each digest once."""
    done = applied(reader, [batch.info.digest for batch in batches])
    waiting: dict[str, BatchRows] = {}
    for batch in batches:
        if batch.info.digest not in done:
            waiting.setdefault(batch.info.digest, batch)
    return list(waiting.values())


def _apply(writer: Writer, accepted: Accepted, qualified: IdMap, config: FeatureConfig, now: int) -> Int:
    """Change every table by the accepted rows [E]; returns [E] the numbers of their items."""
    if not len(accepted.rows):
        return np.zeros(0, np.int64)
    codes, ids = pd.factorize(accepted.rows.items)
    numbers = assign_numbers(writer, ids.tolist())[0][codes]
    engagements = Engagements.build(accepted.rows, numbers)
    _update_items(writer, engagements, config, now)
    extend_item_histories(writer, engagements, qualified, config.item_history_length)
    extend_user_histories(writer, engagements, config.event_types, config.user_history_length)
    touch_available(writer, accepted.watermark, config.trigger, now)
    put_meta(writer, WATERMARK, accepted.watermark)
    return numbers


def _update_items(writer: Writer, engagements: Engagements, config: FeatureConfig, now: int) -> None:
    before, items = count_items(writer, engagements, config.half_life_days)
    earlier = before["available_at"] > items["available_at"]  # NEVER is the smallest of all
    keys = upcoming_keys(before["available_at"][earlier], engagements.numbers[earlier])
    writer.delete_many(Table.UPCOMING, keys)
    touch(writer, engagements.numbers, items, config.trigger, now)


def _entry(batch: BatchRows, accepted: Accepted, at: int, numbers: Int, now: int) -> LedgerEntry:
    """What became of the batch at position ``at``."""
    part = accepted.part(at)
    timestamps = accepted.rows.timestamps[part]
    return LedgerEntry(
        **batch.info.model_dump(),
        applied=len(timestamps),
        duplicates=int(accepted.duplicates[at]),
        beyond_retention=int(accepted.beyond_retention[at]),
        oldest_accepted=int(accepted.oldest[at]),
        first_event=int(timestamps.min()) if len(timestamps) else None,
        last_event=int(timestamps.max()) if len(timestamps) else None,
        features_at=now,
        items_touched=len(np.unique(numbers[part])),
    )
