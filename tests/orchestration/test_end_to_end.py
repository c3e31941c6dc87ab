"""The whole graph, as ``thaw run`` runs it, on a small simulated dataset."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from assets.config import (
    DriftConfig,
    EvaluationConfig,
    RetrainingConfig,
    ServiceConfig,
    Settings,
    TrainingConfig,
)
from assets.schema import METRIC_COLUMNS
from assets.serving.live.generation import require_current
from assets.serving.live.maintain import load_index
from assets.stream import load_tables
from assets.training.registry import DEFAULT_ROSTER
from orchestration import unchanged
from orchestration.definitions import CHECKS, STAGES, build_definitions
from orchestration.home import open_instance
from orchestration.jobs import REFRESH_ALL
from orchestration.run_requests import PART_OF
from orchestration.runner import Outcome, run_graph
from orchestration.stations import NOWHERE, station_of
from orchestration.summary import print_summary
from orchestration.unchanged import plan, read_account
from orchestration.units import known_of, units_of

READ: set[tuple[str, str]] = set()
"""Stations' first assets and the settings, dotted, that the run's steps and checks read."""

SECTIONS = {EvaluationConfig: "evaluation", TrainingConfig: "training"}


@pytest.fixture(scope="module", autouse=True)
def _one_day() -> Iterator[None]:
    """All of it happens on the day on which it began: after midnight, what looks at the clock would run again."""
    began, day_of = datetime.now(UTC), unchanged.day_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unchanged, "day_of", lambda station, now: day_of(station, began))
        yield


@pytest.fixture(scope="module")
def finished(small_settings: Settings) -> tuple[Settings, Outcome, str]:
    console = Console(file=io.StringIO(), width=200)
    with noted_reads():
        outcome = run_graph(small_settings, None, console)
    print_summary(small_settings, outcome.materialized, console)
    return small_settings, outcome, console.file.getvalue()


@contextmanager
def noted_reads() -> Iterator[None]:
    """While it lasts, :data:`READ` learns which step or check reads which setting, by looking at who called."""
    codes = _codes()

    def noting(section: str, names: set[str], read: Any) -> Any:
        def get(self: Any, name: str) -> Any:
            if name in names:
                frame = sys._getframe(1)
                while frame is not None and frame.f_code not in codes:
                    frame = frame.f_back
                if frame is not None:
                    READ.update((asset, section + name) for asset in codes[frame.f_code])
            return read(self, name)

        return get

    with pytest.MonkeyPatch.context() as patch:
        for model, section in {Settings: "", **{model: f"{name}." for model, name in SECTIONS.items()}}.items():
            names = set(model.model_fields)
            patch.setattr(model, "__getattribute__", noting(section, names, model.__getattribute__), raising=False)
        yield


def _codes() -> dict[Any, list[str]]:
    """The functions of steps and checks with the assets that they make or judge."""
    codes: dict[Any, list[str]] = {}
    for definition in [*STAGES, *CHECKS]:
        assets = definition.keys or {key.asset_key for key in definition.check_keys}
        held = codes.setdefault(definition.op.compute_fn.decorated_fn.__code__, [])
        held += [key.to_user_string() for key in assets]
    return codes


def test_a_station_calls_no_setting_without_effect_that_it_reads(finished: tuple[Settings, Outcome, str]) -> None:
    assert finished[1].success
    assert ("evaluation/metrics", "evaluation.ks") in READ
    assert ("ingestion/items", "datasets") in READ
    for asset, setting in READ:
        station = station_of(asset)
        if station is not None:
            ignored = {*NOWHERE, *station.without_effect} - {"home", *station.through}
            assert setting not in ignored, (asset, setting)
            assert setting.partition(".")[0] not in ignored, (asset, setting)


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


def test_a_second_run_makes_nothing_and_says_so(finished: tuple[Settings, Outcome, str]) -> None:
    settings, first, _ = finished
    console = Console(file=io.StringIO(), width=200)
    outcome = run_graph(settings, None, console)
    assert outcome.success
    assert (outcome.materialized, outcome.unchanged) == (frozenset(), first.materialized)
    printed = console.file.getvalue()
    assert "unchanged  training: 6 of 6 assets" in printed
    assert "start" not in printed
    print_summary(settings, outcome.current, console)
    assert "recall" in console.file.getvalue()


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        (
            {"evaluation": EvaluationConfig(bootstrap_samples=50, ks=(5, 10))},
            {"evaluation": {"metrics", "leaderboard", "decay", "comparisons"}, "monitoring": {"workspace", "site"}},
        ),
        (
            {"models": (*DEFAULT_ROSTER, "cdn")},
            {
                "training": {"cdn"},
                "evaluation": {"cdn_ranks", "metrics", "leaderboard", "decay", "comparisons"},
                "serving": {"index"},
                "monitoring": {"workspace", "site"},
            },
        ),
        (
            {"training": TrainingConfig(max_epochs=1, hyper_parameters={"sasrec": {"batch_size": 64}})},
            {
                "training": {"sasrec"},
                "evaluation": {"sasrec_ranks", "metrics", "leaderboard", "decay", "comparisons"},
                "serving": {"index"},
                "monitoring": {"workspace", "site"},
            },
        ),
        (
            {"evaluation": EvaluationConfig(bootstrap_samples=50, ks=(5,))},  # recommended lists get shorter
            {
                "evaluation": {
                    *(f"{model}_ranks" for model in DEFAULT_ROSTER),
                    *("metrics", "leaderboard", "decay", "comparisons"),
                },
                "monitoring": {"workspace", "site"},
            },
        ),
        ({"drift": DriftConfig(sample_rows=900)}, {"monitoring": {"drift", "workspace", "site"}}),
        ({"retraining": RetrainingConfig(keep=3)}, {"monitoring": {"workspace", "site"}}),
        ({"service": ServiceConfig(max_k=7)}, {}),
    ],
)
def test_a_changed_setting_makes_the_affected_part(
    finished: tuple[Settings, Outcome, str], changes: dict[str, Any], made: dict[str, set[str]]
) -> None:
    settings = finished[0].model_copy(update=changes)
    names = {
        "workspace": "evidently_workspace",
        "site": "dashboard",
        "drift": "engagement_drift",
        "index": "item_index",
    }
    wanted = {f"{stage}/{names.get(name, name)}" for stage, held in made.items() for name in held}
    assert planned(settings) == wanted


@pytest.mark.parametrize(
    ("step", "files"),
    [
        ("ingest", {"raw/users.parquet", "raw/ingestion.json", "quality/results/raw_items.json"}),
        ("dbt_models", {"warehouse.duckdb", "warehouse.json"}),
        ("transforms__tables", {"tables/items.parquet", "tables/manifest.json", "quality/results/leakage.json"}),
        ("quality__data_docs", {"quality/index.html"}),
        ("training__sasrec", {"checkpoints/sasrec/seed-0/manifest.json"}),
        ("evaluation__sasrec_ranks", {"evaluation/ranks/sasrec.parquet"}),
        ("evaluation__metrics", {"evaluation/metrics.parquet", "evaluation/seed_means.parquet"}),
        ("evaluation__leaderboard", {"evaluation/leaderboard.md", "evaluation/leaderboard.txt"}),
        ("evaluation__comparisons", {"evaluation/comparisons.parquet", "evaluation/comparisons.md"}),
        ("serving__item_index", {"live/current.json", "champion/record.jsonl"}),
        ("monitoring__engagement_drift", {"dashboards/drift/window-0.html", "dashboards/drift/summary.parquet"}),
        ("monitoring__dashboard", {"dashboards/index.html"}),
    ],
)
def test_what_a_step_writes_is_on_its_account(
    finished: tuple[Settings, Outcome, str], step: str, files: set[str]
) -> None:
    """A file on it that is gone or altered makes the step run (``test_unchanged.py``)."""
    account = read_account(finished[0].storage, step)
    assert account is not None
    assert files <= set(account.wrote)


def test_landed_batches_and_other_data_are_changed_inputs(
    finished: tuple[Settings, Outcome, str], tmp_path: Path
) -> None:
    settings = finished[0]
    landed = settings.storage.live / "landed" / "engagements" / "batch.parquet"
    landed.parent.mkdir(parents=True, exist_ok=True)
    landed.write_bytes(b"rows")
    try:
        assert {"ingestion/interactions", "serving/item_index"} <= planned(settings)
    finally:
        landed.unlink()
    own = tmp_path / settings.dataset
    own.mkdir()
    (own / "rows.csv").write_text("a")
    assert "ingestion/items" in planned(settings.model_copy(update={"data_dir": tmp_path}))


def planned(settings: Settings) -> set[str]:
    """Assets that a run would make."""
    units = units_of(build_definitions(settings))
    with open_instance(settings) as instance:
        made = plan(units, settings, known_of(instance, units), datetime.now(UTC))
    return {asset for unit in units if unit.name in made.reasons for asset in unit.assets}


def test_running_a_part_again_gives_the_same_metrics(finished: tuple[Settings, Outcome, str]) -> None:
    settings, _, _ = finished
    before = settings.storage.metrics.read_bytes()
    outcome = run_graph(settings, "group:evaluation", Console(file=io.StringIO()))
    assert outcome.success, outcome
    assert settings.storage.metrics.read_bytes() == before
    with open_instance(settings) as instance:
        run = instance.get_run_by_id(outcome.run_id)
    assert run is not None
    assert run.tags[PART_OF] == REFRESH_ALL  # schedules wait for it


def test_a_selection_without_assets_is_refused(finished: tuple[Settings, Outcome, str]) -> None:
    with pytest.raises(ValueError, match="holds no asset"):
        run_graph(finished[0], "group:nothing", Console(file=io.StringIO()))


@pytest.mark.parametrize("name", ["training/udn", "evaluation/leave_one_out"])
def test_what_the_settings_do_not_make_is_refused(small_settings: Settings, name: str) -> None:
    with pytest.raises(ValueError, match=f"do not make: {name}; name the models with --models"):
        run_graph(small_settings, f'key:"{name}"', Console(file=io.StringIO()))
