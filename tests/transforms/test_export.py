"""The export: types, order, equal bytes for equal data, and what an interruption leaves."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config import Settings
from assets.storage import Storage, write_json
from assets.transforms import export
from assets.transforms.contracts import EXPORTS, Export
from assets.transforms.export import (
    TablesError,
    conform,
    export_tables,
    read_manifest,
    tables_version,
    verify_tables,
)
from assets.transforms.stamp import BuildStamp, WarehouseError, begin_build, end_build, raw_version, read_stamp
from assets.transforms.variables import dbt_vars
from tests.transforms.raw import small_raw

STAMP = BuildStamp(data_version="v1", vars=dbt_vars(Settings()))

SQL_TYPES = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.timestamp("us"): "timestamp",
    pa.list_(pa.string()): "varchar[]",
    pa.list_(pa.timestamp("us")): "timestamp[]",
}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A warehouse with the contract's tables, empty but for three items, written out of order."""
    storage = small_raw(Storage(tmp_path, "toy"))
    with duckdb.connect(storage.warehouse) as connection:
        for entry in EXPORTS:
            columns = ", ".join(f'"{name}" {SQL_TYPES[type_]}' for name, type_ in entry.columns.items())
            connection.execute(f'create table "{entry.model}" ({columns})')
        connection.execute("alter table items add column genre varchar[]")
        connection.execute(
            "insert into items select unnest(['c', 'a', 'b']), 'T', null, null, null, 0, 'cold', ['x', null]"
        )
    end_build(storage, STAMP)
    return storage


def test_tables_have_the_contract_s_columns_types_and_order(storage: Storage) -> None:
    manifest = export_tables(storage)
    for entry in EXPORTS:
        schema = pq.read_schema(storage.table(entry.name))
        assert [(field.name, field.type) for field in schema][: len(entry.columns)] == list(entry.columns.items())
    items = pq.read_table(storage.table("items"))
    assert items.schema.field("genre").type == pa.list_(pa.string())
    assert items["item_id"].to_pylist() == ["a", "b", "c"]
    assert manifest["tables"]["items"]["rows"] == 3
    assert (manifest["data_version"], manifest["vars"]) == ("v1", dbt_vars(Settings()))
    assert manifest == read_manifest(storage) == verify_tables(storage)


def test_equal_data_gives_equal_bytes_and_other_data_another_version(storage: Storage) -> None:
    first = export_tables(storage)
    with duckdb.connect(storage.warehouse) as connection:
        connection.execute("create table copy as select * from items order by item_id desc")
        connection.execute("delete from items")
        connection.execute("insert into items select * from copy")
    assert export_tables(storage) == first
    with duckdb.connect(storage.warehouse) as connection:
        connection.execute("update items set title = 'other' where item_id = 'a'")
    assert export_tables(storage)["version"] != first["version"]


def test_the_version_names_tables_not_only_contents() -> None:
    one, two = {"rows": 1, "sha256": "x"}, {"rows": 1, "sha256": "y"}
    assert tables_version({"a": one, "b": two}) == tables_version({"b": two, "a": one})  # type: ignore[dict-item]
    assert tables_version({"a": one, "b": two}) != tables_version({"a": two, "b": one})  # type: ignore[dict-item]


def test_an_export_that_fails_while_writing_leaves_the_last_one_whole(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export_tables(storage)
    with duckdb.connect(storage.warehouse) as connection:
        connection.execute("alter table users add column age integer")
        connection.execute("insert into users values ('u', 1, 30)")
        connection.execute("update items set title = 'other'")
    with pytest.raises(TypeError, match=r"users\.age"):
        export_tables(storage)
    assert verify_tables(storage) == first
    assert [path.name for path in storage.tables.iterdir() if "partial" in path.name] == []


def test_an_export_interrupted_while_replacing_is_not_trusted(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_tables(storage)

    def killed(path: Path, value: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        export_tables(storage)
    with pytest.raises(TablesError, match="materialize transforms/tables"):
        verify_tables(storage)


def test_a_table_that_is_not_the_manifest_s_is_named(storage: Storage) -> None:
    export_tables(storage)
    pq.write_table(pa.table({"user_id": ["x"]}), storage.table("users"))
    with pytest.raises(TablesError, match=r"users\.parquet"):
        verify_tables(storage)
    storage.table("users").unlink()
    with pytest.raises(TablesError, match=r"users\.parquet"):
        verify_tables(storage)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"a": ["1"], "b": [1]}), r"t: unexpected columns \['b'\]"),
        (pa.table({"b": [1]}), "unexpected"),
        (pa.table({}), r"t: missing columns \['a'\]"),
        (pa.table({"a": ["x"]}), r"t\.a: string does not convert to int64"),
    ],
)
def test_a_table_that_breaks_the_contract_is_named(table: pa.Table, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        conform(Export("t", ["slices", "t"], "a", {"a": pa.int64()}), table)


def test_a_half_built_warehouse_is_not_exported(storage: Storage) -> None:
    begin_build(storage, whole=True, stamp=STAMP)
    with pytest.raises(WarehouseError, match="materialize every dbt model"):
        export_tables(storage)


def test_a_partial_build_completes_only_a_warehouse_of_the_same_input(storage: Storage) -> None:
    assert begin_build(storage, whole=False, stamp=STAMP)
    end_build(storage, STAMP)
    other = BuildStamp(data_version="v2", vars=STAMP["vars"])
    assert not begin_build(storage, whole=False, stamp=other)
    assert not begin_build(storage, whole=False, stamp=STAMP)
    assert begin_build(storage, whole=True, stamp=STAMP)


def test_raw_tables_that_change_during_a_build_are_noticed(storage: Storage) -> None:
    begin_build(storage, whole=True, stamp=STAMP)
    write_json(storage.raw / "ingestion.json", {"data_version": "v2"})
    with pytest.raises(WarehouseError, match="changed while dbt read them"):
        end_build(storage, STAMP)
    with pytest.raises(WarehouseError):
        read_stamp(storage)


def test_without_an_ingestion_record_the_raw_version_follows_the_files(storage: Storage) -> None:
    assert raw_version(storage) == "v1"
    (storage.raw / "ingestion.json").unlink()
    first = raw_version(storage)
    assert raw_version(storage) == first
    small_raw(storage, seed=5)
    (storage.raw / "ingestion.json").unlink()
    assert raw_version(storage) != first


def test_a_missing_raw_table_is_named(storage: Storage) -> None:
    storage.raw_table("users").unlink()
    with pytest.raises(FileNotFoundError, match=r"users\.parquet does not exist: materialize the ingestion assets"):
        raw_version(storage)


def test_no_extension_is_fetched(storage: Storage) -> None:
    with export.open_warehouse(storage) as connection:
        settings = connection.execute(
            "select value from duckdb_settings() where name like 'auto%known_extensions' order by name"
        ).fetchall()
        assert settings == [("false",), ("false",)]
