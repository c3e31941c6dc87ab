"""Drift reports per window, by materializing them."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.config import Settings
from assets.monitoring.assets import engagement_drift
from assets.monitoring.drift import MOST_REPORTS, reported_windows, score_board, summary_table
from assets.monitoring.places import report_path, summary_path
from assets.storage import Storage, write_parquet, write_text
from tests.assets.quality.toy import toy_settings, write_dataset


def materialize(asset: dg.AssetsDefinition, storage: Storage, settings: Settings) -> dg.AssetMaterialization:
    run = dg.materialize([asset], resources={"storage": storage, "settings": settings})
    (event,) = run.asset_materializations_for_node(asset.node_def.name)
    return event


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return toy_settings(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def storage(settings: Settings) -> Storage:
    """The toy dataset, with a report of a window that there no longer is."""
    storage = write_dataset(settings.home)
    write_text(report_path(storage, 9), "old")
    return storage


@pytest.fixture(scope="module")
def drift(storage: Storage, settings: Settings) -> dg.AssetMaterialization:
    return materialize(engagement_drift, storage, settings)


def test_a_report_per_window_and_no_other(storage: Storage, drift: dg.AssetMaterialization) -> None:
    folder = summary_path(storage).parent
    assert {path.name for path in folder.iterdir()} == {"window-0.html", "window-1.html", "summary.parquet"}
    assert drift.metadata["window_1"].value == report_path(storage, 1).absolute().as_uri()
    assert drift.metadata["reference_rows"].value == 28
    assert drift.metadata["window_rows"].value == {"0": 14, "1": 14}
    page = report_path(storage, 1).read_text(encoding="utf-8")
    assert "14 of 14 engagements drawn" in page
    assert "Engagement drift of toy, window 1" in page


def test_summary_is_tidy(storage: Storage, drift: dg.AssetMaterialization) -> None:
    summary = pd.read_parquet(summary_path(storage))
    assert summary.groupby("window")["column"].nunique().to_dict() == {0: 9, 1: 9}
    assert not summary.duplicated(["window", "column"]).any()
    share = summary.groupby("window")["drifted"].mean()
    assert (summary["drifted_share"] == summary["window"].map(share)).all()
    known = summary[(summary["window"] == 0) & (summary["column"] == "user_in_train")].iloc[0]
    assert known["drifted"]  # u3 is new in window 0
    assert drift.metadata["drifted_share"].value["window 0"] == pytest.approx(share[0])


def test_the_sample_is_capped_and_stated(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    many = pd.concat([storage.read_table("interactions")] * 8, ignore_index=True)
    many = many.assign(source_row=range(len(many))).sort_values(["timestamp", "source_row"], ignore_index=True)
    other = Storage(tmp_path, "toy")
    for name in ("items", "users", "split_bounds"):
        write_parquet(other.table(name), storage.read_table(name))
    write_parquet(other.table("interactions"), many)
    event = materialize(engagement_drift, other, settings)
    assert event.metadata["window_rows"].value == {"0": 100, "1": 100}
    assert "100 of 224 engagements drawn" in report_path(other, 0).read_text(encoding="utf-8")


def test_a_window_without_engagements_has_no_report(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    other = Storage(tmp_path, "toy")
    interactions = storage.read_table("interactions")
    for name in ("items", "users", "split_bounds"):
        write_parquet(other.table(name), storage.read_table(name))
    write_parquet(other.table("interactions"), interactions[~interactions["window"].isin([1])])
    event = materialize(engagement_drift, other, settings)
    assert "window_0" in event.metadata
    assert "window_1" not in event.metadata


def test_of_many_windows_fifty_have_a_report() -> None:
    windows = pd.Series([None, *range(199), 4, 198, 300], dtype="Int32")
    reported = reported_windows(windows)
    assert len(reported) == MOST_REPORTS
    assert (reported[0], reported[-1], sorted(set(reported))) == (0, 300, reported)
    assert reported_windows(windows.where(windows < 3)) == [0, 1, 2]


def test_no_window_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no test window has engagements"):
        summary_table([])


def test_score_board_by_hand() -> None:
    rows = [(0, "value", 0.05, False), (0, "hour", 0.2, True), (1, "value", 0.3, True), (1, "hour", 0.01, False)]
    summary = pd.DataFrame(rows, columns=["window", "column", "score", "drifted"])
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in score_board(summary).splitlines()]
    assert lines[0] == ["column", "window 0", "window 1"]
    assert lines[2:] == [["value", "0.050", "**0.300**"], ["hour", "**0.200**", "0.010"]]
