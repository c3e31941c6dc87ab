"""What users are shown at several delays after their last engagement: requests, lists, measures and the page."""

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from assets import keys
from assets.config import EvaluationConfig, Settings, TrainingConfig
from assets.evaluation.studies import time_sensitivity as module
from assets.evaluation.studies.assets import time_sensitivity
from assets.evaluation.studies.files import read_study
from assets.evaluation.studies.registry import find
from assets.evaluation.studies.requests import after_last
from assets.evaluation.studies.time_sensitivity import (
    LENGTH,
    Lists,
    compared_features,
    feature_flags,
    likeness,
    lists,
    measures,
    overlap,
    quartile_users,
)
from assets.evaluation.studies.time_table import CHANGE, DELAYS, LIKENESS, OVERLAP, POPULARITY, VALUE, delay_table
from assets.stream import DatasetTables, EngagementStream, Queries, load_tables
from tests.models.contract import CUTOFF, VALIDATION_START, checkerboard_rows
from tests.support import interactions_frame, write_tables

ROWS = [
    ("a", "x", "2024-01-01T10:00:00"),
    ("b", "z", "2024-01-01T12:00:00"),
    ("a", "y", "2024-01-02T10:00:00"),
    ("a", "z", "2024-01-02T10:00:00"),
    ("b", "x", "2024-01-03T10:00:00"),
    ("c", "x", "2024-01-05T10:00:00"),
]


def stream() -> EngagementStream:
    frame = interactions_frame(ROWS)
    users, items = (pd.DataFrame({name: sorted(frame[name].unique())}) for name in ("user_id", "item_id"))
    return EngagementStream.from_tables(frame, users, items)


class TestAfterLast:
    def test_all_history_is_read_and_the_request_comes_so_much_later(self) -> None:
        """a's last two engagements share an instant, and both are history."""
        queries = after_last(stream(), np.array([1, 0]), 5, np.timedelta64(1, "h"))
        assert queries.users.tolist() == [1, 0]
        assert queries.lengths.tolist() == [2, 3]
        assert queries.history_items[:, :3].tolist() == [[2, 0, -1], [0, 1, 2]]
        wanted = np.array(["2024-01-03T11:00", "2024-01-02T11:00"], "datetime64[us]")
        assert queries.instants.tolist() == wanted.tolist()

    def test_without_delay_it_comes_at_the_last_engagement(self) -> None:
        queries = after_last(stream(), np.array([0, 1, 2]), 1)
        assert queries.instants.tolist() == queries.history_timestamps[:, 0].tolist()
        assert queries.history_items[:, 0].tolist() == [2, 0, 0]

    def test_what_is_not_known_yet_is_not_read(self) -> None:
        known = stream().before(np.datetime64("2024-01-03"))
        assert after_last(known, np.array([1]), 5).history_items[0, :2].tolist() == [2, -1]
        with pytest.raises(ValueError, match="user row 2 has no engagement"):
            after_last(known, np.array([0, 2]), 5)


def board(tmp_path: Path) -> DatasetTables:
    """60 users and 21 items, of which the last comes after the cutoff."""
    frame = interactions_frame(checkerboard_rows())
    genre = {item: ["odd", "all"] if item[-1] in "13579" else ["even"] for item in frame["item_id"]}
    return load_tables(write_tables(tmp_path, frame, CUTOFF, VALIDATION_START, item_features={"genre": genre}))


class ByDelay:
    """Scores an item by its row number: forwards for requests at the last engagement, backwards later."""

    history_length = 4

    def __init__(self) -> None:
        self.delays: set[np.timedelta64] = set()
        self.known: list[EngagementStream] = []

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        self.known.append(known)
        assert instant == np.datetime64(CUTOFF)
        return torch.arange(known.n_items, dtype=torch.float32)[:, None]

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        last = queries.history_timestamps[np.arange(len(queries)), queries.lengths - 1]
        self.delays |= set(queries.instants - last)
        return torch.from_numpy(np.where(queries.instants == last, -1.0, 1.0).astype(np.float32))[:, None]


