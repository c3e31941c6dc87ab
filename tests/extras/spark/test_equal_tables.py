"""Spark and DuckDB make the same tables of the same raw ones: row for row, type for type, byte for byte."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.extras.needs import needs

needs("pyspark", "dbt.adapters.spark")

from assets.config import Settings  # noqa: E402
from assets.transforms.contracts import EXPORTS  # noqa: E402
from tests.extras.spark.runs import Built, build, copied, local_data, raw_tables  # noqa: E402

SIMULATED = Settings(
    dataset="simulated",
    datasets={"simulated": {"users": 400, "items": 300, "days": 40, "engagements": 12_000}},
)


def _settings(dataset: str, home: Path) -> Settings:
    if dataset == "simulated":
        return SIMULATED.model_copy(update={"home": home})
    folder = local_data()
    if folder is None or not (folder / dataset).is_dir():
        pytest.skip(f"THAW_DATA_DIR holds no {dataset}")
    return Settings(dataset=dataset, home=home, data_dir=folder)


@pytest.fixture(scope="module", params=["simulated", "movietweetings-100k"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Built]:
    """The tables of DuckDB and of Spark, from one ingestion."""
    home = tmp_path_factory.mktemp(request.param)
    settings = raw_tables(_settings(request.param, home / "raw"))
    return build(copied(settings, home / "duckdb", "duckdb")), build(copied(settings, home / "spark", "spark"))


@pytest.mark.timeout(1800)
def test_every_exported_table_is_equal_row_for_row(both: tuple[Built, Built]) -> None:
    duckdb, spark = both
    for entry in EXPORTS:
        expected, actual = (pq.read_table(built.storage.table(entry.name)) for built in both)
        assert expected.num_rows > 0, entry.name
        assert actual.schema == expected.schema, entry.name
        assert actual.equals(expected), entry.name
    assert spark.manifest["tables"] == duckdb.manifest["tables"]
    assert spark.manifest["version"] == duckdb.manifest["version"]


@pytest.mark.timeout(1800)
def test_the_same_checks_ran_with_the_same_outcome_and_every_model_has_as_many_rows(both: tuple[Built, Built]) -> None:
    duckdb, spark = both
    assert len(duckdb.checks) > 40
    assert spark.checks == duckdb.checks
    assert spark.rows == duckdb.rows


@pytest.mark.timeout(1800)
def test_spark_made_them(both: tuple[Built, Built]) -> None:
    duckdb, spark = both
    assert not spark.storage.warehouse.exists()
    assert not duckdb.storage.spark.exists()
    written = pq.ParquetFile(next((spark.storage.spark / "tables" / "users").glob("*.parquet")))
    assert b"org.apache.spark.version" in written.metadata.metadata
