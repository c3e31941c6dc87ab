"""Changing a table in Parquet: types, values and names of its columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

SCALE: Final = 1 << 16


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        kind: a name in one of the tables of changes.
        file: which of the case's, modulo their number.
        at, other: places, in parts of :data:`SCALE` of what has places.
        token: what is put there.
    """

    kind: str
    file: int
    at: int
    other: int
    token: bytes


KINDS: Final = (
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.binary(3),
    pa.int8(),
    pa.uint64(),
    pa.int64(),
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.null(),
    pa.decimal128(38, 10),
    pa.date32(),
    pa.date64(),
    pa.time64("us"),
    pa.duration("s"),
    pa.timestamp("s"),
    pa.timestamp("ns"),
    pa.timestamp("us", "Asia/Kolkata"),
    pa.list_(pa.string()),
    pa.list_(pa.int8()),
    pa.large_list(pa.float32()),
    pa.list_(pa.float64(), 2),
    pa.list_(pa.list_(pa.string())),
    pa.struct([("a", pa.int64())]),
    pa.map_(pa.string(), pa.int64()),
    pa.dictionary(pa.int8(), pa.string()),
)
VALUES: Final = (
    None,
    "",
    "x",
    "1",
    "nan",
    -1,
    0,
    1,
    7.5,
    2**62,
    -(2**62),
    1e300,
    float("nan"),
    float("inf"),
    True,
    b"x",
    b"\xff",
    [],
    [None],
    ["a", None],
    [1.0, 2.0],
    [float("nan"), 1.0],
    {"a": 1},
    [("k", 1)],
    1_365_029_107,
    1_365_029_107_000,
    "2013-04-03T22:45:07Z",
)


def _column(table: pa.Table, change: Change) -> pa.Table:
    """One column of another type: its own values where they can be cast, else one value for all rows."""
    at = change.at * table.num_columns // SCALE
    kind = KINDS[change.other * len(KINDS) // SCALE]
    try:
        values = table.column(at).cast(kind)
    except pa.ArrowException:
        values = _filled(VALUES[len(change.token) % len(VALUES)], kind, table.num_rows)
    return table.set_column(at, table.schema.names[at], values)


def _filled(value: object, kind: pa.DataType, rows: int) -> pa.Array:
    for candidate in (value, *VALUES):
        try:
            return pa.array([candidate] * rows, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    return pa.nulls(rows, kind)


def _value(table: pa.Table, change: Change) -> pa.Table:
    """One value of a column set, in the type that it has or else in the one that Arrow infers."""
    at = change.at * table.num_columns // SCALE
    values = _listed(table.column(at))
    if not values:
        return table
    values[change.other * len(values) // SCALE] = VALUES[sum(change.token) % len(VALUES)]
    for kind in (table.schema.types[at], None):
        try:
            return table.set_column(at, table.schema.names[at], pa.array(values, kind))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    return table


def _listed(column: pa.ChunkedArray) -> list[object]:
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):  # times beyond what Python has; one fuzzed case in 50,000
        return list(column.cast(pa.int64()).to_pylist())


def _rename(table: pa.Table, change: Change) -> pa.Table:
    names = list(table.schema.names)
    names[change.at * len(names) // SCALE] = change.token.decode("utf-8", "replace")
    return table.rename_columns(names)


def _drop(table: pa.Table, change: Change) -> pa.Table:
    return table.remove_column(change.at * table.num_columns // SCALE)


def _rows(table: pa.Table, change: Change) -> pa.Table:
    return table.slice(change.at * table.num_rows // SCALE, change.other * (table.num_rows + 1) // SCALE)


COLUMNS: Final[Mapping[str, Callable[[pa.Table, Change], pa.Table]]] = {
    "type of column": _column,
    "value of column": _value,
    "name of column": _rename,
    "drop of column": _drop,
    "some rows": _rows,
}
