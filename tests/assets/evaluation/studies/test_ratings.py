"""The ratings study: errors, intervals, what is kept, and that feedback is what tells users apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.config import Settings
from assets.evaluation.studies import files, rating_predictors, ratings, registry
from assets.evaluation.studies.rating_cases import NEGATIVE_RMSE, RMSE, RatingCases, rating_cases
from assets.evaluation.studies.rating_measures import COLUMNS, error_table, squared_errors
from assets.evaluation.studies.rating_page import ALL, PAIRS, PAPER, REFERENCE, markdown
from assets.evaluation.studies.rating_predictors import NETS, Prediction, Predictor, Task, predict_by_net, predictors
from assets.ranking import Cases
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset
from assets.training.recommender import NetRecommender
from assets.training.train import Trained, train_net
from tests.assets.evaluation.studies.rating_toy import rating_settings, rating_tables

STUDY = registry.find("ratings")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ratings")
    rating_tables(folder)
    return folder


@pytest.fixture(scope="module")
def tables(home: Path) -> DatasetTables:
    return load_tables(rating_settings(home).storage)


def quick(name: str, epochs: int, **changes: object) -> FitPreset:
    """A small net that learns in seconds."""
    config = NETS[name]
    users = config.net.users.model_copy(update={"hidden": 16, "dropout": 0.0})
    net = config.net.model_copy(update={"dim": 8, "users": users})
    fit = {"max_epochs": epochs, "patience": epochs, "learning_rate": 0.03, "batch_size": 64}
    return config.model_copy(update={"net": net, **fit, **changes})


def held_of(truth: list[float], users: list[int]) -> RatingCases:
    zeros = np.zeros(len(truth), np.int64)
    instants = np.full(len(truth), np.datetime64("2020-01-01", "us"))
    return RatingCases(Cases(np.array(users), zeros, instants, instants), np.array(truth), 1.0, 5.0)


def test_rmse_is_over_cases_and_seeds() -> None:
    held = held_of([1.0, 2.0, 3.0], [7, 7, 8])
    runs = [np.array([2.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])]  # 9 is clipped to 5
    assert squared_errors(held, runs).tolist() == [0.5, 2.0, 2.0]
    groups = {ALL: np.arange(3), "first": np.array([0])}
    table = error_table(held, {"a": runs, "b": [held.truth]}, groups, [("b", "a")], 20, 0)
    assert list(table.columns) == list(COLUMNS)
    value = table.set_index(["group", "predictor", "reference"])["value"]
    assert value[ALL, "a", ""] == pytest.approx(np.sqrt(4.5 / 3))
    assert value["first", "a", ""] == pytest.approx(np.sqrt(0.5))
    assert value[ALL, "b", ""] == 0
    assert value[ALL, "b", "a"] == pytest.approx(-np.sqrt(4.5 / 3))  # predictor minus reference
    assert table[table["group"] == ALL]["n"].eq(3).all()
    assert table.groupby("group")["users"].first().to_dict() == {ALL: 2, "first": 1}


def test_differences_are_paired_and_users_are_drawn_whole() -> None:
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 25)
    truth = generator.uniform(2, 4, len(users))
    held = held_of(truth.tolist(), users.tolist())
    hard = generator.uniform(0, 1.5, 40)[users] * generator.choice([-1, 1], len(users))  # users differ a lot
    runs = {"a": [truth + hard], "same": [truth + hard], "worse": [truth + 1.05 * hard]}
    table = error_table(held, runs, {ALL: np.arange(len(users))}, [("same", "a"), ("worse", "a")], 400, 0)
    rows = {(row.predictor, row.reference): row for row in table.itertuples()}
    assert (rows["same", "a"].ci_low, rows["same", "a"].ci_high) == (0, 0)
    alone, paired = rows["a", ""], rows["worse", "a"]
    assert 0 < paired.ci_low < paired.value < paired.ci_high
    assert paired.ci_high - paired.ci_low < 0.2 * (alone.ci_high - alone.ci_low)
    # By hand: the standard error over 40 users of the mean squared error, and that of 1,000 cases if they were alone.
    by_user = np.square(hard).reshape(40, 25).mean(axis=1)
    error_of_rmse = by_user.std() / 40**0.5 / (2 * alone.value)
    assert (alone.ci_high - alone.ci_low) / (2 * 1.96) == pytest.approx(error_of_rmse, rel=0.15)
    assert error_of_rmse > 2 * np.square(hard).std() / 1000**0.5 / (2 * alone.value)


def test_a_prediction_that_is_not_finite_is_an_error() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="not finite"):
            squared_errors(held_of([1.0], [0]), [np.array([value])])


def test_feedback_tells_what_items_cannot(tables: DatasetTables, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test user was in training, and half of them like nothing: only their earlier ratings say who they are."""
    trained: list[Trained] = []
    monkeypatch.setattr(rating_predictors, "train_net", lambda *given: trained.append(train_net(*given)) or trained[-1])
    task = Task(tables, rating_cases(tables.stream, tables.cutoff), rating_settings(home))
    rmse, measured = {}, {}
    for name in ("gru", "gru, feedback"):
        made = predict_by_net(name, quick(name, 6), task)
        rmse[name], measured[name] = task.held.rmse(made.predicted), made.measured
    ceiling = float(task.held.truth.std())
    assert rmse["gru"] > 0.9 * ceiling
    assert rmse["gru, feedback"] < 0.75 * ceiling
    for each, fitted in zip(measured.values(), trained, strict=True):
        errors = [epoch[RMSE] for epoch in fitted.history["fit"]]
        assert each["epochs"] == 6
        assert each["best_epoch"] == 1 + int(np.argmin(errors))
        assert each["seconds"] > 0
    assert measured["gru, feedback"][f"validation_{RMSE}"] < 0.75 * ceiling


