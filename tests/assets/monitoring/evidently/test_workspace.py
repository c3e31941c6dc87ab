"""Evidently's workspace: what goes in, that a rerun replaces, and what the server makes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import requests
from evidently.core.serialization import SnapshotModel
from evidently.ui.workspace import Workspace

from assets.champion.quality.files import frame_of, upsert
from assets.config import PROJECT_ROOT, Settings
from assets.monitoring.evidently import collect
from assets.monitoring.evidently.assets import evidently_workspace
from assets.monitoring.evidently.collect import collect_moments
from assets.monitoring.evidently.workspace import project_id, snapshot_path, workspace_path, write_workspace
from assets.monitoring.tables import VOLUMES, Verdict, record
from assets.storage import Storage, write_parquet
from benchmarks.children import free_port
from dashboards.workspace_panels import dashboard_of
from dashboards.workspace_scalars import Moment, Scalar
from tests.browser import chromium_page

FIRST = datetime(2024, 3, 1, tzinfo=UTC)
FORMER, WINNER = "f" * 12, "0" * 12


def verdict(day: int, score: float) -> Verdict:
    starts_at = pd.Timestamp(FIRST.replace(tzinfo=None)) + pd.Timedelta(day, "D")
    scores = pd.DataFrame(
        [("category", "jensenshannon", score, 0.25, score >= 0.25)],
        columns=["column", "method", "score", "threshold", "drifted"],
    )
    volumes = dict.fromkeys(VOLUMES, 0.5)
    name, alarm = f"{starts_at:%Y-%m-%d}", score >= 0.25
    ends_at = starts_at + pd.Timedelta(1, "D")
    return Verdict("partition", name, starts_at, ends_at, 99, 400, alarm, "why", True, volumes, scores)


def fill(storage: Storage) -> None:
    """Files of two landed days, the second drifted, and of the champion on the first."""
    record(storage, [verdict(0, 0.1), verdict(1, 0.4)])
    day = {"checkpoint": "c" * 12, "model": "sasrec", "partition": "2024-03-01", "starts_at": pd.Timestamp(FIRST)}
    quality = [
        {**day, "contender": contender, "slice": part, "metric": "ndcg", "k": 10, "value": value}
        for contender, part, value in (
            ("champion", "overall", 0.2),
            ("floor", "overall", 0.3),
            ("champion", "head", 0.1),
            ("champion", "cold", np.nan),
        )
    ]
    write_parquet(storage.champion / "quality.parquet", pd.DataFrame(quality))
    embeddings = {"items": 5, "mean_distance": 0.01, "p95_distance": 0.02, "moved_share": 0.5, "from_cutoff": 0.3}
    write_parquet(storage.champion / "embeddings.parquet", pd.DataFrame([{**day, **embeddings}]))
    predictions = {"coverage": 0.4, "mean_popularity": 2.0, "score_p10": 1.0, "score_p50": 2.0, "score_p90": 3.0}
    write_parquet(storage.champion / "predictions.parquet", pd.DataFrame([{**day, **predictions}]))
    ats = {"group": "2024-03-02", "hop": "searchable", "p50": 5.0, "p95": 90.0}
    write_parquet(storage.live / "freshness.parquet", pd.DataFrame([ats, {**ats, "group": "all"}]))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(dataset="toy", home=tmp_path)


@pytest.fixture
def storage(settings: Settings) -> Storage:
    fill(settings.storage)
    return settings.storage


def numbers(moment: Moment) -> dict[tuple[str, str], Scalar]:
    return {(scalar.name, scalar.of): scalar for scalar in moment.scalars}


def test_moments_hold_what_the_files_say(storage: Storage, settings: Settings) -> None:
    first, second = collect_moments(storage, settings)
    assert [(one.kind, one.name, one.at) for one in (first, second)] == [
        ("partition", "2024-03-01", FIRST),
        ("partition", "2024-03-02", FIRST + timedelta(days=1)),
    ]
    one, two = numbers(first), numbers(second)
    assert one["drift", "category"] == Scalar("drift", 0.1, "category", "below", 0.25)
    assert one["NDCG@10", "overall, sasrec"] == Scalar("NDCG@10", 0.2, "overall, sasrec", "at least", 0.3)
    assert one["NDCG@10", "overall, floor"].value == 0.3
    assert ("NDCG@10", "cold, sasrec") not in one  # not a number
    assert one["items moved", "sasrec"].value == 0.5
    assert one["score p90", "sasrec"].value == 3.0
    assert two["drifted columns", ""].value == 1
    assert two["ATS p95", ""] == Scalar("ATS p95", 90.0, "", "at most", 60.0)


def test_windows_have_the_headline_protocol_alone(settings: Settings) -> None:
    storage, headline = settings.storage, settings.evaluation.headline
    row = {
        "protocol": "full",
        "user_history": headline.user_history.value,
        "item_embeddings": headline.item_embeddings.value,
        "model": "cdn",
        "slice": "overall",
        "metric": "hr",
        "k": 10,
        "window": "0",
        "value": 0.25,
    }
    other = {"user_history": "frozen", "item_embeddings": "frozen", "value": 0.9}
    rows = [row, {**row, "value": 0.35}, {**row, "window": "all"}, {**row, "k": 20}, {**row, **other}]
    write_parquet(storage.metrics, pd.DataFrame(rows))
    bounds = pd.DataFrame({"split": ["test"], "window": [0], "starts_at": [pd.Timestamp("2024-02-01")]})
    write_parquet(storage.table("split_bounds"), bounds)
    (moment,) = collect_moments(storage, settings)
    assert (moment.kind, moment.name, moment.at) == ("window", "0", datetime(2024, 2, 1, tzinfo=UTC))
    assert moment.scalars == (Scalar("HR@10", pytest.approx(0.3), "overall, cdn"),)


@pytest.fixture
def promoted(settings: Settings) -> Storage:
    """One day on which a champion below the floor and then, of a smaller digest, one above it were measured."""
    day = {"starts_at": pd.Timestamp("2024-03-01"), "ends_at": pd.Timestamp("2024-03-02"), "partition": "2024-03-01"}
    interval = {"ci_low": 0.0, "ci_high": 1.0, "n": 9, "cases": 9, "ranked": 9}
    predicted = {"lists": 9, "mean_popularity": 2.0, "score_p10": 1.0, "score_p50": 2.0, "score_p90": 3.0, "scores": 0}
    for checkpoint, value, floor in ((FORMER, 0.05, 0.1), (WINNER, 0.7, 0.5)):
        identity = {**day, "checkpoint": checkpoint, "model": "sasrec"}
        of = {"slice": "overall", "metric": "ndcg", "k": 10}
        rows = [
            {**identity, **of, **interval, "contender": contender, "value": number}
            for contender, number in (("champion", value), ("floor", floor))
        ]
        tables = {"quality": rows, "predictions": [{**identity, **predicted, "coverage": value}]}
        for table, held in tables.items():
            upsert(settings.storage, table, frame_of(table, held, {}), [(checkpoint, "2024-03-01")])
    return settings.storage


def judged(storage: Storage, settings: Settings) -> tuple[float, float, float]:
    """The champion's NDCG@10 on the day, what it is tested against, and its coverage."""
    (moment,) = collect_moments(storage, settings)
    found = numbers(moment)
    quality = found["NDCG@10", "overall, sasrec"]
    assert found["NDCG@10", "overall, floor"].value == quality.threshold
    return quality.value, quality.threshold, found["coverage", "sasrec"].value