def test_lists_hold_the_best_unseen_items_of_the_catalog(tmp_path: Path) -> None:
    tables, model = board(tmp_path), ByDelay()
    run = lists(model, tables)
    known = tables.stream.before(tables.cutoff)
    assert run.items.shape == (len(DELAYS), len(run.users), LENGTH)
    assert model.delays == set(DELAYS.values())
    assert (model.known[0].timestamps < tables.cutoff).all()
    assert run.users.tolist() == sorted(set(known.users.tolist()))
    available = set(tables.catalog.rows_at(tables.cutoff).tolist())
    assert len(available) == len(tables.catalog) - 1
    for row, user in enumerate(run.users.tolist()):
        own = known.items[known.users == user].tolist()
        left = sorted(available - set(own))
        assert run.last[row] == own[-1]
        assert run.items[0, row].tolist() == left[:LENGTH]
        for delayed in run.items[1:, row].tolist():
            assert delayed == left[::-1][:LENGTH]


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = board(tmp_path)
    whole = lists(ByDelay(), tables)
    monkeypatch.setattr(module, "SCORES_PER_CHUNK", 7 * 20)
    np.testing.assert_array_equal(lists(ByDelay(), tables).items, whole.items)


def test_too_few_candidates_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENGTH", 19)
    with pytest.raises(ValueError, match="all but fewer than 19 of 20 items"):
        lists(ByDelay(), board(tmp_path))


def test_overlap_does_not_look_at_the_order() -> None:
    assert overlap(np.array([[1, 2, 3, 4], [1, 2, 3, 4]]), np.array([[4, 3, 2, 1], [9, 1, 8, 7]])).tolist() == [1, 0.25]


def test_likeness_by_hand() -> None:
    """The last item has values 0 and 1. Jaccard: itself 1, {0} 1/2, {1, 2} 1/3, no value 0."""
    flags = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]], np.bool_)
    assert likeness(flags, np.array([[0, 1, 2, 3]]), np.array([0])).tolist() == pytest.approx([(1 + 1 / 2 + 1 / 3) / 4])
    assert likeness(flags, np.array([[3, 3]]), np.array([3])).tolist() == [0]


def test_genres_are_compared_where_there_are_any(tmp_path: Path) -> None:
    frame = interactions_frame(ROWS)
    features = {"genre": {"x": ["a", "b"], "z": ["b"]}, "year": {"x": ["1990"], "y": ["1990"]}}
    catalog = load_tables(
        write_tables(tmp_path / "g", frame, "2024-01-03", "2024-01-02", item_features=features)
    ).catalog
    assert compared_features(catalog) == ["genre"]
    assert feature_flags(catalog).tolist() == [[True, True], [False, False], [False, True]]
    del features["genre"]
    features["colour"] = {"y": ["red"]}
    catalog = load_tables(
        write_tables(tmp_path / "h", frame, "2024-01-03", "2024-01-02", item_features=features)
    ).catalog
    assert compared_features(catalog) == ["colour", "year"]
    assert feature_flags(catalog).tolist() == [[False, True], [True, True], [False, False]]
    catalog = load_tables(write_tables(tmp_path / "n", frame, "2024-01-03", "2024-01-02")).catalog
    assert feature_flags(catalog).shape == (3, 0)


def test_measures_are_of_the_lists(tmp_path: Path) -> None:
    tables = board(tmp_path)
    run = lists(ByDelay(), tables)
    values = measures(run, tables)
    assert values.shape == (len(run.users), len(DELAYS), 3)
    assert (values[:, 0, 0] == 1).all()
    np.testing.assert_array_equal(values[:, 2, 0], overlap(run.items[2], run.items[0]))
    counts = tables.catalog.train_count
    np.testing.assert_allclose(values[:, 1, 2], counts[run.items[1]].mean(axis=1) / counts.sum())
    np.testing.assert_allclose(values[:, 1, 1], likeness(feature_flags(tables.catalog), run.items[1], run.last))