def test_equal_seeds_predict_alike_and_the_future_is_not_learned(tables: DatasetTables, home: Path) -> None:
    task = Task(tables, rating_cases(tables.stream, tables.cutoff), rating_settings(home))
    first, again = (predict_by_net("n", quick("gru", 2), task).predicted for _ in range(2))
    assert (first == again).all()
    late = tables.stream.timestamps >= tables.cutoff
    held = tables.interactions["value"].to_numpy(dtype=np.float32)
    values = np.where(late, 6 - held, held)
    frame = tables.interactions.assign(value=values)
    other = replace(tables, stream=replace(tables.stream, values=values), interactions=frame)
    # The plain net reads no values, so what it says of a case changes only with its weights.
    assert (predict_by_net("n", quick("gru", 2), replace(task, tables=other)).predicted == first).all()
    seeds = rating_settings(home)
    seeds = seeds.model_copy(update={"training": seeds.training.model_copy(update={"seed": 1})})
    assert (predict_by_net("n", quick("gru", 2), replace(task, settings=seeds)).predicted != first).any()


def test_the_epoch_is_chosen_by_the_given_monitor(tables: DatasetTables, home: Path) -> None:
    past, errors = before_cutoff(tables), iter([0.9, 0.7, 0.8, 0.75])

    def check(model: NetRecommender) -> dict[str, float]:
        assert model.universe.user_ids.shape == (len(past.users),)
        error = next(errors)
        return {RMSE: error, NEGATIVE_RMSE: -error}

    trained = train_net("mine", quick("gru", 4), past, check, NEGATIVE_RMSE, rating_settings(home))
    assert trained.best_epoch == 2
    assert trained.metrics["validation"] == {RMSE: 0.7, NEGATIVE_RMSE: -0.7}
    assert len(trained.history["refit"]) == 2
    assert (trained.model, trained.kind) == ("mine", "net")


def test_predictors_follow_the_settings(home: Path) -> None:
    held = {each.name: each for each in predictors(rating_settings(home, epochs=3))}
    assert set(PAPER) <= set(held)
    assert {name for pair in PAIRS for name in pair} == set(held)
    assert held["gru, feedback"].config["max_epochs"] == 3
    assert held["gru"].config["net"]["users"]["feedback"] is None
    assert held["hrnn, feedback"].config["net"]["users"]["session"] is not None
    default = {each.name: each for each in predictors(Settings())}
    assert default["gru"].config["max_epochs"] == NETS["gru"].max_epochs
    assert [each.name for each in held.values() if not each.draws] == [REFERENCE, "rolling biases"]


