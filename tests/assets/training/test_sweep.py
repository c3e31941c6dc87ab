"""Sweeps on toy tables with nets of a few numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from assets.config import ConfigError, Settings, SplitConfig, TrainingConfig
from assets.storage import Storage
from assets.stream import DatasetTables, EngagementStream, Queries, load_tables
from assets.training.past import before_cutoff
from assets.training.presets import preset
from assets.training.studies import sweep as sweeps
from assets.training.studies.slices import columns, slice_ndcg, slices_before
from assets.training.studies.sweep import Trial, basis_of, changes, read_trials, run_trial, sweep, trials, trials_path
from assets.training.studies.tables import PRESET, markdown, summary
from assets.training.train import train
from tests.assets.training.conftest import GENRES, ROWS
from tests.support import Row, interactions_frame, write_tables

TINY = {"dim": 4, "max_epochs": 2, "users.history_length": 7}
GRID = ({"learning_rate": 0.01}, {"learning_rate": 0.02})
MONITOR = preset("sasrec", TrainingConfig(), "toy").model_dump()["monitor"]
"""What sasrec's trials are compared by."""
SAME = [
    "seed",
    "epochs",
    "best_epoch",
    "parameters",
    "log_likelihood",
    "ndcg@10",
    "hr@10",
    *columns("overall"),
    "config",
]


def settings_for(root: Path, **training: Any) -> Settings:
    values = {"hyper_parameters": {"sasrec": TINY, "cdn": TINY}, **training}
    return Settings(home=root, dataset="toy", split={"tail_max_count": 1, "qualified_user_min": 1}, training=values)