def test_after_a_promotion_the_new_champion_is_judged(promoted: Storage, settings: Settings) -> None:
    assert judged(promoted, settings) == (0.7, 0.5, 0.7)


def test_after_a_rollback_the_one_that_serves_again_is_judged(
    promoted: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Serving:
        def record(self) -> SimpleNamespace:
            return SimpleNamespace(checkpoint=FORMER + " and the rest of its digest")

    monkeypatch.setattr(collect, "current", lambda _: Serving())
    assert judged(promoted, settings) == (0.05, 0.1, 0.05)


def test_windows_and_their_panels_are_at_the_headline_k(settings: Settings) -> None:
    storage, headline = settings.storage, settings.evaluation.headline
    histories = {"user_history": headline.user_history.value, "item_embeddings": headline.item_embeddings.value}
    rows = [
        {"protocol": "full", **histories, "model": "cdn", "slice": "overall", "metric": metric, "k": k, "window": "0"}
        for metric in ("hr", "ndcg")
        for k in (5, 20)
    ]
    write_parquet(storage.metrics, pd.DataFrame(rows).assign(value=0.25))
    bounds = pd.DataFrame({"split": ["test"], "window": [0], "starts_at": [pd.Timestamp("2024-02-01")]})
    write_parquet(storage.table("split_bounds"), bounds)
    moments = collect_moments(storage, settings)
    assert list(numbers(moments[0])) == [("HR@5", "overall, cdn"), ("NDCG@5", "overall, cdn")]
    board = dashboard_of(moments, project_id(storage))
    assert [panel.title for panel in board.panels] == ["Quality: NDCG@5", "Quality: HR@5"]
    assert [len(panel.values) for panel in board.panels] == [1, 1]


def read(storage: Storage, moment: Moment) -> SnapshotModel:
    return SnapshotModel.parse_obj(json.loads(snapshot_path(storage, moment).read_text(encoding="utf-8")))


def test_snapshots_carry_event_time_numbers_and_tests(storage: Storage, settings: Settings) -> None:
    moments = collect_moments(storage, settings)
    write_workspace(storage, moments, 400)
    snapshot = read(storage, moments[1])
    assert snapshot.timestamp == FIRST + timedelta(days=1)
    assert snapshot.tags == ["partition"]
    results = {result.display_name: result for result in snapshot.metric_results.values()}
    assert results["drift (category)"].value == 0.4
    states = {name: [test.status.value for test in result.tests] for name, result in results.items()}
    assert states["drift (category)"] == states["ATS p95"] == ["FAIL"]
    assert states["cold share"] == []
    assert snapshot_path(storage, moments[1]).stat().st_size < 50_000


def test_a_rerun_replaces_and_what_is_old_goes(storage: Storage, settings: Settings) -> None:
    moments = collect_moments(storage, settings)
    assert write_workspace(storage, moments, 400).written == 2
    again = write_workspace(storage, moments, 400)
    assert (again.snapshots, again.written, again.removed) == (2, 0, 0)
    record(storage, [verdict(0, 0.3)])
    changed = write_workspace(storage, collect_moments(storage, settings), 400)
    assert (changed.snapshots, changed.written, changed.removed) == (2, 1, 0)
    later = write_workspace(storage, moments, 0.5)
    assert (later.snapshots, later.removed) == (1, 1)
    assert not snapshot_path(storage, moments[0]).exists()
    (project,) = Workspace(str(workspace_path(storage))).list_projects()
    assert project.id == project_id(storage)
    assert project.name == "Thaw: toy"


def test_every_panel_finds_its_numbers(storage: Storage, settings: Settings) -> None:
    moments = collect_moments(storage, settings)
    board = dashboard_of(moments, project_id(storage))
    assert [tab.title for tab in board.tabs] == ["Landed partitions"]
    assert board.dict() == dashboard_of(moments, project_id(storage)).dict()
    shown = {tuple(value.metric_labels.values()) for panel in board.panels for value in panel.values}  # noqa: PD011 - no frame
    assert shown == {(scalar.name, scalar.of) for moment in moments for scalar in moment.scalars}


def test_the_asset_says_what_it_wrote(storage: Storage, settings: Settings) -> None:
    resources = {"storage": storage, "settings": settings}
    run = dg.materialize([evidently_workspace], resources=resources)
    (event,) = run.asset_materializations_for_node("monitoring__evidently_workspace")
    assert (event.metadata["snapshots"].value, event.metadata["partitions"].value) == (2, 2)


def test_nothing_to_show_is_an_empty_project(settings: Settings) -> None:
    assert write_workspace(settings.storage, collect_moments(settings.storage, settings), 400).snapshots == 0


@contextmanager
def served(settings: Settings, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    code = "from orchestration.dashboards_cli import app; app()"
    environment = {**os.environ, "THAW_HOME": str(settings.home), "THAW_DATASET": "simulated"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--port", str(port)],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            until = time.monotonic() + 150
            while time.monotonic() < until and process.poll() is None:
                try:
                    requests.get(f"http://127.0.0.1:{port}/api/version", timeout=2)
                    break
                except requests.RequestException:
                    time.sleep(0.2)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def test_the_server_shows_the_project_and_a_panel_with_data(tmp_path: Path) -> None:
    settings = Settings(dataset="simulated", home=tmp_path)
    fill(settings.storage)
    write_workspace(settings.storage, collect_moments(settings.storage, settings), 400)
    port, log = free_port(), tmp_path / "log.txt"
    with served(settings, port, log) as process, chromium_page(hosts=("127.0.0.1",)) as browsing:
        assert process.poll() is None, log.read_text()
        page = browsing.page
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_text("Thaw: simulated").first.wait_for(timeout=60_000)
        page.goto(f"http://127.0.0.1:{port}/projects/{project_id(settings.storage)}")
        page.get_by_text("Who and what").first.wait_for(timeout=60_000)
        marks = page.locator(".MuiMarkElement-root")
        marks.first.wait_for(timeout=60_000, state="attached")
        folder = Path(os.environ.get("THAW_ARTIFACTS", str(tmp_path)))
        page.screenshot(path=str(folder / "evidently.png"), full_page=True)
        assert marks.count() >= 2 + 2 + 6  # drift, alarms, and three shares on two days
        assert browsing.blocked == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}
