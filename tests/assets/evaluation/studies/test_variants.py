"""Variants on toy tables: trained and ranked as any model is, and kept."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from assets.config import ConfigError, EvaluationConfig, Protocol, Settings, SplitConfig, StudiesConfig
from assets.evaluation.protocol import of_protocol
from assets.evaluation.run import rank_model
from assets.evaluation.studies import variants as studied
from assets.evaluation.studies.variants import (
    Trial,
    Variant,
    basis_of,
    history_cases,
    is_known,
    run_variants,
    runs_path,
    trials,
)
from assets.schema import UserHistory
from assets.storage import Storage
from assets.stream import load_tables
from assets.training.saving import save_checkpoint
from assets.training.train import Spent, Trained
from tests.assets.evaluation.toy import toy_rows
from tests.support import interactions_frame, write_tables

Toy = tuple[Storage, Settings]
TINY = {"dim": 4, "users.hidden": 4}
NET, COUNT = Variant("net", "gru", TINY), Variant("count", "popularity")
SAME = ["user_id", "item_id", "source_row", "above", "tied", "nll", "has_history", "catalog"]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(model, seed) of every training that is done."""
    done: list[tuple[str, int]] = []
    really: Callable[..., Trained] = studied.train

    def counted(model: str, tables: Any, settings: Settings) -> Trained:
        done.append((model, settings.training.seed))
        return really(model, tables, settings)

    monkeypatch.setattr(studied, "train", counted)
    return done


def with_seeds(settings: Settings, seeds: int, first: int = 0) -> Settings:
    training = settings.training.model_copy(update={"seeds": seeds, "seed": first})
    return settings.model_copy(update={"training": training})


def test_trials_are_variants_under_every_seed_and_counts_under_one(toy: Toy) -> None:
    found = trials([COUNT, NET], with_seeds(toy[1], 2, first=3))
    assert [(trial.variant.name, trial.seed) for trial in found] == [("count", 3), ("net", 3), ("net", 4)]
    assert len({trial.stem for trial in found}) == 3


def test_nothing_runs_where_a_variant_is_wrong(toy: Toy, trainings: list[tuple[str, int]]) -> None:
    storage, settings = toy
    with pytest.raises(ConfigError, match="hiden"):
        run_variants(storage, [NET, Variant("wrong", "gru", {"users.hiden": 3})], settings)
    with pytest.raises(ValueError, match="one name"):
        run_variants(storage, [NET, Variant("net", "hrnn")], settings)
    assert not trainings


