"""Landed batches and removals in a rebuild: what ingestion adds to the rows of the source, and takes out of them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion.content import of_one_length
from assets.ingestion.landing.batches import LandedBatch, landed_batches, read_batch
from assets.ingestion.landing.places import Kind
from assets.ingestion.landing.removed import Removed
from assets.ingestion.tables import FEATURE, INTERACTIONS_SCHEMA, RawTables, drop_duplicates
from assets.schema import ITEM_BASE_COLUMNS, Columns
from assets.storage import Storage

REPLAY: Final = "replay.json"


def is_replay(storage: Storage) -> bool:
    """Whether the live state is a replay: what landed then are copies of the source's own rows."""
    return (storage.live / REPLAY).exists()


def with_landed(storage: Storage, raw: RawTables) -> tuple[RawTables, dict[str, int]]:
    """``raw`` with everything that landed, and how many rows that is per kind; nothing is added from a replay.

    Engagements come behind those of the source, in order of time whatever the order of arrival; repetitions are left
    for the caller to drop, the source's row being the first. Of an item, title, features and content are those that
    landed last, created_at is the earliest one known.
    """
    if is_replay(storage):
        return raw, {}
    batches = {kind: [batch for batch in landed_batches(storage, kind) if batch.rows] for kind in Kind}
    counts = {f"landed {kind}": sum(batch.rows for batch in found) for kind, found in batches.items() if found}
    if not counts:
        return raw, {}
    interactions = _interactions(raw.interactions, batches[Kind.ENGAGEMENTS])
    items = _items(raw.items, batches[Kind.ITEMS])
    return RawTables(interactions, items, raw.users, raw.quarantine, raw.rows_read), counts


def without_removed(raw: RawTables, removed: Removed) -> tuple[RawTables, dict[str, int]]:
    """``raw`` without the rows of removed users and items, and how many rows of each table that were."""
    if not removed:
        return raw, {}
    kept = {name: table.filter(pa.array(removed.keeps(table))) for name, table in raw.named.items()}
    counts = {name: table.num_rows - kept[name].num_rows for name, table in raw.named.items()}
    return RawTables(**kept, quarantine=raw.quarantine, rows_read=raw.rows_read), counts


def _interactions(source: pa.Table, batches: Sequence[LandedBatch]) -> pa.Table:
    if not batches:
        return source
    # Rows are ordered by time, not by arrival, so that the data version depends on content alone.
    landed = pa.concat_tables([read_batch(batch.path) for batch in batches]).sort_by(
        [(Columns.TIMESTAMP, "ascending"), (Columns.SOURCE_ROW, "ascending")]
    )
    return pa.concat_tables([source, landed.cast(INTERACTIONS_SCHEMA)])


def _items(source: pa.Table, batches: Sequence[LandedBatch]) -> pa.Table:
    if not batches:
        return source
    first, _ = drop_duplicates(source, [Columns.ITEM])
    versions = pa.concat_tables([first, *(read_batch(batch.path) for batch in batches)], promote_options="default")
    versions = of_one_length(versions, source)
    versions = pa.table({name: _filled(versions[name], name) for name in _ordered(versions.column_names)})
    # Latest first: the first row of each id is then the one that counts.
    backwards = pa.array(np.arange(versions.num_rows)[::-1])
    latest, _ = drop_duplicates(versions.take(backwards), [Columns.ITEM])
    order = pc.index_in(latest[Columns.ITEM], versions[Columns.ITEM].unique())
    latest = latest.take(pc.sort_indices(order))  # the source's order, then that of arrival
    created = versions.group_by(Columns.ITEM, use_threads=False).aggregate([(Columns.CREATED_AT, "min")])
    at = pc.index_in(latest[Columns.ITEM], created[Columns.ITEM].combine_chunks())
    earliest = created[f"{Columns.CREATED_AT}_min"].take(at)
    return latest.set_column(latest.schema.get_field_index(Columns.CREATED_AT), Columns.CREATED_AT, earliest)


def _ordered(names: Sequence[str]) -> list[str]:
    base = [*ITEM_BASE_COLUMNS, *(name for name in names if name == Columns.CONTENT)]
    return [*base, *(name for name in names if name not in base)]


def _filled(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A feature that some files lack is the empty list in their rows."""
    return values if name in (*ITEM_BASE_COLUMNS, Columns.CONTENT) else pc.fill_null(values, pa.scalar([], FEATURE))