def test_users_at_the_quartiles() -> None:
    """Eight users, whose overlap without delay and with the longest is 0, 1, .5, 1, 0, .5, 1 and 0.

    In order: rows 0, 4, 7, 2, 5, 1, 3, 6; the quartiles are at places 1.75, 3.5 and 5.25 of 0 .. 7, rounded.
    """
    lists_of = {0.0: [4, 5], 0.5: [0, 5], 1.0: [1, 0]}
    first = np.tile([0, 1], (8, 1))
    last = np.array([lists_of[share] for share in (0, 1, 0.5, 1, 0, 0.5, 1, 0)])
    between = np.tile([0, 9], (8, 1))
    run = Lists(np.arange(8), np.zeros(8, np.int64), np.stack([first, between, last]))
    assert quartile_users(run) == [7, 5, 1]


def test_a_table_by_hand() -> None:
    """Two users, two seeds; what counts is a user's mean over seeds."""
    one = np.tile([1.0, 0.4, 0.02], (2, len(DELAYS), 1))
    other = one.copy()
    one[:, -1], other[:, -1] = [0.2, 0.1, 0.04], [0.4, 0.3, 0.06]
    one[0, -1, 0] = 0.6
    settings = Settings(dataset="toy", evaluation=EvaluationConfig(bootstrap_samples=50))
    table = delay_table([one, other], settings)
    held = {(row["delay"], row["kind"], row["metric"]): row for row in table.to_dict("records")}
    assert len(held) == len(table) == len(DELAYS) * 2 * 3
    assert held["30 days", VALUE, OVERLAP]["value"] == pytest.approx(0.4)
    assert held["30 days", VALUE, OVERLAP]["ci_low"] == pytest.approx(0.3)
    assert held["30 days", VALUE, OVERLAP]["ci_high"] == pytest.approx(0.5)
    change = held["30 days", CHANGE, LIKENESS]
    assert (change["value"], change["ci_low"], change["ci_high"]) == pytest.approx((-0.2, -0.2, -0.2))
    assert held["30 days", CHANGE, POPULARITY]["value"] == pytest.approx(0.03)
    assert held["1 hour", CHANGE, POPULARITY]["value"] == 0
    assert held["1 day", VALUE, OVERLAP]["seconds"] == 86400
    assert (change["users"], change["seeds"]) == (2, 2)


def test_the_study(tmp_path: Path) -> None:
    tables = board(tmp_path)
    quick = {"dim": 8, "negatives": 8, "users.hidden": 8, "batch_size": 128}
    training = TrainingConfig(max_epochs=1, device="cpu", seeds=2, hyper_parameters={"hrnn_meta": quick})
    evaluation = EvaluationConfig(bootstrap_samples=20)
    settings = Settings(dataset="toy", home=tmp_path, training=training, evaluation=evaluation)
    result = dg.materialize([time_sensitivity], resources={"storage": settings.storage, "settings": settings})
    held = read_study(settings.storage, settings, find("time_sensitivity"))
    (shown,) = (each.metadata for each in result.asset_materializations_for_node("__".join(keys.TIME_SENSITIVITY)))
    assert shown["table"].value == held.text
    assert shown["dagster/row_count"].value == len(held.table)
    assert set(held.table["seeds"]) == {2}
    assert held.account["config"]["model"]["net"]["dim"] == 8
    users = len(np.unique(tables.stream.before(tables.cutoff).users))
    assert f"toy, split median_time, `hrnn_meta`, seeds 0 to 1, the examples of the first, {users} users." in held.text
    assert held.text.count("\nUser u") == 3
    rows = [
        [cell.strip() for cell in line.split("|")][1:-1] for line in held.text.splitlines() if line.startswith("| ")
    ]
    assert [row[0] for row in rows if row[0] != "after"] == list(DELAYS) * 4
    first = next(row for row in rows if row[0] == "0")
    assert first[1] == "10.0 [10.0, 10.0]"
    assert "title of i" in held.text
    assert (
        "Likeness is the mean Jaccard similarity of a list's items to the user's last one in their genre." in held.text
    )
    assert "from no delay to 30 days" in held.text
