"""The discrete quantile of both engines, where floating point would be a row off."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import duckdb
import jinja2
import pytest

from tests.extras.needs import needs

needs("pyspark")

from assets.transforms.project import PROJECT_DIR  # noqa: E402

SHARES = ("0.07", "0.1", "0.14", "0.28", "0.5", "0.55", "0.9", "0.99")
"""Most of them are a row off at 100 rows where nothing is done about it."""

ROWS = (1, 3, 100, 12_345)
RANGE = "select {column} as instant from range({rows})"


def _macro(engine: str, name: str) -> Callable[..., str]:
    """A macro of the project, rendered without dbt."""
    template = jinja2.Environment(autoescape=False).from_string(
        (PROJECT_DIR / "macros" / "engines.sql").read_text(encoding="utf-8")
    )
    scope: dict[str, Any] = {"return": lambda value: value}
    module = template.make_module(scope | {"adapter": SimpleNamespace(dispatch=lambda of, _: _macro(engine, of))})
    found: Callable[..., str] = getattr(module, f"{engine}__{name}")
    return found


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.timestampType", "TIMESTAMP_NTZ")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def _of_spark(spark: Any, rows: int, quantiles: list[str]) -> list[Any]:
    instants = RANGE.format(column="cast(timestamp_micros(1600000000000000 + id) as timestamp_ntz)", rows=rows)
    return list(spark.sql(f"select {', '.join(quantiles)} from ({instants})").collect()[0])


@pytest.mark.parametrize("rows", ROWS)
def test_both_engines_take_the_same_row(rows: int, spark: Any) -> None:
    in_duckdb, in_spark = (_macro(engine, "discrete_quantile") for engine in ("duckdb", "spark"))
    instants = RANGE.format(column="make_timestamp(1600000000000000 + range)", rows=rows)
    shares = [*SHARES, *(f"1 - {share}" for share in SHARES)]
    expected = duckdb.sql(
        f"select {', '.join(in_duckdb('instant', share) for share in shares)} from ({instants})"
    ).fetchall()[0]
    assert _of_spark(spark, rows, [in_spark("instant", share) for share in shares]) == list(expected)


def test_a_product_in_floating_point_is_a_row_off(spark: Any) -> None:
    """What the macro is for: 0.07 x 100 is 7.000000000000001."""
    plain = "percentile_disc(0.07) within group (order by unix_micros(cast(instant as timestamp_ltz)))"
    exact = _macro("spark", "epoch_us")(_macro("spark", "discrete_quantile")("instant", "0.07"))
    off, right = _of_spark(spark, 100, [plain, exact])
    assert (off - 1600000000000000, right - 1600000000000000) == (7, 6)
