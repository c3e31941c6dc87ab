"""The dbt models and the export as assets: graph, checks, failure, and runs that overlap or are killed."""

import ast
import os
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from assets import keys
from assets.config import PROJECT_ROOT, Settings, SplitConfig
from assets.dbt import ASSETS, QuietDbt, dbt_models
from assets.storage import Storage
from assets.transforms.export import TablesError, read_manifest, verify_tables
from assets.transforms.project import DBT, PROJECT_DIR, dbt_environment, environment
from assets.transforms.stamp import WarehouseError, read_stamp
from orchestration.slots import free_dead_slots
from tests.support import interactions_frame
from tests.transforms.raw import random_rows, small_raw, write_raw

SETTINGS = Settings(dataset="toy", split=SplitConfig(windows=3))
FOLDERS = {keys.STAGING, keys.SPLITS, keys.SLICES, keys.HISTORIES}
HOME = "concurrency: {pools: {default_limit: 1, granularity: op}}\ntelemetry: {enabled: false}\n"


def _run(storage: Storage, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(ASSETS, resources={"storage": storage, "settings": SETTINGS}, **options)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return small_raw(Storage(tmp_path_factory.mktemp("assets"), "toy"))


@pytest.fixture(scope="module")
def result(storage: Storage) -> dg.ExecuteInProcessResult:
    return _run(storage)


def _metadata(result: dg.ExecuteInProcessResult, key: list[str]) -> dict[str, Any]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(key)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_every_asset_has_its_folder_s_group_kinds_owner_and_description() -> None:
    for spec in (spec for assets in ASSETS for spec in assets.specs):
        assert len(spec.key.path) == 2
        assert spec.group_name == spec.key.path[0]
        assert {"duckdb"} < spec.kinds
        assert spec.owners == [keys.OWNER]
        assert spec.description
    assert {spec.group_name for spec in dbt_models.specs} == FOLDERS


def test_sources_are_the_ingestion_assets_and_every_model_is_read() -> None:
    needed = {key for asset in ASSETS for key in asset.dependency_keys}
    needed |= {dep.asset_key for spec in dbt_models.specs for dep in spec.deps}
    produced = {key for asset in ASSETS for key in asset.keys}
    raw = {dg.AssetKey(key) for key in (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)}
    assert needed - produced == raw
    assert produced - needed == {dg.AssetKey(keys.TABLES)}


IN_MEMORY = (
    "assets/ingestion/duplicates.py",
    "assets/ingestion/statistics.py",
    "assets/monitoring/partitions/source.py",
    "assets/quality/large.py",
)
"""Modules that query Parquet files by DuckDB and open no database file."""

GIVEN_ONE = ("assets/quality/large_frames.py", "assets/quality/suspects.py")
"""Modules that are handed a connection."""


def test_every_op_that_opens_the_file_is_in_the_pool() -> None:
    assert [asset.op.pool for asset in ASSETS] == [keys.WAREHOUSE_POOL] * len(ASSETS)
    opens = {
        path.relative_to(PROJECT_ROOT).as_posix()
        for folder in ("assets", "orchestration", "dashboards", "models")
        for path in (PROJECT_ROOT / folder).rglob("*.py")
        if any(_imports_duckdb(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert opens == {"assets/transforms/export.py", "assets/transforms/mend.py", *IN_MEMORY, *GIVEN_ONE}
    for name in GIVEN_ONE:
        assert "connect(" not in (PROJECT_ROOT / name).read_text(encoding="utf-8")
    for name in IN_MEMORY:
        assert re.findall(r"duckdb\.connect\(([^,)]*)", (PROJECT_ROOT / name).read_text(encoding="utf-8")) == [
            '":memory:"'
        ]


def _imports_duckdb(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(name.name.split(".")[0] == "duckdb" for name in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "duckdb"


def test_materializes_models_checks_and_tables(result: dg.ExecuteInProcessResult, storage: Storage) -> None:
    assert result.success
    assert {event.asset_key for event in result.get_asset_materialization_events()} == {
        key for asset in ASSETS for key in asset.keys
    }
    checks = result.get_asset_check_evaluations()
    assert {(check.asset_key, check.check_name) for check in checks} == {
        (spec.asset_key, spec.name) for spec in dbt_models.check_specs
    }
    assert all(check.passed for check in checks if check.severity is dg.AssetCheckSeverity.ERROR)
    assert _metadata(result, [keys.SPLITS, "interactions_split"])["dagster/row_count"] == 160
    assert _metadata(result, [keys.SLICES, "users"])["dagster/row_count"] == 10


def test_the_run_s_settings_reach_dbt(result: dg.ExecuteInProcessResult, storage: Storage) -> None:
    assert storage.read_table("split_bounds")["window"].max() == 2
    assert read_stamp(storage)["vars"]["windows"] == 3


def test_the_export_tells_its_version_profile_and_bounds(result: dg.ExecuteInProcessResult, storage: Storage) -> None:
    metadata = _metadata(result, keys.TABLES)
    assert "imbalance_factor" in metadata["profile"]
    assert "validation" in metadata["split_bounds"]
    assert metadata["rows"]["interactions"] == 160
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(keys.TABLES)]
    assert (event.materialization.tags or {})["dagster/data_version"] == verify_tables(storage)["version"]


def test_dbt_leaves_nothing_outside_its_folders(result: dg.ExecuteInProcessResult, storage: Storage) -> None:
    assert {path.name for path in storage.base.iterdir()} == {
        "raw", "dbt", "tables", "warehouse.duckdb", "warehouse.json", "warehouse.lock",
    }  # fmt: skip
    assert not (PROJECT_DIR / "logs").exists()


def test_no_second_connection_is_opened(storage: Storage) -> None:
    dbt = QuietDbt(project_dir=str(PROJECT_DIR), profiles_dir=str(PROJECT_DIR), dbt_executable=str(DBT))
    with environment(dbt_environment(storage)):
        invocation = dbt.cli(["--version"], target_path=storage.base / "dbt")
    assert invocation.adapter is None
    assert (invocation.cli_version.major, invocation.cli_version.minor) == (1, 11)
    invocation.process.communicate()


def test_a_failed_data_test_blocks_the_export_in_this_run_and_in_the_next(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "toy")
    frame = interactions_frame(random_rows(0, n=40))
    frame.loc[3, "item_id"] = None
    write_raw(storage, frame, items={"i1": ("g",)})
    result = _run(storage, raise_on_error=False)
    assert not result.success
    failed = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    assert failed == {"not_null_stg_interactions_item_id"}
    materialized = {event.asset_key for event in result.get_asset_materialization_events()}
    assert dg.AssetKey([keys.STAGING, "stg_interactions"]) in materialized
    assert dg.AssetKey([keys.SPLITS, "split_bounds"]) not in materialized
    with pytest.raises(TablesError):
        read_manifest(storage)
    with pytest.raises(WarehouseError, match="materialize every dbt model"):
        _run(storage, selection=[dg.AssetKey(keys.TABLES)])


def _start(home: Path, start: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.transforms.overlapping_run", str(home), str(start)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DAGSTER_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never printed:\n{''.join(seen)}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dagster.yaml").write_text(HOME)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:  # two processes that both make its databases race
        instance.get_runs()
        instance.event_log_storage.get_concurrency_run_ids()
    return tmp_path


def _held(output: str) -> list[tuple[float, float]]:
    """When a run held the warehouse: once for dbt, once for the export."""
    lines = [line.split() for line in output.splitlines() if line.startswith("held ")]
    assert len(lines) == len(ASSETS), output
    return [(float(begin), float(end)) for _, begin, end in lines]


@pytest.mark.timeout(600)
def test_two_overlapping_runs_share_the_warehouse(home: Path) -> None:
    # Two slots: whatever the pool lets through (on SQLite two claims at once can both win), the lock must hold.
    (home / "dagster.yaml").write_text(HOME.replace("default_limit: 1", "default_limit: 2"))
    start = home / "start"
    processes = [_start(home, start) for _ in range(2)]
    for process in processes:
        _wait_for(process, "ready")
    start.touch()
    outputs = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    storage = Settings(dataset="toy", home=home).storage
    verify_tables(storage)
    held = sorted(interval for output in outputs for interval in _held(output))
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(held)), held
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_run_records()
        assert len(runs) == 2
        spans = sorted((run.start_time or 0.0, run.end_time or 0.0) for run in runs)
        assert spans[1][0] < spans[0][1], "the runs did not overlap"
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


@pytest.mark.timeout(600)
def test_a_run_killed_while_dbt_builds_does_not_stop_the_next(home: Path) -> None:
    start = home / "start"
    start.touch()
    process = _start(home, start)
    _wait_for(process, "START sql table model")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    storage = Settings(dataset="toy", home=home).storage
    with dg.DagsterInstance.get() as instance:
        assert len(free_dead_slots(instance)) == 1
        assert _run(storage, instance=instance).success
        assert instance.event_log_storage.get_concurrency_run_ids() == set()
    assert verify_tables(storage)["tables"]["interactions"]["rows"] == len(
        pd.read_parquet(storage.table("interactions"))
    )
