"""Canonical raw tables in memory: their types, and what of them is a duplicate."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from assets.ingestion.duplicates import first_rows
from assets.schema import Columns

INSTANT = pa.timestamp("us")
FEATURE = pa.list_(pa.string())
QUARANTINE_SCHEMA = pa.schema(
    [("file", pa.string()), ("row", pa.int64()), (Columns.REASON, pa.string()), ("content", pa.string())]
)
INTERACTIONS_SCHEMA = pa.schema(
    [
        (Columns.USER, pa.string()),
        (Columns.ITEM, pa.string()),
        (Columns.TIMESTAMP, INSTANT),
        (Columns.EVENT_TYPE, pa.string()),
        (Columns.VALUE, pa.float64()),
        (Columns.SOURCE_ROW, pa.int64()),
    ]
)


@dataclass(frozen=True)
class RawTables:
    """What an adapter read.

    Args:
        interactions: ``INTERACTIONS_SCHEMA``, in the order of the source.
        items: item_id, title, created_at, then one ``list<string>`` column per categorical feature.
        users: user_id, then one ``list<string>`` column per categorical feature.
        quarantine: ``QUARANTINE_SCHEMA``, the rows set aside.
        rows_read: per source file, rows read with those set aside; per table, where one file holds several.
    """

    interactions: pa.Table
    items: pa.Table
    users: pa.Table
    quarantine: pa.Table = field(default_factory=QUARANTINE_SCHEMA.empty_table)
    rows_read: Mapping[str, int] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, pa.Table]:
        return {"interactions": self.interactions, "items": self.items, "users": self.users}


def interactions_table(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Columns in canonical order and types; without a value column every value is null."""
    rows = len(columns[Columns.USER])
    filled = {Columns.VALUE: pa.nulls(rows, pa.float64()), **columns}
    return pa.table([_cast(filled[column.name], column.type) for column in INTERACTIONS_SCHEMA], INTERACTIONS_SCHEMA)


def items_table(
    ids: pa.Array,
    title: pa.Array | None = None,
    created_at: pa.Array | None = None,
    features: Mapping[str, pa.Array] | None = None,
) -> pa.Table:
    """Items with their base columns in canonical types (null where not given) and their features."""
    columns = {
        Columns.ITEM: _cast(ids, pa.string()),
        Columns.TITLE: pa.nulls(len(ids), pa.string()) if title is None else _cast(title, pa.string()),
        Columns.CREATED_AT: pa.nulls(len(ids), INSTANT) if created_at is None else _cast(created_at, INSTANT),
    }
    return pa.table(columns | {name: _cast(values, FEATURE) for name, values in (features or {}).items()})


def users_table(ids: pa.Array, features: Mapping[str, pa.Array] | None = None) -> pa.Table:
    """Users with their features."""
    return pa.table(
        {Columns.USER: _cast(ids, pa.string())}
        | {name: _cast(values, FEATURE) for name, values in (features or {}).items()}
    )


def _cast(values: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    return values if values.type == kind else values.cast(kind)


def drop_duplicates(table: pa.Table, keys: list[str]) -> tuple[pa.Table, int]:
    """First row of each distinct ``keys``, in the table's order, and how many rows were dropped."""
    kept = first_rows(table.select(keys))
    dropped = int(len(kept) - kept.sum())
    return (table.filter(pa.array(kept)) if dropped else table), dropped


def without_duplicates(raw: RawTables) -> tuple[RawTables, dict[str, int]]:
    """Drop exact duplicate interactions (all columns but source_row) and repeated item or user ids; count each."""
    whole_row = [name for name in raw.interactions.column_names if name != Columns.SOURCE_ROW]
    interactions, repeated = drop_duplicates(raw.interactions, whole_row)
    items, repeated_items = drop_duplicates(raw.items, [Columns.ITEM])
    users, repeated_users = drop_duplicates(raw.users, [Columns.USER])
    kept = RawTables(interactions, items, users, raw.quarantine, raw.rows_read)
    return kept, {"interactions": repeated, "items": repeated_items, "users": repeated_users}
