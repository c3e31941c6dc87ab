"""Export of the warehouse's tables to Parquet, so that no later stage opens the DuckDB file.

Equal data gives equal bytes. ``manifest.json`` lists every table's digest. It is removed before the first table is
replaced and written after the last: where it is missing, or names another digest than a file has, the tables are not
one export, and :func:`verify_tables` says so. Tables are complete before the first is renamed, so that window lasts
milliseconds.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypedDict

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.storage import Storage, atomic_path, file_digest, write_json
from assets.transforms.contracts import EXPORTS, Export
from assets.transforms.engines import DUCKDB, Engine
from assets.transforms.stamp import read_stamp
from assets.transforms.variables import DbtVars

# Nothing may be fetched at run time: what is not linked into DuckDB is not used.
_NO_DOWNLOADS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class TableRecord(TypedDict):
    rows: int
    sha256: str


class TablesManifest(TypedDict):
    """``tables/manifest.json``: ``version`` is the SHA-256 over the tables' names and digests."""

    data_version: str
    vars: DbtVars
    tables: dict[str, TableRecord]
    version: str


class TablesError(RuntimeError):
    """The exported tables are missing or are not one export; the message says what to materialize."""


def open_warehouse(storage: Storage, engine: Engine = DUCKDB) -> duckdb.DuckDBPyConnection:
    """A read-only connection that shows every table of an engine; what Spark wrote is read as Parquet.

    The caller holds the warehouse pool and closes the connection before leaving the pool.
    """
    if engine.folders is None:
        return duckdb.connect(storage.warehouse, read_only=True, config=_NO_DOWNLOADS)
    connection = duckdb.connect(":memory:", config=_NO_DOWNLOADS)
    for folder in sorted(path for path in engine.folders(storage).glob("*") if any(path.glob("*.parquet"))):
        connection.read_parquet(str(folder / "*.parquet")).create_view(folder.name)
    return connection


def row_counts(storage: Storage, tables: Sequence[str], engine: Engine = DUCKDB) -> dict[str, int]:
    """Rows per table of the warehouse; the caller holds the warehouse pool."""
    if not tables:
        return {}
    query = " union all ".join(f"select '{table}', count(*) from \"{table}\"" for table in tables)
    with open_warehouse(storage, engine) as connection:
        return dict(connection.execute(query).fetchall())


def manifest_path(storage: Storage) -> Path:
    return storage.tables / "manifest.json"


def read_manifest(storage: Storage) -> TablesManifest:
    """The record of the last complete export.

    Raises:
        TablesError: when there is none.
    """
    path = manifest_path(storage)
    if not path.exists():
        raise TablesError(f"{path} does not exist: materialize transforms/tables (an export may have been interrupted)")
    manifest: TablesManifest = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def verify_tables(storage: Storage) -> TablesManifest:
    """The manifest, after comparing every table's digest with it.

    Raises:
        TablesError: naming the table that is missing or differs.
    """
    manifest = read_manifest(storage)
    for name, record in manifest["tables"].items():
        path = storage.table(name)
        if not path.exists() or file_digest(path) != record["sha256"]:
            raise TablesError(f"{path} is not the table its manifest names: materialize transforms/tables again")
    return manifest


def export_tables(storage: Storage, engine: Engine = DUCKDB) -> TablesManifest:
    """Write every table of :data:`EXPORTS`, then the manifest.

    The caller holds the warehouse pool.

    Raises:
        WarehouseError: when the warehouse is not completely built.
        TypeError: naming the table and column whose type is not the contract's.
    """
    stamp = read_stamp(storage, engine)
    with ExitStack() as renamed_at_exit:
        records = {}
        with open_warehouse(storage, engine) as connection:
            for export in EXPORTS:
                path = renamed_at_exit.enter_context(atomic_path(storage.table(export.name)))
                records[export.name] = _write(connection, export, path)
        manifest = TablesManifest(
            data_version=stamp["data_version"], vars=stamp["vars"], tables=records, version=tables_version(records)
        )
        manifest_path(storage).unlink(missing_ok=True)
    write_json(manifest_path(storage), manifest)
    return manifest


def tables_version(records: dict[str, TableRecord]) -> str:
    """SHA-256 over the tables' names and digests, in order of names."""
    lines = [f"{name} {records[name]['sha256']}" for name in sorted(records)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _write(connection: duckdb.DuckDBPyConnection, export: Export, path: Path) -> TableRecord:
    rows = connection.sql(f'select * from "{export.model}" order by {export.order_by}').to_arrow_table()
    table = conform(export, rows)
    pq.write_table(table, path, compression="zstd")
    return TableRecord(rows=table.num_rows, sha256=file_digest(path))


def conform(export: Export, rows: pa.Table) -> pa.Table:
    """``rows`` with the contract's columns first, in its order and types; features, if allowed, as lists of strings.

    Optional columns follow the others, unless every value of one is null.

    Raises:
        TypeError: naming the table and the column that is missing, unexpected or not convertible.
    """
    rows = rows.drop_columns([name for name in _optional(export, rows) if rows[name].null_count == len(rows)])
    optional = {name: export.optional[name] for name in _optional(export, rows)}
    features = [name for name in rows.column_names if name not in export.columns and name not in optional]
    if features and not export.has_features:
        raise TypeError(f"{export.name}: unexpected columns {features}")
    if missing := [name for name in export.columns if name not in rows.column_names]:
        raise TypeError(f"{export.name}: missing columns {missing}")
    types = {**export.columns, **optional, **dict.fromkeys(features, pa.list_(pa.string()))}
    columns = [_cast(export.name, name, rows.column(name), type_) for name, type_ in types.items()]
    return pa.table(columns, schema=pa.schema(list(types.items())))


def _optional(export: Export, rows: pa.Table) -> list[str]:
    return [name for name in export.optional if name in rows.column_names]


def _cast(table: str, name: str, column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeError(f"{table}.{name}: {column.type} does not convert to {type_}: {error}") from error