@pytest.mark.parametrize("model", ["two_tower", "hrnn_meta"])
def test_a_variant_is_ranked_as_evaluation_ranks_the_model(toy: Toy, model: str) -> None:
    storage, settings = toy
    if model == "hrnn_meta":  # reads counts at the cutoff, a trend, and times
        training = settings.training.model_copy(update={"hyper_parameters": {model: TINY}})
        settings = settings.model_copy(update={"training": training})
        save_checkpoint(storage, studied.train(model, load_tables(storage), settings))
    (run,) = run_variants(storage, [Variant("plain", model)], settings)
    everyone = of_protocol(rank_model(storage, settings, model).ranks, settings.evaluation.headline)
    expected = everyone[everyone["has_history"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(run.ranks[SAME], expected[SAME])
    assert set(run.ranks["model"]) == {"plain"}


def test_counts_are_ranked_too(toy: Toy) -> None:
    storage, settings = toy
    (run,) = run_variants(storage, [COUNT], settings)
    everyone = of_protocol(rank_model(storage, settings, "popularity").ranks, settings.evaluation.headline)
    pd.testing.assert_frame_equal(run.ranks[SAME], everyone[everyone["has_history"]].reset_index(drop=True)[SAME])
    assert run.measured == {}


def test_what_training_took_is_measured(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings = toy
    really = studied.train

    def in_known_time(*arguments: Any) -> Trained:
        spent = {"fit": Spent(wall=40.0, cpu=30.0), "refit": Spent(wall=10.0, cpu=6.0)}
        history = {"fit": [{}] * 5, "refit": [{}] * 2}
        return replace(really(*arguments), spent=spent, history=history, best_epoch=2)

    monkeypatch.setattr(studied, "train", in_known_time)
    (run,) = run_variants(storage, [NET], settings)
    weights = really("gru", load_tables(storage), NET.settings(settings, 0)).weights
    assert weights is not None
    assert run.measured == {
        "seconds": 50.0,
        "epoch_seconds": 5.0,
        "epoch_cpu_seconds": 3.0,
        "epochs": 5,
        "best_epoch": 2,
        "parameters": sum(weight.numel() for weight in weights.values()),
    }


def test_training_says_what_each_phase_took(toy: Toy) -> None:
    storage, settings = toy
    spent = studied.train("gru", load_tables(storage), NET.settings(settings, 0)).spent
    assert list(spent) == ["fit", "refit"]
    assert all(each.wall > 0 and each.cpu > 0 for each in spent.values())


def test_finished_ones_are_kept_under_any_name(toy: Toy, trainings: list[tuple[str, int]]) -> None:
    storage, settings = toy
    said: list[str] = []
    (first,) = run_variants(storage, [NET], settings, said.append)
    assert said == ["1 trainings, 1 of them to be run", "1/1 net, seed 0"]
    (again,) = run_variants(storage, [Variant("other name", "gru", TINY)], settings, said.append)
    assert trainings == [("gru", 0)]
    assert set(again.ranks["model"]) == {"other name"}
    pd.testing.assert_frame_equal(again.ranks[SAME], first.ranks[SAME])
    assert again.measured == first.measured
    run_variants(storage, [NET, Variant("wider", "gru", {**TINY, "dim": 6})], with_seeds(settings, 2), said.append)
    assert trainings == [("gru", 0), ("gru", 1), ("gru", 0), ("gru", 1)]


def test_one_configuration_in_two_variants_is_trained_once(toy: Toy, trainings: list[tuple[str, int]]) -> None:
    found = run_variants(toy[0], [NET, Variant("same", "gru", TINY)], toy[1])
    assert [set(run.ranks["model"]) for run in found] == [{"net"}, {"same"}]
    assert trainings == [("gru", 0)]


def test_a_stopped_study_goes_on(toy: Toy, trainings: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings = toy
    working = studied._run

    def stops(trial: Trial, *rest: Any) -> Any:
        if trial.variant.model == "hrnn":
            raise KeyboardInterrupt
        return working(trial, *rest)

    both = [NET, Variant("second", "hrnn", TINY)]
    monkeypatch.setattr(studied, "_run", stops)
    with pytest.raises(KeyboardInterrupt):
        run_variants(storage, both, settings)
    monkeypatch.setattr(studied, "_run", working)
    run_variants(storage, both, settings)
    assert trainings == [("gru", 0), ("hrnn", 0)]


@pytest.mark.parametrize("change", ["tables", "split", "cases", "protocol", "smoothing", "fallback", "code"])
def test_what_ranks_rest_on_makes_them_stale(toy: Toy, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings = toy
    run_variants(storage, [COUNT], settings)
    (trial,) = trials([COUNT], settings)
    assert is_known(storage, trial, basis_of(storage, settings))
    evaluation = settings.evaluation
    changed: dict[str, dict[str, Any]] = {
        "split": {"split": SplitConfig(windows=3)},
        "cases": {"studies": StudiesConfig(max_cases=7)},
        "protocol": {"evaluation": evaluation.model_copy(update={"protocols": evaluation.protocols[1:]})},
        "smoothing": {"evaluation": evaluation.model_copy(update={"smoothing": 0.5})},
        "fallback": {
            "training": settings.training.model_copy(
                update={"hyper_parameters": {"decayed_popularity": {"half_life_days": 9.0}}}
            )
        },
    }
    other = settings.model_copy(update=changed.get(change, {}))
    if change == "tables":
        write_tables(settings.home, interactions_frame(toy_rows()[:-1]), "2020-01-07", "2020-01-06")
    if change == "code":
        monkeypatch.setattr(studied, "FORMAT", studied.FORMAT + 1)
    assert not is_known(storage, trial, basis_of(storage, other))
    if change != "cases":  # a limit above the number of cases is none
        return
    (run,) = run_variants(storage, [COUNT], other)
    assert len(run.ranks) == 7
    assert len(list(runs_path(storage, trial).parent.iterdir())) == 1  # what rested on something else is replaced


def test_cases_are_of_users_with_history_and_the_same_for_all(toy: Toy) -> None:
    storage, settings = toy
    tables, test_cases = load_tables(storage), storage.read_table("test_cases")
    every = history_cases(test_cases, tables, settings)
    stream = tables.stream
    for user, instant in zip(every.cases.users, every.cases.timestamps, strict=True):
        assert (stream.timestamps[stream.users == user] < instant).any()
    fresh = test_cases[~test_cases["is_repeat"].astype(bool)]
    assert 0 < len(every) < len(fresh)  # some have no history
    few = [history_cases(test_cases, tables, limited(settings, 9)) for _ in range(2)]
    assert len(few[0]) == 9
    pd.testing.assert_frame_equal(few[0].labels, few[1].labels)
    assert (few[0].cases.timestamps[1:] >= few[0].cases.timestamps[:-1]).all()
    rows = set(every.labels["source_row"])
    assert set(few[0].labels["source_row"]) < rows
    assert few[0].labels.index.tolist() == list(range(9))


def test_frozen_histories_end_at_the_cutoff(toy: Toy) -> None:
    storage, settings = toy
    tables, test_cases = load_tables(storage), storage.read_table("test_cases")
    frozen = settings.model_copy(
        update={"evaluation": EvaluationConfig(protocols=(Protocol(user_history=UserHistory.FROZEN),))}
    )
    found = history_cases(test_cases, tables, frozen)
    assert set(found.cases.users) <= set(tables.stream.users[tables.stream.timestamps < tables.cutoff])
    assert len(found) < len(history_cases(test_cases, tables, settings))


def test_without_a_case_there_is_nothing_to_rank(toy: Toy) -> None:
    storage, settings = toy
    test_cases = storage.read_table("test_cases")
    newcomers = test_cases[~test_cases["user_in_train"]].sort_values("timestamp").drop_duplicates("user_id")
    assert len(newcomers)
    with pytest.raises(ValueError, match="user with history"):
        history_cases(newcomers, load_tables(storage), settings)


def limited(settings: Settings, cases: int) -> Settings:
    return settings.model_copy(update={"studies": StudiesConfig(max_cases=cases)})
