"""Large tables: Great Expectations sees their suspects and their first rows, and results speak of the whole table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation

from assets.quality.suspects import MOST, Found, Rows, UnknownToDuckDBError, column_of, find
from assets.quality.validation import validate_frame
from assets.storage import Storage, compact
from dashboards.data_docs import ExpectationResult, TableResult

WHOLE: Final = 50_000
"""Rows up to which a table is judged whole: it takes as long as asking DuckDB."""

HEAD: Final = 1_000
"""First rows of a large table that are always judged: types and columns show in them."""

_LIMITS: Final[dict[str, str | bool | int | float | list[str]]] = {"memory_limit": "2GB", "threads": 2}
_OF_MISSING: Final = (gxe.ExpectColumnValuesToNotBeNull, gxe.ExpectColumnValuesToBeNull)


@dataclass(frozen=True)
class Large:
    """A table in a Parquet file, with what is added to it.

    Attributes:
        path: of the file.
        false: added column of booleans -> ascending rows at which it is false.
        behind: rows to judge behind those of the file, all columns that they have and the added ones.
        n_behind: how many those are; ``behind`` holds the first ones.
    """

    path: Path
    false: Mapping[str, Rows]
    behind: pd.DataFrame | None = None
    n_behind: int = 0


Reader = Callable[[duckdb.DuckDBPyConnection, Storage], Large]


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory, that spills to disk what is more than it may hold."""
    with duckdb.connect(":memory:", config=_LIMITS) as connection:
        yield connection


def is_large(path: Path, whole: int = WHOLE) -> bool:
    return path.exists() and pq.read_metadata(path).num_rows > whole


def validate_large(
    name: str, read: Reader, storage: Storage, expectations: Sequence[Expectation], written_at: str = ""
) -> TableResult | None:
    """Validate a large table; None where only the whole of it can be judged.

    What breaks an expectation is counted over the whole table; if it is more than 100,000 rows, by DuckDB alone.
    """
    for one in expectations:
        if isinstance(one, gxe.ExpectTableRowCountToBeBetween) and one.max_value is not None:
            return None
    try:
        with database() as connection:
            large = read(connection, storage)
            found = find(connection, large.path, expectations, large.false)
    except (UnknownToDuckDBError, duckdb.Error):
        return None
    total = pq.read_metadata(large.path).num_rows
    rows = np.unique(np.concatenate([np.arange(min(_head(expectations), total)), *(one.rows for one in found)]))
    result = validate_frame(name, _frame(large, rows), expectations, written_at)
    result["rows"] = total + large.n_behind
    for judged, expectation, told in zip(result["expectations"], expectations, found, strict=True):
        _about_all(judged, expectation, told, large, result["rows"])
    return result


def _head(expectations: Sequence[Expectation]) -> int:
    """First rows to judge: as many as the suite asks a table to have."""
    fewest = [
        int(str(one.min_value or 0)) for one in expectations if isinstance(one, gxe.ExpectTableRowCountToBeBetween)
    ]
    return max(HEAD, *fewest, 0)


def _frame(large: Large, rows: Rows) -> pd.DataFrame:
    frame = rows_at(large.path, rows)
    frame = frame.assign(**{name: ~np.isin(rows, false) for name, false in large.false.items()})
    if large.behind is None or large.behind.empty:
        return frame
    return pd.concat([frame, large.behind], ignore_index=True)


def rows_at(path: Path, rows: Rows) -> pd.DataFrame:
    """Ascending rows of a Parquet file, texts and lists as Arrow's; nothing behind the last one is read."""
    file, start = pq.ParquetFile(path), 0
    parts: list[pa.RecordBatch] = []
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start
        if len(inside):
            parts.extend(_taken(file, group, inside))
        start = end
    return compact(pa.Table.from_batches(parts, file.schema_arrow))


def _taken(file: pq.ParquetFile, group: int, rows: Rows) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in file.iter_batches(row_groups=[group]):
        end = start + len(batch)
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
        if len(inside):
            yield batch.take(pa.array(inside - start))
        start = end
        if start > rows[-1]:
            return


def _about_all(one: ExpectationResult, expectation: Expectation, told: Found, large: Large, rows: int) -> None:
    """Make a result on the judged rows one on all rows."""
    if isinstance(expectation, gxe.ExpectTableRowCountToBeBetween):
        one["observed"] = str(rows)
    if one["error"] or one["checked"] is None:
        return
    behind, column = large.n_behind, column_of(expectation)
    about = told.about + behind
    one["checked"] = about
    if not one["unexpected"]:
        return
    if told.count > MOST or behind > MOST:
        one["unexpected"] = max(one["unexpected"], told.count)
    unread = _unread(expectation, large)
    one["unexpected"] += unread
    held = large.behind is not None and column in large.behind and large.behind[column].notna().sum()
    whole = about if isinstance(expectation, _OF_MISSING) else told.present + int(held) + unread
    _, _, example = one["observed"].partition(" %")
    one["observed"] = f"{100 * one['unexpected'] / whole:.3g} %{example}"


def _unread(expectation: Expectation, large: Large) -> int:
    """Rows behind the file's that nobody judged and that break an expectation: where all that were judged must."""
    if large.behind is None:
        return 0
    column = column_of(expectation)
    if column in large.behind:
        all_break = column in large.false and not large.behind[column].any()
    else:
        all_break = isinstance(expectation, gxe.ExpectColumnValuesToNotBeNull)
    return large.n_behind - len(large.behind) if all_break else 0
