"""The whole graph, as ``thaw run`` runs it, on a small simulated dataset."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from assets.config import Settings
from assets.schema import METRIC_COLUMNS
from assets.serving.live.generation import require_current
from assets.serving.live.maintain import load_index
from assets.stream import load_tables
from assets.training.registry import DEFAULT_ROSTER
from orchestration.runner import Outcome, run_graph
from orchestration.summary import print_summary


@pytest.fixture(scope="module")
def finished(small_settings: Settings) -> tuple[Settings, Outcome, str]:
    console = Console(file=io.StringIO(), width=200)
    outcome = run_graph(small_settings, None, console)
    print_summary(small_settings, outcome.materialized, console)
    return small_settings, outcome, console.file.getvalue()


def test_the_run_succeeds(finished: tuple[Settings, Outcome, str]) -> None:
    _, outcome, printed = finished
    assert outcome.success, (outcome.failed_steps, outcome.failed_checks, printed)


def test_metrics_hold_every_model_window_and_protocol(finished: tuple[Settings, Outcome, str]) -> None:
    settings, _, _ = finished
    metrics = pd.read_parquet(settings.storage.metrics)
    assert tuple(metrics.columns) == METRIC_COLUMNS
    assert set(metrics["model"]) == set(DEFAULT_ROSTER)
    assert set(metrics["window"]) == {"0", "1", "2", "3", "4", "all"}
    assert {("rolling", "refreshed"), ("frozen", "frozen")} == set(
        zip(metrics["user_history"], metrics["item_embeddings"], strict=True)
    )
    assert np.isfinite(metrics["value"]).all()
    # A bootstrap draws fewer users, so fewer items: coverage has no interval.
    intervals = metrics[metrics["metric"] != "coverage"]
    assert np.isfinite(intervals[["ci_low", "ci_high"]]).all(axis=None)
    assert (
        (intervals["ci_low"] <= intervals["value"] + 1e-12) & (intervals["value"] <= intervals["ci_high"] + 1e-12)
    ).mean() > 0.99


def test_what_the_user_is_told(finished: tuple[Settings, Outcome, str]) -> None:
    _, _, printed = finished
    for expected in (*DEFAULT_ROSTER, "recall", "Where to look next", "make ui DATASET=simulated"):
        assert expected in printed


def test_a_part_prints_no_result_it_did_not_make(finished: tuple[Settings, Outcome, str]) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_summary(finished[0], {"training/popularity"}, console)
    printed = console.file.getvalue()
    assert "Where to look next" in printed
    assert "recall" not in printed
    assert "HR@10" not in printed


def test_every_page_and_file_is_there(finished: tuple[Settings, Outcome, str]) -> None:
    storage = finished[0].storage
    drift = [storage.dashboards / "drift" / f"window-{window}.html" for window in range(5)]
    for path in (
        *drift,
        storage.dashboards / "index.html",
        storage.quality / "index.html",
        storage.evaluation / "decay.png",
    ):
        assert path.stat().st_size > 1000, path
    assert not list(storage.base.rglob("*.partial-*"))


def test_the_index_holds_the_catalog(finished: tuple[Settings, Outcome, str]) -> None:
    storage = finished[0].storage
    tables, generation = load_tables(storage), require_current(storage)
    now = tables.stream.timestamps[-1] + np.timedelta64(1, "us")
    with generation.open_store() as store, store.read() as reader:
        assert load_index(reader, generation).size == len(tables.catalog.rows_at(now))


def test_running_a_part_again_gives_the_same_metrics(finished: tuple[Settings, Outcome, str]) -> None:
    settings, _, _ = finished
    before = settings.storage.metrics.read_bytes()
    outcome = run_graph(settings, "group:evaluation", Console(file=io.StringIO()))
    assert outcome.success, outcome
    assert settings.storage.metrics.read_bytes() == before


def test_a_selection_without_assets_is_refused(finished: tuple[Settings, Outcome, str]) -> None:
    with pytest.raises(ValueError, match="holds no asset"):
        run_graph(finished[0], "group:nothing", Console(file=io.StringIO()))


@pytest.mark.parametrize("name", ["training/udn", "evaluation/leave_one_out"])
def test_what_the_settings_do_not_make_is_refused(small_settings: Settings, name: str) -> None:
    with pytest.raises(ValueError, match=f"do not make: {name}; name the models with --models"):
        run_graph(small_settings, f'key:"{name}"', Console(file=io.StringIO()))
