"""The engines under the dbt project: dbt's target, where the tables come to lie, and what has to be installed.

The asset graph, the SQL and the exported tables are the same; only this page and ``transforms/macros/engines.sql`` know
that there is more than one. Spark is never imported here: dbt's own process is the only one that starts it, and its
tables are read as Parquet.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assets.config import EngineName
from assets.storage import Storage


class EngineError(RuntimeError):
    """An engine's parts are missing; the message says what to install or to set."""


@dataclass(frozen=True)
class Engine:
    """One engine.

    Attributes:
        name: of ``transforms.engine`` and of dbt's target.
        target_folder: dbt's below ``data/<dataset>/``, one per engine: in a shared one dbt would parse at each change.
        place: what the engine keeps its tables in, a DuckDB file or a folder.
        folders: of Parquet, one per table, where the engine keeps no DuckDB file; below ``place``.
        ready: raises :class:`EngineError` where something is not installed or not set.
    """

    name: EngineName
    target_folder: str
    place: Callable[[Storage], Path]
    folders: Callable[[Storage], Path] | None
    ready: Callable[[], None]

    def stamp_path(self, storage: Storage) -> Path:
        """Where the record of the last complete build lies: beside the tables, so that engines do not share it."""
        return self.place(storage).with_suffix(".json")


def _spark_tables(storage: Storage) -> Path:
    """As the macro ``spark__location_clause`` says."""
    return storage.spark / "tables"


def _nothing_needed() -> None:
    """DuckDB comes with the project."""


def _session_ready() -> None:
    _installed("dbt.adapters.spark", "pyspark")
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if os.environ.get("JAVA_HOME") else "java"
    if shutil.which(java) is None:
        raise EngineError(f"transforms.engine spark needs Java 17 and there is no {java}: install it or set JAVA_HOME")


def _thrift_ready() -> None:
    _installed("dbt.adapters.spark")
    if importlib.util.find_spec("pyhive") is None:
        raise EngineError("transforms.engine spark_thrift needs PyHive: pip install 'dbt-spark[PyHive]'")
    if not os.environ.get("THAW_SPARK_HOST"):
        raise EngineError("transforms.engine spark_thrift needs THAW_SPARK_HOST, the Thrift server's name")


def _installed(*modules: str) -> None:
    for module in modules:
        if not _found(module):
            raise EngineError(f"transforms.engine spark needs {module}, which is not installed: pip install .[spark]")


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


DUCKDB: Final = Engine("duckdb", "dbt", lambda storage: storage.warehouse, None, _nothing_needed)
SPARK: Final = Engine("spark", "dbt-spark", lambda storage: storage.spark, _spark_tables, _session_ready)
SPARK_THRIFT: Final = Engine("spark_thrift", "dbt-spark", lambda storage: storage.spark, _spark_tables, _thrift_ready)

ENGINES: Final[Mapping[EngineName, Engine]] = {engine.name: engine for engine in (DUCKDB, SPARK, SPARK_THRIFT)}
