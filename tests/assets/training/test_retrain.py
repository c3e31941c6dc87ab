"""A net fitted on a window of time: what it may know, and what it must not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from assets.config import Settings
from assets.stream import DatasetTables, load_tables
from assets.training import retrain as retraining
from assets.training.batches import TimedTargets
from assets.training.presets import FitPreset, preset
from assets.training.retrain import retrain
from assets.training.train import Ready, prepare
from tests.assets.evaluation.studies.online_toy import online_rows, other_from
from tests.support import interactions_frame, write_tables

SINCE, UNTIL = np.datetime64("2020-01-06T03", "us"), np.datetime64("2020-01-09T07", "us")
TINY = {"dim": 4, "max_epochs": 2, "negatives": 32}
SETTINGS = Settings(
    dataset="toy",
    split={"qualified_user_min": 2},
    training={"hyper_parameters": {"ihm_sasrec": TINY}},
)
ROWS = [*online_rows(), ("u0", "early", "2020-01-02 00:00:00"), ("u1", "early", "2020-01-03 00:00:00")]
"""An item that is engaged with before the window alone is among them."""


def config() -> FitPreset:
    found = preset("ihm_sasrec", SETTINGS.training, "toy")
    assert isinstance(found, FitPreset)
    return found


def tables_of(folder: Path, rows: list[tuple[str, str, str]]) -> DatasetTables:
    genres = {row[1]: [f"genre {len(row[1]) + ord(row[1][-1]) % 3}"] for row in rows}
    frame = interactions_frame(rows)
    return load_tables(write_tables(folder, frame, "2020-01-08", "2020-01-07", item_features={"genre": genres}))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> DatasetTables:
    return tables_of(tmp_path_factory.mktemp("tables"), ROWS)


def ready(tables: DatasetTables, since: np.datetime64 | None) -> Ready:
    past = retraining.before_cutoff(replace(tables, cutoff=UNTIL))
    return prepare(config(), past, past.stream, UNTIL, SETTINGS, since)


def test_targets_are_those_of_the_window_and_their_histories_reach_back(tables: DatasetTables) -> None:
    windowed, whole = ready(tables, SINCE).batches, ready(tables, None).batches
    instants = windowed.known.timestamps
    assert instants.min() < SINCE
    assert sorted(windowed.groups.targets) == [at for at in sorted(whole.groups.targets) if instants[at] >= SINCE]
    entries = np.concatenate([windowed.known.by_user[start : start + 1] for start in windowed.groups.starts])
    assert (instants[entries] < SINCE).any()


def test_a_target_at_the_windows_first_instant_is_in_it(tables: DatasetTables) -> None:
    stream = tables.stream
    all_targets = TimedTargets.build(stream, tables.catalog, 5, 100).targets
    for instant in stream.timestamps[all_targets][:40:7]:
        held = TimedTargets.build(stream, tables.catalog, 5, 100, instant).targets
        assert sorted(held) == sorted(all_targets[stream.timestamps[all_targets] >= instant])


def test_ids_and_counts_are_of_the_window_and_trends_are_not(tables: DatasetTables) -> None:
    made = ready(tables, SINCE)
    past, refresher = made.batches.known, made.batches.refresher
    inside = (past.timestamps >= SINCE) & (past.timestamps < UNTIL)
    ids = retraining.before_cutoff(replace(tables, cutoff=UNTIL)).catalog.item_ids
    assert set(made.encodings.items.ids) == set(np.asarray(ids)[past.items[inside]])
    inputs = refresher.inputs(np.arange(past.n_items), past, UNTIL)
    counts = np.bincount(past.items[inside], minlength=past.n_items)
    assert inputs.counts.tolist() == counts.tolist()
    assert made.batches.train_counts.tolist() == counts.tolist()
    whole = ready(tables, None).batches.refresher.inputs(np.arange(past.n_items), past, UNTIL)
    assert torch.equal(inputs.log_trend, whole.log_trend)
    early = np.setdiff1d(past.items[~inside], past.items[inside])
    assert (inputs.ids[early] == 0).all()
    assert len(early)


def test_served_counts_stay_those_of_the_window(tables: DatasetTables) -> None:
    trained = retrain(config(), tables, UNTIL, SETTINGS, SINCE)
    later = tables.stream.before(np.datetime64("2020-01-12", "us"))
    rows = np.arange(tables.stream.n_items)
    counts = trained.over(tables).refresher.inputs(rows, later, np.datetime64("2020-01-12", "us")).counts
    inside = (tables.stream.timestamps >= SINCE) & (tables.stream.timestamps < UNTIL)
    assert counts.tolist() == np.bincount(tables.stream.items[inside], minlength=len(rows)).tolist()


def test_a_changed_future_changes_no_weight(tables: DatasetTables, tmp_path: Path) -> None:
    """Other users, items and times from the window's end on, and the same number of them: equal bit for bit."""
    changed = other_from(UNTIL, ROWS)
    one, other = (retrain(config(), each, UNTIL, SETTINGS, SINCE) for each in (tables, tables_of(tmp_path, changed)))
    assert {name: ids.ids for name, ids in one.encodings.maps.items()} == {
        name: ids.ids for name, ids in other.encodings.maps.items()
    }
    weights, others = one.net.state_dict(), other.net.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_last_moment_of_the_window_does_change_weights(tables: DatasetTables, tmp_path: Path) -> None:
    last = max(row[2] for row in ROWS if np.datetime64(row[2]) < UNTIL)
    changed = [(row[0], "i00" if row[2] == last else row[1], row[2]) for row in ROWS]
    one, other = (
        retrain(config(), each, UNTIL, SETTINGS, SINCE).net.state_dict()
        for each in (tables, tables_of(tmp_path, changed))
    )
    assert not all(one[name].shape == other[name].shape and torch.equal(one[name], other[name]) for name in one)


def test_every_planned_epoch_is_run_from_the_seed(tables: DatasetTables, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = []

    def counted(*args: object, **kwargs: object) -> object:
        epochs.append(args[4])
        return fitted(*args, **kwargs)  # type: ignore[arg-type]

    fitted = retraining.fit
    monkeypatch.setattr(retraining, "fit", counted)
    first = retrain(config(), tables, UNTIL, SETTINGS, SINCE).net.state_dict()
    again = retrain(config(), tables, UNTIL, SETTINGS, SINCE).net.state_dict()
    assert epochs == [2, 2]
    assert all(torch.equal(first[name], again[name]) for name in first)
    seeded = SETTINGS.model_copy(update={"training": SETTINGS.training.model_copy(update={"seed": 1})})
    other = retrain(config(), tables, UNTIL, seeded, SINCE).net.state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_an_empty_window_is_an_error(tables: DatasetTables) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        retrain(config(), tables, UNTIL, SETTINGS, UNTIL)
