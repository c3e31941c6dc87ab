"""The static site of a folder: everything there, nothing there, something broken."""

import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets import keys
from assets.champion.quality.files import alert_path
from assets.monitoring.places import front_path, summary_path
from assets.monitoring.site.assets import dashboard
from assets.monitoring.site.build import TOPICS, Site, write_site
from assets.monitoring.site.sources import Reader, read_drift, read_latest_contest, read_serving
from assets.monitoring.tables import verdicts_path
from assets.serving.live.freshness import report_path as freshness_path
from assets.storage import Storage, write_json, write_parquet, write_text
from tests.assets.monitoring.site_home import (
    alert,
    expectation,
    figure_json,
    settings_of,
    state_of,
    write_checks,
    write_freshness,
    write_home,
)
from tests.assets.serving.live.conftest import Live, live, served_home, trained_home, unbuilt

__all__ = ["live", "served_home", "trained_home", "unbuilt"]

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
PAGES = {
    "index.html",
    "decay.html",
    "leaderboard.html",
    "cold.html",
    "freshness.html",
    "drift.html",
    "champion.html",
    "data-quality.html",
}
LINK = re.compile(r'(?:href|src)="([^"#]+)')


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return write_home(tmp_path, partitions=6)


def site(storage: Storage) -> Site:
    return write_site(storage, settings_of(storage.root.parent), NOW)


def links(page: Path) -> set[str]:
    return {link for link in LINK.findall(page.read_text(encoding="utf-8")) if not link.startswith("data:")}


def test_every_page_is_there_and_every_link_leads_somewhere(storage: Storage) -> None:
    made = site(storage)
    assert {path.name for path in made.pages} == PAGES
    assert made.problems == []
    for page in made.pages:
        for link in links(page):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert "drift/partition-2024-02-06.html" in links(front_path(storage).with_name("drift.html"))
    assert "../quality/index.html" in links(front_path(storage).with_name("data-quality.html"))


def test_a_fresh_home_has_every_page_and_nothing_is_green(tmp_path: Path) -> None:
    storage = settings_of(tmp_path).storage
    made = site(storage)
    assert ({path.name for path in made.pages}, made.problems) == (PAGES, [])
    assert [state_of(made.front, topic) for topic in TOPICS] == ["unknown"] * len(TOPICS)


def test_the_status_follows_the_files(storage: Storage) -> None:
    front = site(storage).front
    assert state_of(front, "Decay of the champion") == "good"
    assert (state_of(front, "Freshness"), state_of(front, "Drift")) == ("good", "warn")
    write_json(alert_path(storage), alert(alerted=True))
    write_freshness(storage, 6, p95=61.0)
    write_checks(storage, expectation(False))
    front = site(storage).front
    for topic in ("Decay of the champion", "Freshness", "Data quality"):
        assert state_of(front, topic) == "bad"
    assert "To act on: Data quality, Decay of the champion, Freshness." in front.read_text(encoding="utf-8")


@pytest.mark.parametrize("broken", [freshness_path, alert_path, verdicts_path])
def test_one_file_that_cannot_be_read_costs_its_own_page_only(storage: Storage, broken: object) -> None:
    path = broken(storage)  # type: ignore[operator]
    write_text(path, "not what it should be")
    made = site(storage)
    assert len(made.problems) == 1
    text = made.front.read_text(encoding="utf-8")
    assert "Could not be read" in text
    assert {path.name for path in made.pages} == PAGES
    assert state_of(made.front, "Data quality") == "warn"


def test_a_table_without_a_column_is_named(storage: Storage) -> None:
    write_parquet(verdicts_path(storage), pd.read_parquet(verdicts_path(storage)).drop(columns="judged"))
    made = site(storage)
    assert any("judged" in problem for problem in made.problems)
    assert state_of(made.front, "Drift") == "unknown"


def test_figures_hold_what_the_files_say(storage: Storage) -> None:
    panels = figure_json(site(storage).front.with_name("decay.html"))
    assert len(panels) == 16  # HR and NDCG of four slices, over windows and over partitions
    overall = {trace["name"]: trace for trace in panels[0]["data"] if "marker" in trace}  # type: ignore[attr-defined]
    assert overall["sasrec"]["y"] == pytest.approx([0.4, 0.37, 0.34, 0.31, 0.28])
    assert overall["sasrec"]["x"][0] == "2024-02-01 00:00"
    assert (overall["popularity"]["line"]["dash"], overall["sasrec"]["line"]["dash"]) == ("dash", "solid")
    landed = {trace["name"] for trace in panels[8]["data"]}  # type: ignore[attr-defined]
    assert landed == {"ihm_sasrec aaaaaa", "ihm_sasrec bbbbbb", "floor aaaaaa", "floor bbbbbb"}
    assert len(panels[8]["layout"]["shapes"]) == 2  # type: ignore[index]  # the first, and the one that won


