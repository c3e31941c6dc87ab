"""Canonical raw tables in memory: their types, duplicates, and a digest over their content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
        rows_read: per source file, rows read with those set aside.
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
    position = pa.array(np.arange(table.num_rows))
    grouped = table.select(keys).append_column("__position", position).group_by(keys)
    first = np.sort(grouped.aggregate([("__position", "min")])["__position_min"].to_numpy())
    return table.take(pa.array(first)), table.num_rows - len(first)


def without_duplicates(raw: RawTables) -> tuple[RawTables, dict[str, int]]:
    """Drop exact duplicate interactions (all columns but source_row) and repeated item or user ids; count each."""
    whole_row = [name for name in raw.interactions.column_names if name != Columns.SOURCE_ROW]
    interactions, repeated = drop_duplicates(raw.interactions, whole_row)
    items, repeated_items = drop_duplicates(raw.items, [Columns.ITEM])
    users, repeated_users = drop_duplicates(raw.users, [Columns.USER])
    kept = RawTables(interactions, items, users, raw.quarantine, raw.rows_read)
    return kept, {"interactions": repeated, "items": repeated_items, "users": repeated_users}


def content_digest(tables: Mapping[str, pa.Table]) -> str:
    """SHA-256 over names, types and values, whatever the library version or the chunks the values lie in."""
    digest = hashlib.sha256()
    for name, table in tables.items():
        for column in table.column_names:
            digest.update(f"{name}.{column}:{table.schema.field(column).type}\n".encode())
            for part in _canonical_parts(table[column].combine_chunks()):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)
    return digest.hexdigest()


def _canonical_parts(values: Any) -> list[bytes]:
    nulls = np.packbits(values.is_null().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        return [nulls, *_canonical_parts(lengths), *_canonical_parts(pc.list_flatten(values))]
    if pa.types.is_string(values.type):
        lengths = pc.fill_null(pc.binary_length(values), 0)
        return [nulls, *_canonical_parts(lengths), _text_bytes(values)]
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    return [nulls, np.ascontiguousarray(pc.fill_null(values, 0).to_numpy(zero_copy_only=False)).tobytes()]


def _text_bytes(values: pa.Array) -> bytes:
    """The strings one after another, a null as the empty string: an Arrow array already holds them like that."""
    filled = pc.fill_null(values, "").cast(pa.large_string())
    if len(filled) == 0:
        return b""
    _, offsets, characters = filled.buffers()
    ends = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1]
    return b"" if characters is None else characters[int(ends[0]) : int(ends[-1])].to_pybytes()
