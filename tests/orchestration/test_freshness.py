"""The freshness path through Dagster on a small dataset: from dropped files to the index, its report and its checks."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from assets import keys
from assets.config import PROJECT_ROOT, Settings
from assets.serving.live.checks import VECTORS_COMPARED
from assets.serving.live.generation import require_current
from assets.serving.live.ledger import entries
from assets.serving.store.interface import Table
from assets.serving.store.records import USER_ENTRY
from assets.storage import write_json
from orchestration.definitions import build_definitions
from orchestration.home import open_instance
from orchestration.jobs import FRESHEN, REFRESH_ALL, RETRAIN_QUANTIZER, STATE_EQUALS_BATCH, index_config
from orchestration.runner import run_graph
from orchestration.sensors import look
from tests.assets.evaluation.toy import toy_rows, toy_settings
from tests.browser import chromium_page, chromium_path
from tests.orchestration.test_ui_in_browser import HOST, PAGE_MS, free_port, wait_until_up
from tests.support import interactions_frame, write_tables

MODEL = "ihm_sasrec"
MADE = ("training/decayed_popularity", f"training/{MODEL}", "serving/item_index")


def settings_in(home: Path, **freshness: Any) -> Settings:
    """Exported tables as if the transforms had made them, and one net and one count to choose from."""
    settings = toy_settings(home, ("decayed_popularity", MODEL))
    index = settings.index.model_copy(update={"queries": 10})
    changed = settings.freshness.model_copy(update=freshness)
    rows = interactions_frame(toy_rows())
    genres = {item: [f"g{number % 3}"] for number, item in enumerate(sorted(rows["item_id"].unique()))}
    write_tables(home, rows, "2020-01-07", "2020-01-06", item_features={"genres": genres}, dataset=settings.dataset)
    return settings.model_copy(update={"index": index, "freshness": changed})


@dataclass
class Line:
    """A dataset with an index, and the sensor and the job on the persistent instance of its home."""

    settings: Settings
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursor: str | None = None

    def drop(self, kind: str, name: str, *lines: str) -> None:
        folder = self.settings.storage.landing / kind
        folder.mkdir(parents=True, exist_ok=True)
        header = "user_id,item_id,timestamp" if kind == "engagements" else "item_id,title,created_at"
        (folder / f"{name}.partial").write_text("\n".join([header, *lines]) + "\n")
        (folder / f"{name}.partial").rename(folder / name)

    def look(self) -> dg.RunRequest | None:
        """One tick, as the daemon makes it."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        found = look(context, self.settings, time.time_ns() // 1000)
        assert isinstance(found, dg.SensorResult), found
        for request in found.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        self.cursor = found.cursor
        return found.run_requests[0] if found.run_requests else None

    def freshen(self) -> dg.ExecuteInProcessResult:
        """The run that the sensor asks for."""
        request = self.look()
        assert request is not None
        return self.run(FRESHEN, request)

    def run(self, job: str, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            run_config=request.run_config,
            asset_selection=list(request.asset_selection) if request.asset_selection else None,
            raise_on_error=False,
        )

    def ledger(self) -> list[Any]:
        with require_current(self.settings.storage).open_store() as store, store.read() as reader:
            return [entry for entry in entries(reader) if entry.kind != "base"]

    def check(self, result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
        (found,) = [each for each in result.get_asset_check_evaluations() if each.check_name == name]
        return found


def metadata(result: dg.ExecuteInProcessResult, key: list[str], partition: str | None = None) -> dict[str, Any]:
    """Metadata of one materialization, as plain values."""
    events = [event.materialization for event in result.get_asset_materialization_events()]
    (found,) = [each for each in events if each.asset_key == dg.AssetKey(key) and each.partition == partition]
    return {name: value.value for name, value in found.metadata.items()}


def landed_partitions(result: dg.ExecuteInProcessResult) -> list[str]:
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return sorted(each.partition for each in events if each.asset_key == dg.AssetKey(keys.LANDED_ENGAGEMENTS))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        settings = settings_in(tmp_path_factory.mktemp("home"))
        selection = " or ".join(f'key:"{name}"' for name in MADE)
        outcome = run_graph(settings, selection, Console(file=io.StringIO()))
        assert outcome.success, (outcome.failed_steps, outcome.failed_checks)
        with open_instance(settings) as instance:
            yield Line(settings, instance, build_definitions(settings))


@pytest.fixture(scope="module")
def landed(line: Line) -> dg.ExecuteInProcessResult:
    """A run over three files of two days and an item file."""
    line.drop("engagements", "a.csv", "u1,i01,2020-01-13T10:00:00Z", "u2,new,2020-01-13T11:00:00Z")
    line.drop("engagements", "b.csv", "u1,i02,2020-01-14T10:00:00Z", "u1,i02,2020-01-14T10:00:00Z")
    line.drop("engagements", "bad.csv", "u1,i02")
    line.drop("items", "items.csv", "fresh,A fresh item,2020-01-13T00:00:00Z")
    result = line.freshen()
    assert result.success, [event for event in result.all_events if event.is_failure]
    return result


def test_the_graph_builds_an_index_that_serves(line: Line) -> None:
    event = line.instance.get_latest_materialization_event(dg.AssetKey(keys.ITEM_INDEX))
    found = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert found["model"] == MODEL
    assert found["snapshot"] == "first"
    assert found["items"] == 20
    assert found["recall_at_10"] >= 0.95
    assert "**User" in found["example"]
    assert require_current(line.settings.storage).name == found["generation"]


def test_one_run_takes_every_file_through_every_step(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    first = metadata(landed, keys.LANDED_ENGAGEMENTS, "2020-01-13")
    assert (first["dagster/row_count"], first["files"], first["sources"]) == (2, 1, "a.csv")
    features = metadata(landed, keys.ITEM_FEATURES, "2020-01-14")
    assert (features["dagster/row_count"], features["batches"]) == (1, 1)
    embedded = metadata(landed, keys.FRESH_ITEM_EMBEDDINGS, "2020-01-14")
    assert embedded["embedded"] == 4  # i01, i02, new, fresh
    assert embedded["deferred"] == 0
    index = metadata(landed, keys.ITEM_INDEX)
    assert index["items"] + index["delta_items"] >= 22
    assert "example" not in index
    report = metadata(landed, keys.FRESHNESS_REPORT, "2020-01-13")
    assert 0 < report["indexed p95"] < 600  # from the landing, however slow the machine
    assert report["searchable p95"] > 86_400  # the events lie years back
    assert "figure" not in report  # on the latest partition alone
    latest = metadata(landed, keys.FRESHNESS_REPORT, landed_partitions(landed)[-1])
    assert "new items" in latest["report"]
    assert "data:image/png;base64," in latest["figure"]


def test_the_ledger_holds_every_batch_once_and_all_hops(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    found = {entry.source: entry for entry in line.ledger()}
    assert set(found) == {"a.csv", "b.csv", "items.csv"}
    assert (found["a.csv"].applied, found["b.csv"].applied, found["b.csv"].rejected) == (2, 1, 0)
    for entry in found.values():
        hops = [entry.landed_at, entry.seen_at, entry.features_at, entry.embedded_at, entry.indexed_at]
        assert hops == sorted(hops), entry


def test_files_go_to_done_and_the_bad_one_to_quarantine(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    landing = line.settings.storage.landing
    assert {path.name.split("--")[-1] for path in (landing / "done").rglob("*.csv")} == {"a.csv", "b.csv", "items.csv"}
    assert [path.name.split("--")[-1] for path in (landing / "quarantine").glob("*.csv")] == ["bad.csv"]
    assert line.look() is None


def test_checks_of_the_run(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    names = {each.check_name for each in landed.get_asset_check_evaluations()}
    assert names == {"pending_bound", "ats_bound", "snapshot_recall"}
    assert line.check(landed, "pending_bound").passed
    assert line.check(landed, "snapshot_recall").passed
    slow = line.check(landed, "ats_bound")
    assert not slow.passed
    assert slow.severity is dg.AssetCheckSeverity.WARN
    assert "the longest hop is 'produced'" in slow.description


def test_the_same_content_again_changes_nothing(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    before = line.ledger()
    line.drop("engagements", "again.csv", "u1,i01,2020-01-13T10:00:00Z", "u2,new,2020-01-13T11:00:00Z")
    result = line.freshen()
    assert result.success
    assert metadata(result, keys.ITEM_FEATURES, "2020-01-13")["batches"] == 0
    assert line.ledger() == before
    assert line.look() is None


def test_a_killed_run_is_taken_up_by_the_next(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    line.drop("engagements", "c.csv", "u3,i03,2020-01-14T12:00:00Z")
    request = line.look()
    assert request is not None
    line.definitions.resolve_job_def(FRESHEN).execute_in_process(
        instance=line.instance,
        partition_key=request.partition_key,
        asset_selection=[dg.AssetKey(keys.LANDED_ENGAGEMENTS), dg.AssetKey(keys.ITEM_FEATURES)],
    )
    assert [entry.indexed_at for entry in line.ledger() if entry.source == "c.csv"] == [None]
    flush = line.look()
    assert flush is not None
    result = line.run(FRESHEN, flush)
    assert result.success
    assert metadata(result, keys.FRESH_ITEM_EMBEDDINGS, flush.partition_key)["embedded"] == 1
    assert all(entry.indexed_at for entry in line.ledger())


def test_the_night_trains_the_quantizer_and_finds_the_state_of_batch_code(
    line: Line, landed: dg.ExecuteInProcessResult
) -> None:
    request = dg.RunRequest(run_config=index_config(build=False, retrain=True))
    result = line.run(RETRAIN_QUANTIZER, request)
    assert result.success
    assert metadata(result, keys.ITEM_INDEX)["snapshot"] == "quantizer"
    assert metadata(result, keys.ITEM_INDEX)["deltas"] == 0
    same = line.check(result, STATE_EQUALS_BATCH.name)
    assert same.passed, same.metadata["examples"].value
    assert line.check(result, "index_recall").passed
    assert VECTORS_COMPARED >= 1000


def test_the_state_check_sees_a_lost_engagement(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    with require_current(line.settings.storage).open_store() as store:
        with store.read() as reader:
            key, value = next(iter(reader.scan(Table.USER_HISTORIES)))
        with store.write() as writer:
            writer.put(Table.USER_HISTORIES, key, value[USER_ENTRY.itemsize :])
        try:
            result = line.run(RETRAIN_QUANTIZER, dg.RunRequest(run_config=index_config(build=False, retrain=False)))
        finally:
            with store.write() as writer:
                writer.put(Table.USER_HISTORIES, key, value)
    found = line.check(result, STATE_EQUALS_BATCH.name)
    assert not found.passed
    assert "user history" in found.description


def test_an_index_that_serves_its_checkpoint_is_not_built_again(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    before = require_current(line.settings.storage).name
    outcome = run_graph(line.settings, 'key:"serving/item_index"', Console(file=io.StringIO()))
    assert outcome.success, outcome
    assert require_current(line.settings.storage).name == before


def test_in_a_replay_latency_counts_from_the_landing(line: Line, landed: dg.ExecuteInProcessResult) -> None:
    replay = line.settings.storage.live / "replay.json"
    write_json(replay, {})
    try:
        line.drop("engagements", "d.csv", "u4,i04,2020-01-14T13:00:00Z")
        result = line.freshen()
        assert metadata(result, keys.FRESHNESS_REPORT, "2020-01-14")["since"] == "landing (replay)"
        assert line.check(result, "ats_bound").passed
    finally:
        replay.unlink()


def test_what_is_made_per_partition_is_left_to_the_sensor(line: Line) -> None:
    job = line.definitions.resolve_job_def(REFRESH_ALL)
    selected = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert "serving/item_index" in selected
    assert not selected & {"/".join(key) for key in keys.PER_PARTITION}
    with pytest.raises(ValueError, match="do not make: serving/item_features"):
        run_graph(line.settings, 'key:"serving/item_features"', Console(file=io.StringIO()))


@pytest.mark.browser
def test_the_ui_shows_the_partition_and_what_it_waited_for(
    line: Line, landed: dg.ExecuteInProcessResult, tmp_path: Path
) -> None:
    chromium_path()
    port, log = free_port(), tmp_path / "server.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THAW_")} | {
        "DAGSTER_HOME": str(line.settings.home / ".dagster" / line.settings.dataset),
        "THAW_HOME": str(line.settings.home),
        "THAW_DATASET": line.settings.dataset,
        "THAW_MODELS": ",".join(line.settings.models),
    }
    command = [
        sys.executable,
        "-m",
        "dagster_webserver",
        "-m",
        "orchestration.definitions",
        "-h",
        HOST,
        "-p",
        str(port),
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_up(f"http://{HOST}:{port}", server, log)
        with chromium_page(hosts=(HOST,)) as browsing:
            page = browsing.page
            page.set_default_timeout(PAGE_MS)
            page.goto(f"http://{HOST}:{port}/assets/serving/freshness_report?view=partitions&partition=2020-01-13")
            page.get_by_text("searchable p95", exact=True).first.wait_for()
            page.get_by_text("2020-01-14", exact=True).first.wait_for()
            page.screenshot(path=tmp_path / "partition.png")
            assert browsing.errors == []
            assert browsing.blocked == []
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a web server and the code server it started."""
    for chosen in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(server.pid, chosen)
        except ProcessLookupError:
            break
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            continue