def test_the_bundle_is_written_once(storage: Storage) -> None:
    bundle = site(storage).front.with_name("plotly.min.js")
    before = bundle.stat().st_mtime_ns
    site(storage)
    assert bundle.stat().st_mtime_ns == before
    write_text(bundle, "another version's")
    site(storage)
    assert bundle.stat().st_size > 1_000_000


def test_many_partitions_stay_small(tmp_path: Path) -> None:
    made = site(write_home(tmp_path, partitions=450))
    assert made.problems == []
    assert max(path.stat().st_size for path in made.pages) < 3_000_000
    panels = figure_json(made.front.with_name("drift.html"))
    assert max(len(trace["x"]) for panel in panels for trace in panel["data"]) == 400  # type: ignore[attr-defined]


def test_windows_speak_where_no_verdict_was_written(tmp_path: Path) -> None:
    storage = settings_of(tmp_path).storage
    rows = [(0, "hour", 0.2, True), (0, "value", 0.01, False), (1, "hour", 0.3, True), (1, "value", 0.4, True)]
    summary = pd.DataFrame(rows, columns=["window", "column", "score", "drifted"])
    share = summary.groupby("window")["drifted"].transform("mean")
    write_parquet(
        summary_path(storage),
        summary.assign(
            starts_at=pd.Timestamp("2024-01-01") + pd.to_timedelta(summary["window"], "D"),
            ends_at=pd.Timestamp("2024-01-03"),
            current_rows=10,
            reference_rows=20,
            threshold=0.1,
            method="distance",
            drifted_share=share,
        ),
    )
    _, verdicts = read_drift(storage)
    assert verdicts is not None
    assert verdicts["alarm"].tolist() == [False, True]  # more than half of the columns
    assert state_of(site(storage).front, "Drift") == "warn"


def test_what_serves_is_read(live: Live) -> None:
    serving = read_serving(live.storage)
    assert serving is not None
    assert serving.account["generation"]
    assert 0 <= serving.snapshot["recall"] <= 1
    made = write_site(live.storage, live.settings, NOW)
    assert state_of(made.front, "Index recall") in {"good", "bad"}
    assert state_of(made.front, "Champion") == "good"
    assert serving.account["model"] in made.front.with_name("champion.html").read_text(encoding="utf-8")


def test_nothing_serves_and_no_contest(tmp_path: Path) -> None:
    storage = settings_of(tmp_path).storage
    assert (read_serving(storage), read_latest_contest(storage)) == (None, None)


def test_only_what_files_raise_is_noted() -> None:
    reader = Reader()

    def fails() -> None:
        raise AssertionError("ours")

    with pytest.raises(AssertionError, match="ours"):
        reader.attempt("x", fails)
    assert reader.attempt("y", lambda: {}["key"]) is None
    assert reader.problems == ["y: KeyError: 'key'"]


def test_the_asset_says_what_it_wrote(storage: Storage) -> None:
    resources = {"storage": storage, "settings": settings_of(storage.root.parent)}
    run = dg.materialize([dashboard], resources=resources)
    (event,) = run.asset_materializations_for_node(dashboard.node_def.name)
    assert event.metadata["page"].value == str(front_path(storage))
    assert event.metadata["pages"].value == len(PAGES)
    assert "| Drift | ! look |" in str(event.metadata["status"].value)
    assert np.isfinite(event.metadata["seconds"].value)


def test_the_site_comes_after_what_it_shows() -> None:
    deps = dashboard.asset_deps[dg.AssetKey(keys.DASHBOARD)]
    shown = (keys.ENGAGEMENT_DRIFT, keys.PARTITION_DRIFT, keys.DATA_DOCS, keys.DECAY, keys.LEADERBOARD)
    assert {dg.AssetKey(key) for key in (*shown, keys.QUALITY_OVER_TIME, keys.FRESHNESS_REPORT)} <= deps