def fake_predictors(calls: list[tuple[str, int]], shift: float) -> list[Predictor]:
    """Those of the study, answering at once with the truth and an error of their own."""

    def answer(name: str, place: int) -> Predictor:
        def predict(task: Task) -> Prediction:
            calls.append((name, task.settings.training.seed))
            off = shift + 0.1 * place + task.settings.training.seed / 50
            net = {"epochs": 4.0, "best_epoch": 2.0, "parameters": 10.0} if name in NETS else {}
            return Prediction(np.full(len(task.held), 3.0) + off, {"seconds": 1.5, **net})

        return Predictor(name, {"shift": shift, "tuple": (1, 2)}, name != REFERENCE, predict)

    names = [each.name for each in predictors(Settings())]
    return [answer(name, place) for place, name in enumerate(names)]


def test_the_study_is_written_and_nothing_is_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rating_tables(tmp_path)
    settings, calls = rating_settings(tmp_path, seeds=2), []
    monkeypatch.setattr(ratings, "predictors", lambda _: fake_predictors(calls, 0.0))
    table = ratings.make(settings.storage, settings, lambda _: None)
    assert len(calls) == 2 * 7 - 1  # the rolling average has no seeds
    held = files.read_study(settings.storage, settings, STUDY)
    pd.testing.assert_frame_equal(held.table, table)
    assert held.account["config"]["measured"]["gru"]["best_epoch"] == 2
    for text in ("`gru, feedback`", "0.857", "ml-20m", "toy", "seeds 0 to 1", "2 of 4"):
        assert text in held.text
    calls.clear()
    pd.testing.assert_frame_equal(ratings.make(settings.storage, settings, lambda _: None), table)
    assert calls == []
    ratings.predictions_path(settings.storage, "gru, feedback", 1).unlink()
    ratings.make(settings.storage, settings, lambda _: None)
    assert calls == [("gru, feedback", 1)]
    calls.clear()
    monkeypatch.setattr(ratings, "predictors", lambda _: fake_predictors(calls, 0.05))  # another configuration
    ratings.make(settings.storage, settings, lambda _: None)
    assert len(calls) == 2 * 7 - 1


def test_the_page_says_whether_the_bar_is_met() -> None:
    names = [each.name for each in predictors(Settings())]
    labels = [*((name, "") for name in names), *PAIRS]
    measured = {name: {"seconds": 1.0, **({"epochs": 5, "best_epoch": 3} if name in NETS else {})} for name in names}

    def page(low: float, high: float) -> str:
        rows = [
            (group, *label, 0.9 if not label[1] else -0.01, low, high, 1234, 56)
            for group in (ALL, "user in training")
            for label in labels
        ]
        return markdown(pd.DataFrame(rows, columns=list(COLUMNS)), measured, Settings(dataset="toy"))

    assert f"`gru, feedback` beats the {REFERENCE}" in page(-0.02, -0.005)
    assert f"`hrnn, feedback` is level with the {REFERENCE}" in page(-0.02, 0.005)
    assert f"`hrnn, feedback` loses to the {REFERENCE}" in page(0.001, 0.005)
    assert "1,234 engagements of 56 users" in page(-1, 1)
    assert "user in training (1,234)" in page(-1, 1)


def test_everything_runs_on_small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage: Storage = rating_tables(tmp_path)
    settings = rating_settings(tmp_path)
    for name in NETS:
        monkeypatch.setitem(NETS, name, quick(name, 1))  # type: ignore[arg-type]
    table = ratings.make(storage, settings, lambda _: None).set_index(["group", "predictor", "reference"])
    assert np.isfinite(table["value"]).all()
    spread = rating_cases(load_tables(storage).stream, np.datetime64("2020-01-13", "us")).truth.std()
    assert table.loc[(ALL, REFERENCE, ""), "value"] < spread
    assert set(table.index.get_level_values("group")) == {
        ALL, "user later, with history", "user without history", "item in training",
    }  # fmt: skip
