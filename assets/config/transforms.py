"""Which engine runs the SQL."""

from typing import Literal

from pydantic import Field

from assets.config.base import StrictModel

EngineName = Literal["duckdb", "spark", "spark_thrift"]


class TransformsConfig(StrictModel):
    """The engine under the dbt project; the exported tables are the same."""

    engine: EngineName = Field(
        "duckdb",
        description="duckdb, in this process; spark, a session of dbt's own process (pip install .[spark], Java 17);"
        " spark_thrift, a Thrift server from the environment (docs/spark.md)",
    )
