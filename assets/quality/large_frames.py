"""Large tables as they are judged: rows at which what :mod:`assets.quality.frames` adds to them is false."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from assets.quality.frames import HAS_CASE, IN_ORDER, ITEM_KNOWN, OF_TEST_ROW, USER_KNOWN
from assets.quality.large import Large, rows_at
from assets.quality.suspects import MOST, NONE, ROW, Rows, literal, scan
from assets.schema import Columns, Split
from assets.storage import Storage
from assets.stream import follows
from assets.transforms.sql import identifier

OF_CASES = (Columns.SOURCE_ROW, Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.WINDOW)
"""What a case shares with its test engagement."""


def raw_interactions(connection: duckdb.DuckDBPyConnection, storage: Storage) -> Large:
    path = storage.raw_table("interactions")
    return Large(path, _strangers(connection, path, storage.raw_table("users"), storage.raw_table("items")))


def interactions(connection: duckdb.DuckDBPyConnection, storage: Storage) -> Large:
    path = storage.table("interactions")
    strangers = _strangers(connection, path, storage.table("users"), storage.table("items"))
    return Large(path, {**strangers, IN_ORDER: out_of_order(path)})


def test_cases(connection: duckdb.DuckDBPyConnection, storage: Storage) -> Large:
    path, users, items = storage.table("test_cases"), storage.table("users"), storage.table("items")
    tested = f"(select * from {scan(storage.table('interactions'))} where split = {literal(Split.TEST.value)})"
    of_none, without = _unmatched(connection, scan(path), tested), _unmatched(connection, tested, scan(path))
    if len(of_none) or len(without):  # only the first engagement of a source row may have a case
        first = f"(select * from {tested} qualify row_number() over (partition by source_row order by {ROW}) = 1)"
        of_none, without = _unmatched(connection, scan(path), first), _unmatched(connection, first, scan(path))
    behind = rows_at(storage.table("interactions"), without[:MOST])[list(OF_CASES)] if len(without) else None
    if behind is not None:
        known = {USER_KNOWN: (Columns.USER, users), ITEM_KNOWN: (Columns.ITEM, items)}
        flags = {flag: behind[key].isin(_ids(file, key)) for flag, (key, file) in known.items()}
        behind = behind.assign(**flags, **{OF_TEST_ROW: True, HAS_CASE: False})
    false = {OF_TEST_ROW: of_none, HAS_CASE: NONE, **_strangers(connection, path, users, items)}
    return Large(path, false, behind, len(without))


def _ids(path: Path, column: str) -> pd.Series:
    return pq.read_table(path, columns=[column])[column].to_pandas()


def _strangers(connection: duckdb.DuckDBPyConnection, path: Path, users: Path, items: Path) -> dict[str, Rows]:
    """Rows whose user, and rows whose item, is not in its own table."""
    return {
        flag: _numbers(
            connection,
            f"select {ROW} from {scan(path)} as here where not exists "
            f"(select 1 from {scan(own)} as own where own.{identifier(key)} = here.{identifier(key)})",
        )
        for flag, key, own in ((USER_KNOWN, Columns.USER, users), (ITEM_KNOWN, Columns.ITEM, items))
    }


def _unmatched(connection: duckdb.DuckDBPyConnection, left: str, right: str) -> Rows:
    same = " and ".join(f"other.{identifier(column)} = here.{identifier(column)}" for column in OF_CASES)
    sql = f"select {ROW} from {left} as here where not exists (select 1 from {right} as other where {same})"
    return _numbers(connection, sql)


def _numbers(connection: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    return np.sort(np.asarray(connection.execute(sql).fetchnumpy()[ROW], np.int64))


def out_of_order(path: Path) -> Rows:
    """Rows before the one above them, by timestamp and source row; one row group at a time is read."""
    file, before, start, found = pq.ParquetFile(path), None, 0, [NONE]
    for group in range(file.num_row_groups):
        frame = file.read_row_group(group, columns=[Columns.TIMESTAMP, Columns.SOURCE_ROW]).to_pandas()
        joined = frame if before is None else pd.concat([before, frame], ignore_index=True)
        late = ~follows(joined)[len(joined) - len(frame) :]
        found.append(start + np.flatnonzero(late))
        before, start = frame.tail(1), start + len(frame)
    return np.concatenate(found)