def toy(root: Path, rows: list[Row]) -> Storage:
    return write_tables(root, interactions_frame(rows), "2024-01-04", "2024-01-03", item_features={"genre": GENRES})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return toy(tmp_path, ROWS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Trials that were run, each in no time: a row of the trial's own numbers."""
    done: list[Trial] = []

    def instead(trial: Trial, past: DatasetTables, settings: Settings) -> dict[str, Any]:
        done.append(trial)
        measured = {MONITOR: -trial.config.learning_rate, "best_epoch": 1, "epochs": 2, "seconds": 0.0}
        what = {"model": trial.model, "overrides": json.dumps(dict(trial.overrides)), "seed": trial.seed}
        return {**what, **measured, "error": "", "config": trial.key[0]}

    monkeypatch.setattr(sweeps, "run_trial", instead)
    return done


def test_trials_are_the_grid_over_the_configured_hyper_parameters_per_seed(settings: Settings) -> None:
    settings = settings_for(settings.home, seed=3, seeds=2)
    grid = (*GRID, {"dim": 8}, {"learning_rate": 0.01})  # the last repeats the first
    found = [
        (trial.config.learning_rate, trial.config.net.dim, trial.seed) for trial in trials("sasrec", grid, settings)
    ]
    usual = trials("sasrec", ({},), settings)[0].config.learning_rate
    assert found == [(0.01, 4, 3), (0.01, 4, 4), (0.02, 4, 3), (0.02, 4, 4), (usual, 8, 3), (usual, 8, 4)]
    assert {trial.config.max_epochs for trial in trials("sasrec", grid, settings)} == {2}


def test_a_wrong_key_fails_before_anything_runs(storage: Storage, settings: Settings, counted: list[Trial]) -> None:
    with pytest.raises(ConfigError, match="hidden_size"):
        sweep(storage, "sasrec", (*GRID, {"hidden_size": 3}), settings)
    with pytest.raises(ConfigError, match="decayed_popularity is a counting model"):
        sweep(storage, "decayed_popularity", ({},), settings)
    assert not counted


def test_a_row_is_the_first_phase_of_training(storage: Storage, settings: Settings) -> None:
    trained = train("sasrec", load_tables(storage), settings)
    rows = sweep(storage, "sasrec", ({},), settings)
    row = rows.iloc[0]
    assert {name: row[name] for name in trained.metrics["validation"]} == trained.metrics["validation"]
    assert (row["best_epoch"], row["seed"], row["error"]) == (trained.best_epoch, 0, "")
    assert row["epochs"] == len(trained.history["fit"])
    assert row["seconds"] > 0
    assert row["parameters"] > 0
    assert json.loads(row["config"]) == trained.config


def test_the_future_changes_nothing(tmp_path: Path) -> None:
    other = [row for row in ROWS if row[2] < "2024-01-04"]
    other += [
        ("eve", "new", "2024-01-04T03:00:00"),
        ("bob", "x", "2024-01-05T01:00:00"),
        ("ann", "v", "2024-01-06T01:00:00"),
    ]
    results = []
    for name, rows in {"one": ROWS, "another": other}.items():
        storage, settings = toy(tmp_path / name, rows), settings_for(tmp_path / name)
        results.append(sweep(storage, "cdn", GRID, settings)[SAME])
    pd.testing.assert_frame_equal(*results)
    assert results[0]["log_likelihood"].nunique() == 2  # something was learned


def test_finished_trials_are_kept(storage: Storage, settings: Settings, counted: list[Trial]) -> None:
    said: list[str] = []
    first = sweep(storage, "sasrec", GRID, settings, said.append)
    assert [trial.config.learning_rate for trial in counted] == [0.01, 0.02]
    assert said[0] == "sasrec: 2 trials, 0 of them known"
    assert said[1] == f'sasrec 1/2 seed 0 {{"learning_rate": 0.01}}: {MONITOR} -0.0100 after 1 of 2 epochs, 0.0 s'
    grown = sweep(storage, "sasrec", ({"learning_rate": 0.05}, *GRID), settings, said.append)
    assert [trial.config.learning_rate for trial in counted] == [0.01, 0.02, 0.05]
    assert grown[MONITOR].tolist() == [-0.05, -0.01, -0.02]  # in the order of the grid
    pd.testing.assert_frame_equal(grown.iloc[1:].reset_index(drop=True), first)
    sweep(storage, "sasrec", GRID, settings_for(settings.home, seeds=2), said.append)
    assert [trial.seed for trial in counted] == [0, 0, 0, 1, 1]


def test_a_stopped_sweep_goes_on(
    storage: Storage, settings: Settings, counted: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    working = sweeps.run_trial

    def stops(trial: Trial, past: DatasetTables, settings: Settings) -> dict[str, Any]:
        if trial.config.learning_rate == 0.02:
            raise KeyboardInterrupt
        return working(trial, past, settings)

    monkeypatch.setattr(sweeps, "run_trial", stops)
    with pytest.raises(KeyboardInterrupt):
        sweep(storage, "sasrec", GRID, settings)
    monkeypatch.setattr(sweeps, "run_trial", working)
    assert len(sweep(storage, "sasrec", GRID, settings)) == 2
    assert [trial.config.learning_rate for trial in counted] == [0.01, 0.02]


def test_other_tables_splits_or_code_run_again(
    storage: Storage, settings: Settings, counted: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(storage, "sasrec", GRID, settings)
    other = settings.model_copy(update={"split": SplitConfig(tail_max_count=1, qualified_user_min=2)})
    sweep(storage, "sasrec", GRID, other)
    assert len(counted) == 4
    toy(settings.home, ROWS[:-1])
    sweep(storage, "sasrec", GRID, other)
    assert len(counted) == 6
    monkeypatch.setattr(sweeps, "FORMAT", sweeps.FORMAT + 1)
    sweep(storage, "sasrec", GRID, other)
    assert len(counted) == 8
    assert len(pd.read_parquet(trials_path(storage, "sasrec"))) == 2  # what rests on something else is gone
    assert read_trials(storage, "sasrec", basis_of(storage, settings)).empty


def test_a_loss_that_is_not_finite_is_a_result(
    storage: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: object) -> None:
        raise FloatingPointError("loss is nan in epoch 1: lower the learning rate")

    monkeypatch.setattr(sweeps, "fit_before_validation", diverges)
    past = before_cutoff(load_tables(storage))
    row = run_trial(trials("sasrec", GRID, settings)[0], past, settings)
    assert row["error"].startswith("loss is nan")
    assert np.isnan(row[MONITOR])
    rows = sweep(storage, "sasrec", GRID, settings)
    assert "failed" in markdown(rows, "sasrec", "toy")


def test_changes_are_against_the_datasets_preset(settings: Settings) -> None:
    trial = trials("sasrec", ({"learning_rate": 0.5},), settings)[0]
    wanted = {"learning_rate": 0.5, "max_epochs": 2, "dim": 4, "users.history_length": 7}
    assert changes(trial.key[0], "sasrec", "toy") == wanted
    preset_of_ml = trials("ihm_sasrec", ({},), Settings(dataset="ml-100k"))[0].key[0]
    assert changes(preset_of_ml, "ihm_sasrec", "ml-100k") == {}
    assert changes(preset_of_ml, "ihm_sasrec", "toy")  # tuned for that dataset alone


def test_the_summary_averages_seeds_and_puts_the_best_first() -> None:
    settings = Settings(training={"seeds": 2})
    found = trials("sasrec", ({}, {"dim": 8}, {"dim": 16}), settings)
    score = [-3.0, -3.2, -2.0, -2.4, float("nan"), -1.0]
    rows = pd.DataFrame(
        {
            "model": "sasrec",
            "seed": [trial.seed for trial in found],
            "config": [trial.key[0] for trial in found],
            MONITOR: score,
            "error": ["", "", "", "", "diverged", ""],
        }
    )
    table = summary(rows, "simulated")
    assert table["changes"].tolist() == ["dim 8", PRESET, "dim 16"]
    assert table[MONITOR].tolist()[:2] == pytest.approx([-2.2, -3.1])
    assert table["standard_error"].tolist()[:2] == pytest.approx([0.2, 0.1])  # |difference| / 2 for two
    assert table["failed"].tolist() == [0, 0, 1]


def test_markdown_has_a_row_per_configuration(storage: Storage, settings: Settings) -> None:
    page = markdown(sweep(storage, "cdn", GRID, settings), "cdn", "toy")
    lines = [line for line in page.splitlines() if line.startswith("| learning_rate")]
    assert len(lines) == 2
    assert "test windows were not read" in page
    assert "Cases of the slices: overall 2, head 0, tail 1, cold 1" in page


class Fixed:
    """Scores every item by a fixed number."""

    history_length = 1

    def __init__(self, past: DatasetTables, scores: dict[str, float]) -> None:
        self.scores = torch.tensor([[scores[item]] for item in past.catalog.item_ids])

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> torch.Tensor:
        return self.scores

    def user_vectors(self, queries: Queries, items: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(queries), 1)


def test_slices_count_before_the_validation_tail(storage: Storage) -> None:
    past = before_cutoff(load_tables(storage))
    items = past.catalog.item_ids.tolist()
    assert items == ["v", "w", "x", "y", "z"]  # before the tail: none, 1, 2, 2 and 1 engagements
    by_count = slices_before(past, SplitConfig(tail_max_count=1))
    assert by_count.tolist() == ["cold", "tail", "head", "head", "tail"]
    # v is not available yet, so the catalog has four; a quarter of it is one item, and x comes before y
    by_rank = slices_before(past, SplitConfig(head_rule="pareto", head_share=0.25))
    assert by_rank.tolist() == ["cold", "tail", "head", "tail", "tail"]


def test_ndcg_by_slice_by_hand(storage: Storage) -> None:
    past = before_cutoff(load_tables(storage))
    model = Fixed(past, {"x": 5.0, "w": 4.0, "y": 3.0, "z": 2.0, "v": 1.0})
    measured = slice_ndcg(model, past, SplitConfig(tail_max_count=1))
    # bob -> v, cold: x and y seen; w and z above: place 2. cat -> w, tail: x seen, nothing above: place 0.
    assert measured["ndcg@50_cold"] == pytest.approx(1 / np.log2(4))
    assert measured["ndcg@50_tail"] == pytest.approx(1.0)
    assert measured["ndcg@50_overall"] == pytest.approx(0.75)
    assert np.isnan(measured["ndcg@50_head"])
    assert [measured[columns(name)[-1]] for name in ("overall", "head", "tail", "cold")] == [2, 0, 1, 1]
    low, high = measured["ndcg@50_overall_low"], measured["ndcg@50_overall_high"]
    assert (low, high) == pytest.approx((0.5, 1.0))  # a draw of two users holds either both, or one twice
