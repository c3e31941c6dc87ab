"""The cold-items task: who is asked, for what, as of when, and the same task made of train time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from assets.evaluation.studies import cold_cases as module
from assets.evaluation.studies.cold_cases import METRICS, cold_cases, cold_metrics, held_out_again, random_metrics
from assets.schema import ItemSlice
from assets.stream import DatasetTables, EngagementStream, Queries, load_tables
from tests.assets.evaluation.studies.cold_toy import HELD, NEWCOMER, USERS, cold_tables, colour_rows
from tests.support import Row, interactions_frame, write_tables

TEST = "2024-01-11T00:00:00"
ROWS: list[Row] = [
    ("a", "known", "2024-01-01T10:00:00"),
    ("a", "other", "2024-01-03T12:00:00"),
    ("b", "known", "2024-01-02T10:00:00"),
    ("c", "other", "2024-01-04T10:00:00"),
    ("a", "x", TEST),
    ("a", "z", TEST),
    ("a", "z", TEST),
    ("b", "y", TEST),
    ("d", "y", TEST),
]


def small(tmp_path: Path, rows: list[Row] = ROWS) -> DatasetTables:
    """Held out are x, y and z; d has no history, c engaged with none of them, a with z twice."""
    return load_tables(write_tables(tmp_path, interactions_frame(rows), TEST, "2024-01-04", windows=1))


class Fixed:
    """Scores of its own: item vectors are one-hot, user vectors the rows of ``scores`` by item name."""

    history_length = 5

    def __init__(self, tables: DatasetTables, scores: dict[str, dict[str, float]]) -> None:
        self.names, self.users = list(tables.catalog.item_ids), list(tables.users["user_id"])
        self.scores = scores
        self.known: list[EngagementStream] = []
        self.instants: list[np.datetime64] = []
        self.queries: list[Queries] = []

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        self.known.append(known)
        self.instants.append(instant)
        return torch.eye(len(self.names))

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        self.queries.append(queries)
        rows = [[self.scores[self.users[user]].get(name, 0.0) for name in self.names] for user in queries.users]
        return torch.tensor(rows, dtype=torch.float32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> DatasetTables:
    return load_tables(cold_tables(tmp_path_factory.mktemp("toy")))


def test_cases_by_hand(tmp_path: Path) -> None:
    tables = small(tmp_path)
    cases = cold_cases(tables)
    assert tables.users["user_id"].iloc[cases.users].tolist() == ["a", "b"]
    assert tables.catalog.item_ids[cases.items].tolist() == ["x", "y", "z"]
    assert cases.left_out == 1
    assert len(cases.rows) == 3
    assert cases.relevant(slice(0, 2)).tolist() == [[True, False, True], [False, True, False]]
    assert cases.relevant(slice(1, 2)).tolist() == [[False, True, False]]


def test_an_item_with_history_is_not_cold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"item 'known' is tested and was engaged with before .* held_out_items"):
        cold_cases(small(tmp_path, [*ROWS, ("b", "known", TEST)]))


def test_somebody_must_have_history(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of 1 users who engaged with held-out items had history"):
        cold_cases(small(tmp_path, [*ROWS[:4], ("d", "y", TEST)]))


def test_held_out_items_alone_are_ranked_by_features_as_of_the_last_engagement(tmp_path: Path) -> None:
    """a: y, x, z, of which x and z are relevant; b: y is last. Items already known score higher and do not matter."""
    tables = small(tmp_path)
    model = Fixed(tables, {"a": {"known": 9, "y": 3, "x": 2, "z": 1}, "b": {"other": 9, "x": 2, "z": 1, "y": -1}})
    values = pd.DataFrame(cold_metrics(model, tables, cold_cases(tables)), columns=list(METRICS))
    assert values["MRR"].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert values["P@5"].tolist() == pytest.approx([2 / 5, 1 / 5])
    assert values["P@25"].tolist() == pytest.approx([2 / 25, 1 / 25])
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert values["NDCG@5"].tolist() == pytest.approx([(second + third) / (1 + second), third])
    assert values["NDCG@25"].tolist() == pytest.approx(values["NDCG@5"].tolist())
    assert model.instants == [tables.cutoff]
    assert (model.known[0].timestamps < tables.cutoff).all()
    queries = model.queries[0]
    order = np.argsort(queries.users)
    wanted = ["2024-01-03T12:00:00", "2024-01-02T10:00:00"]
    assert queries.instants[order].tolist() == np.array(wanted, "datetime64[us]").tolist()
    assert queries.lengths[order].tolist() == [2, 1]
    histories = queries.history_items[order]
    assert tables.catalog.item_ids[histories[0, :2]].tolist() == ["known", "other"]


def test_random_choice_is_a_model_that_knows_nothing(toy: DatasetTables) -> None:
    cases = cold_cases(toy)
    constant = Fixed(toy, {user: {} for user in toy.users["user_id"]})
    np.testing.assert_allclose(random_metrics(cases), cold_metrics(constant, toy, cases))
    share = cases.relevant(slice(0, len(cases))).mean(axis=1)
    np.testing.assert_allclose(random_metrics(cases)[:, METRICS.index("P@5")], share)


def test_chunks_change_nothing(toy: DatasetTables, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, generator = cold_cases(toy), np.random.default_rng(0)
    names = toy.catalog.item_ids
    model = Fixed(
        toy, {user: dict(zip(names, generator.random(len(names)), strict=True)) for user in toy.users["user_id"]}
    )
    whole, chance = cold_metrics(model, toy, cases), random_metrics(cases)
    monkeypatch.setattr(module, "SCORES_PER_CHUNK", 3 * len(cases.items) + 1)
    np.testing.assert_allclose(cold_metrics(model, toy, cases), whole, rtol=1e-12)
    np.testing.assert_allclose(random_metrics(cases), chance, rtol=1e-12)


def test_the_toy_is_what_the_split_leaves(toy: DatasetTables) -> None:
    cases = cold_cases(toy)
    assert toy.catalog.item_ids[cases.items].tolist() == HELD
    assert (len(cases), cases.left_out) == (USERS, 1)
    assert NEWCOMER not in toy.users["user_id"].iloc[cases.users].tolist()


class TestHeldOutAgain:
    def test_it_is_the_same_task_inside_train_time(self, toy: DatasetTables) -> None:
        nested = held_out_again(toy, 0.5, 0.1, seed=1)
        left = nested.stream.before(nested.cutoff)
        held = np.unique(nested.stream.since(nested.cutoff).items)
        names = nested.catalog.item_ids
        assert not set(names) & set(HELD)
        assert NEWCOMER not in set(nested.users["user_id"])
        assert len(held) == round(0.5 * len(names))
        assert not np.isin(left.items, held).any()
        assert len(nested.stream) == len(toy.stream.before(toy.cutoff))
        assert nested.cutoff == left.timestamps[-1].astype("datetime64[D]") + np.timedelta64(1, "D")
        assert (nested.stream.since(nested.cutoff).timestamps == nested.cutoff).all()
        assert (nested.catalog.available_at[held] == nested.cutoff).all()
        assert (nested.catalog.train_count[held] == 0).all()
        assert (nested.catalog.slices[held] == ItemSlice.COLD).all()
        others = np.setdiff1d(np.arange(len(names)), held)
        assert (nested.catalog.available_at[others] < nested.cutoff).all()
        assert (nested.catalog.train_count[others] == np.bincount(left.items, minlength=len(names))[others]).all()
        assert np.mean(left.timestamps >= nested.validation_start) == pytest.approx(0.1, abs=0.02)
        assert (cold_cases(nested).items == held).all()

    def test_pairs_are_those_of_the_source(self, toy: DatasetTables) -> None:
        """Nothing but instants differs."""
        nested = held_out_again(toy, 0.5, 0.1, seed=1)

        def pairs(each: DatasetTables, stream: EngagementStream) -> list[tuple[str, str]]:
            users = each.users["user_id"].to_numpy()[stream.users]
            return sorted(zip(users, each.catalog.item_ids[stream.items], strict=True))

        assert pairs(nested, nested.stream) == pairs(toy, toy.stream.before(toy.cutoff))
        assert nested.interactions["timestamp"].is_monotonic_increasing

    def test_seeds_hold_out_other_items(self, toy: DatasetTables) -> None:
        one, same, other = (held_out_again(toy, 0.5, 0.1, seed) for seed in (1, 1, 2))
        assert (cold_cases(one).items == cold_cases(same).items).all()
        assert cold_cases(one).items.tolist() != cold_cases(other).items.tolist()

    def test_the_test_changes_nothing(self, toy: DatasetTables, tmp_path: Path) -> None:
        """Other held-out engagements, items and users: the same task."""
        rows = [row for row in colour_rows() if row[1] not in HELD]
        changed = load_tables(cold_tables(tmp_path / "other", [*rows, ("u01", "i98", TEST)]))
        for field in ("users", "items", "timestamps"):
            one, other = (getattr(held_out_again(each, 0.5, 0.1, 1).stream, field) for each in (toy, changed))
            np.testing.assert_array_equal(one, other)

    def test_the_tables_given_are_left_alone(self, toy: DatasetTables) -> None:
        before = replace(toy, interactions=toy.interactions.copy())
        frame = toy.catalog.frame.copy()
        held_out_again(toy, 0.5, 0.1, seed=1)
        pd.testing.assert_frame_equal(toy.interactions, before.interactions)
        pd.testing.assert_frame_equal(toy.catalog.frame, frame)
