"""Landed batches into a generation's store, in the order in which they were seen; each once, whoever calls."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.config import EngagementRule, FreshnessConfig, TriggerConfig
from assets.ingestion.landing.batches import LandedBatch, batch_paths, read_batch, read_info, short_digest
from assets.ingestion.landing.places import Kind
from assets.ingestion.landing.removed import Removed, read_removed
from assets.instants import DAY
from assets.schema import Columns
from assets.serving.live.features import BatchRows, FeatureConfig, log_features
from assets.serving.live.generation import OpenGeneration
from assets.serving.live.items import ItemBatch, apply_items
from assets.serving.live.ledger import BatchInfo, LedgerEntry, applied
from assets.serving.live.model import LiveModel
from assets.serving.live.rows import Rows
from assets.serving.store.interface import Reader, Table
from assets.storage import Storage

ROWS_PER_TRANSACTION: Final = 1_000_000
"""Engagements that are read and applied together: bounds memory, changes no result."""


def feature_config(model: LiveModel, freshness: FreshnessConfig) -> FeatureConfig:
    """What of landed engagements is kept for ``model``."""
    return FeatureConfig(
        item_history_length=model.item_history_length,
        user_history_length=model.user_history_length,
        event_types=model.event_types,
        half_life_days=model.trend.half_life_days,
        retention_us=freshness.retention_days * DAY,
        trigger=freshness.trigger,
    )


def rebuild_config(model: LiveModel) -> FeatureConfig:
    """The same while a generation is built: no row is too old, and every item touched is embedded."""
    return FeatureConfig(
        item_history_length=model.item_history_length,
        user_history_length=model.user_history_length,
        event_types=model.event_types,
        half_life_days=model.trend.half_life_days,
        retention_us=None,
        trigger=TriggerConfig(),
    )


def waiting_batches(storage: Storage, reader: Reader, partitions: Collection[str] | None = None) -> list[LandedBatch]:
    """Landed batches of ``partitions`` (``None``: of all) that were not applied, in the order in which they were seen.

    Applied ones cost a look into the ledger each; their files are not opened.
    """
    paths = [path for kind in Kind for path in batch_paths(storage, kind, partitions)]
    batches = [read_info(path) for path in paths if not _is_known(reader, short_digest(path))]
    return sorted(batches, key=lambda batch: (batch.seen_at, batch.digest))


def _is_known(reader: Reader, short: str) -> bool:
    start = short.encode()
    return next(reader.scan(Table.LEDGER, start, start + b"g"), None) is not None  # "g" follows every hexadecimal digit


def apply_batches(
    opened: OpenGeneration, batches: Sequence[LandedBatch], config: FeatureConfig, now: int
) -> list[LedgerEntry]:
    """Apply those of ``batches`` that the ledger lacks, whole transactions of them; the caller holds the writer's lock.

    Args:
        now: wall clock, microseconds.

    Returns:
        The entries of the batches applied now.
    """
    with opened.store.read() as reader:
        known = applied(reader, [batch.digest for batch in batches])
    removed = read_removed(opened.storage)
    fresh = sorted((one for one in batches if one.digest not in known), key=lambda one: (one.seen_at, one.digest))
    entries: list[LedgerEntry] = []
    for kind, group in groupby(fresh, key=lambda batch: batch.kind):
        for part in _transactions(list(group)):
            if kind == Kind.ITEMS:
                found = [_items(batch, removed) for batch in part]
                entries += apply_items(opened.store, found, opened.model, now)
            else:
                rows = [_engagements(batch, removed, opened.record.engagement) for batch in part]
                entries += log_features(opened.store, rows, opened.model.history_users, config, now)
    return entries


def qualifying(table: pa.Table, rule: EngagementRule) -> NDArray[np.bool_]:
    """[E] which interactions are engagements; an unknown value or event type is below every minimum and in no list."""
    counts = np.ones(table.num_rows, np.bool_)
    if rule.minimum_value is not None:
        counts &= _mask(pc.greater_equal(table[Columns.VALUE], rule.minimum_value))
    if rule.event_types:
        counts &= _mask(pc.is_in(table[Columns.EVENT_TYPE], pa.array(rule.event_types, pa.string())))
    return counts


def _mask(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return pc.fill_null(column, False).to_numpy().astype(np.bool_)


def _transactions(batches: list[LandedBatch]) -> list[list[LandedBatch]]:
    """The batches cut, in order, so that a part has few rows or is one batch."""
    before = np.cumsum([0, *(batch.rows for batch in batches)])[:-1]
    parts = groupby(zip(before // ROWS_PER_TRANSACTION, batches, strict=True), key=lambda pair: pair[0])
    return [[batch for _, batch in part] for _, part in parts]


def _engagements(batch: LandedBatch, removed: Removed, rule: EngagementRule) -> BatchRows:
    table = read_batch(batch.path)
    kept = removed.keeps(table)
    counts = kept & qualifying(table, rule)
    info = _info(batch, removed=int((~kept).sum()), other_events=int((kept & ~counts).sum()))
    return BatchRows(info, Rows.from_table(table.filter(pa.array(counts))))


def _items(batch: LandedBatch, removed: Removed) -> ItemBatch:
    table = read_batch(batch.path)
    kept = removed.keeps(table)
    return ItemBatch(_info(batch, removed=int((~kept).sum())), table.filter(pa.array(kept)))


def _info(batch: LandedBatch, removed: int, other_events: int = 0) -> BatchInfo:
    return BatchInfo(
        digest=batch.digest,
        kind="items" if batch.kind == Kind.ITEMS else "engagements",
        partition=batch.partition,
        source=batch.source,
        rows=batch.rows,
        removed=removed,
        other_events=other_events,
        rejected=batch.rejected,
        landed_at=batch.landed_at,
        seen_at=batch.seen_at,
    )
