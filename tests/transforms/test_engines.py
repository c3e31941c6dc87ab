"""Engines without their parts: what is refused, where tables and stamps lie, how a folder of Parquet is opened."""

import importlib.util
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from assets.config import EngagementRule, EngineName, Settings, TransformsConfig
from assets.storage import Storage
from assets.transforms.engines import DUCKDB, ENGINES, SPARK, SPARK_THRIFT, EngineError
from assets.transforms.export import open_warehouse, row_counts
from assets.transforms.stamp import BuildStamp, WarehouseError, begin_build, end_build, read_stamp
from assets.transforms.variables import dbt_vars
from tests.transforms.raw import small_raw

STAMP = BuildStamp(data_version="v1", vars=dbt_vars(Settings()))


def test_duckdb_is_the_default_and_every_engine_is_known() -> None:
    assert Settings().transforms.engine == "duckdb"
    for name in ("duckdb", "spark", "spark_thrift"):
        assert ENGINES[name].name == TransformsConfig(engine=name).engine == name
    with pytest.raises(ValidationError, match=r"transforms\.engine"):
        Settings.model_validate({"transforms": {"engine": "sqlite"}})


@pytest.mark.parametrize("engine", ["spark", "spark_thrift"])
def test_a_core_asks_for_duckdb(engine: EngineName) -> None:
    chosen = TransformsConfig(engine=engine)
    with pytest.raises(ValidationError, match=r"set transforms\.engine to duckdb"):
        Settings(engagement=EngagementRule(k_core=5), transforms=chosen)
    assert Settings(transforms=chosen).transforms.engine == engine


def _without(monkeypatch: pytest.MonkeyPatch, missing: set[str]) -> None:
    def find(name: str, package: str | None = None) -> Any:
        return None if name in missing else object()

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    DUCKDB.ready()
    for missing in ("dbt.adapters.spark", "pyspark"):
        _without(monkeypatch, {missing})
        with pytest.raises(EngineError, match=rf"{missing}.*pip install \.\[spark\]"):
            SPARK.ready()
    _without(monkeypatch, set())
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EngineError, match="Java 17"):
        SPARK.ready()


def test_a_server_needs_its_client_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, {"pyhive"})
    with pytest.raises(EngineError, match="PyHive"):
        SPARK_THRIFT.ready()
    _without(monkeypatch, set())
    monkeypatch.delenv("THAW_SPARK_HOST", raising=False)
    with pytest.raises(EngineError, match="THAW_SPARK_HOST"):
        SPARK_THRIFT.ready()
    monkeypatch.setenv("THAW_SPARK_HOST", "spark.example")
    SPARK_THRIFT.ready()


def test_a_build_of_one_engine_is_none_of_another(tmp_path: Path) -> None:
    storage = small_raw(Storage(tmp_path, "toy"))
    assert begin_build(storage, True, STAMP, SPARK)
    end_build(storage, STAMP, SPARK)
    assert read_stamp(storage, SPARK) == STAMP
    with pytest.raises(WarehouseError, match=r"warehouse\.duckdb"):
        read_stamp(storage)
    assert begin_build(storage, False, STAMP, SPARK)
    with pytest.raises(WarehouseError, match="spark is not completely built"):
        read_stamp(storage, SPARK)


def test_a_table_is_all_files_of_its_folder_and_nothing_else(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "it's here", "toy")
    folder = storage.spark / "tables" / "users"
    folder.mkdir(parents=True)
    for part in range(2):
        pq.write_table(pa.table({"user_id": [f"u{part}", f"v{part}"]}), folder / f"part-{part}.parquet")
    (folder / "_SUCCESS").touch()
    (storage.spark / "tables" / "half_written" / "_temporary").mkdir(parents=True)
    assert row_counts(storage, ["users"], SPARK) == {"users": 4}
    with open_warehouse(storage, SPARK) as connection:
        assert connection.execute("select user_id from users order by all").fetchall() == [
            ("u0",), ("u1",), ("v0",), ("v1",),
        ]  # fmt: skip
        with pytest.raises(duckdb.CatalogException):
            connection.execute("select * from half_written")
