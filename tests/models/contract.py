"""The contract suite: what every registered model must do, on a dataset with a known right answer.

Checkerboard: even users engage with even items only, odd users with odd ones, so the right half of the catalog must
come first for everyone who has a history. Popularity is skewed by item number within each half, and a loop counts what
the counting models must know.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.config import Settings
from assets.ranking import Recommender
from assets.storage import Storage
from assets.stream import DatasetTables, EngagementStream, load_tables
from assets.training.checkpoints import load_recommender
from assets.training.saving import save_checkpoint
from assets.training.train import Trained, train
from tests.support import Row, interactions_frame, write_tables

USERS, ITEMS, DAYS, TEST_DAYS = 60, 20, 12, 2
CUTOFF, VALIDATION_START = "2024-01-13", "2024-01-12"
NEW_ITEM, NEW_USER = "new-item", "new-user"
QUALIFIED = 3
"""Engagements that qualify a user for item histories: the board's users have about eight."""


VALIDATION_METRICS = {"ndcg@10", "hr@10", "log_likelihood"}


def checkerboard_rows(seed: int = 0) -> list[Row]:
    """One engagement per user and day with an item of the user's parity not taken before, low numbers more often."""
    generator = np.random.default_rng(seed)
    left = {user: list(range(user % 2, ITEMS, 2)) for user in range(USERS)}
    rows = []
    for day in range(DAYS + TEST_DAYS):
        for user in range(USERS):
            if generator.random() < 0.35 or not left[user]:
                continue
            chances = np.array([1 / (1 + item) for item in left[user]])
            item = left[user].pop(int(generator.choice(len(chances), p=chances / chances.sum())))
            rows.append((f"u{user:02d}", f"i{item:02d}", f"2024-01-{1 + day:02d}T{user % 24:02d}:{user // 24:02d}:00"))
    rows.append((NEW_USER, "i00", "2024-01-14T01:00:00"))
    rows.append(("u00", NEW_ITEM, "2024-01-14T02:00:00"))
    return rows


def other_future_rows() -> list[Row]:
    """The board up to the cutoff; then other users, items, times and amounts."""
    strangers = [("a-user", "a-item"), ("u01", "z-item"), ("zz", "i03"), ("u05", "i02")]
    future = [
        (user, item, f"2024-01-{day}T0{hour}:30:00")
        for hour, (user, item) in enumerate(strangers)
        for day in (13, 15, 18)
    ]
    return [row for row in checkerboard_rows() if row[2] < CUTOFF] + future


def features(rows: list[Row]) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]]]:
    """Item colours by parity, notes that only the future shares, and a user feature that says nothing."""
    items = sorted({item for _, item, _ in rows})
    odd = {item: item[1:].isdigit() and int(item[1:]) % 2 == 1 for item in items}
    colours = {item: ["black" if odd[item] else "white"] for item in items}
    notes = {"i00": ["a", "b"], "a-item": ["b", "c"], "z-item": ["b"]}
    return {"colour": colours, "note": notes}, {"kind": {user: ["person"] for user, _, _ in rows}}


def write_checkerboard(
    root: Path, rows: list[Row], item_content: Mapping[str, Sequence[float]] | None = None
) -> Storage:
    item_features, user_features = features(rows)
    return write_tables(
        root,
        interactions_frame(rows),
        CUTOFF,
        VALIDATION_START,
        item_features=item_features,
        user_features=user_features,
        item_content=item_content,
    )


@dataclass(frozen=True)
class World:
    """A trained model and what it was trained on."""

    storage: Storage
    tables: DatasetTables
    settings: Settings
    trained: Trained
    recommender: Recommender

    @property
    def cutoff(self) -> np.datetime64:
        return self.tables.cutoff

    def items(self) -> torch.Tensor:
        return self.recommender.item_vectors(self.tables.stream.before(self.cutoff), self.cutoff)

    def users(self, rows: list[int], stream: EngagementStream | None = None) -> torch.Tensor:
        stream = self.tables.stream if stream is None else stream
        instants = np.full(len(rows), self.cutoff)
        return self.recommender.user_vectors(
            stream.queries(np.array(rows, np.int64), instants, self.recommender.history_length), self.items()
        )

    def items_after(self, engagements: list[tuple[int, int]]) -> torch.Tensor:
        """Item vectors a day after the cutoff, if these (user row, item row) pairs engaged in between."""
        known, instant = self.tables.stream.before(self.cutoff), self.cutoff + np.timedelta64(1, "D")
        users, items = np.array(engagements, np.int64).reshape(-1, 2).T
        at = np.full(len(users), self.cutoff + np.timedelta64(1, "h"))
        stream = EngagementStream(
            np.concatenate([known.users, users]),
            np.concatenate([known.items, items]),
            np.concatenate([known.timestamps, at]),
            np.concatenate([known.values, np.ones(len(users), np.float32)]),
            np.concatenate([known.events, np.zeros(len(users), np.int64)]),
            known.n_users,
            known.n_items,
            known.event_types,
        )
        return self.recommender.item_vectors(stream, instant)

    def user_row(self, user: str) -> int:
        return int(np.flatnonzero(self.tables.users["user_id"] == user)[0])

    def item_row(self, item: str) -> int:
        return int(np.flatnonzero(self.tables.catalog.item_ids == item)[0])


class RecommenderContract:
    """Inherit, and parametrise with names of models: ``@pytest.mark.parametrize("world", [...], indirect=True)``.

    Needs two fixtures, which may be shared: ``board`` and ``other_future``, storages of the board's rows and of
    :func:`other_future_rows`.
    """

    @classmethod
    def hyper_parameters(cls, model: str) -> Mapping[str, Any]:
        """What learns the board in a second."""
        return {}

    @pytest.fixture(scope="class")
    def world(self, request: pytest.FixtureRequest, board: Storage) -> World:
        model: str = request.param
        training = {"hyper_parameters": {model: dict(request.cls.hyper_parameters(model))}, "device": "cpu"}
        settings = Settings(dataset="toy", models=(model,), split={"qualified_user_min": QUALIFIED}, training=training)
        tables = load_tables(board)
        trained = train(model, tables, settings)
        save_checkpoint(board, trained)
        return World(board, tables, settings, trained, load_recommender(board, model, 0, tables))

    def test_shapes(self, world: World) -> None:
        items, users = world.items(), world.users([0, 1, 2])
        assert items.shape == (len(world.tables.catalog), users.shape[1])
        assert len(users) == 3
        assert items.dtype == users.dtype == torch.float32
        assert world.recommender.history_length >= 1

    def test_vectors_are_finite_for_the_unknown(self, world: World) -> None:
        """No history, an unknown user, an unknown item, and an unknown item in a history."""
        empty = world.tables.stream.before(np.datetime64("2000-01-01"))
        everyone = list(range(len(world.tables.users)))
        assert torch.isfinite(world.users(everyone, empty)).all()
        assert torch.isfinite(world.items()).all()
        end = np.array([np.datetime64("2030-01-01", "us")])
        row = np.array([world.user_row("u00")])
        queries = world.tables.stream.queries(row, end, 50)
        assert world.item_row(NEW_ITEM) in queries.history_items
        assert torch.isfinite(world.recommender.user_vectors(queries, world.items())).all()

    def test_no_queries_give_no_vectors(self, world: World) -> None:
        assert len(world.users([])) == 0

    def test_vectors_do_not_depend_on_batch_mates_or_padding(self, world: World) -> None:
        everyone = list(range(len(world.tables.users)))
        together = world.users(everyone)
        for row in (0, 7, len(everyone) - 1):
            torch.testing.assert_close(world.users([row])[0], together[row], rtol=1e-4, atol=1e-5)
        instants = np.full(len(everyone), world.cutoff)
        queries = world.tables.stream.queries(np.array(everyone), instants, 3 * world.recommender.history_length)
        longer = world.recommender.user_vectors(queries, world.items())
        torch.testing.assert_close(longer, together, rtol=1e-4, atol=1e-5)

    def test_an_engagement_moves_no_other_item(self, world: World) -> None:
        user, item = world.user_row("u00"), world.item_row("i03")
        moved = (world.items_after([(user, item)]) != world.items_after([])).any(dim=1)
        assert set(torch.nonzero(moved)[:, 0].tolist()) <= {item}

    def test_save_and_load_give_identical_vectors(self, world: World) -> None:
        again = load_recommender(world.storage, world.trained.model, 0, world.tables)
        cutoff = world.cutoff
        assert torch.equal(again.item_vectors(world.tables.stream.before(cutoff), cutoff), world.items())
        queries = world.tables.stream.queries(np.arange(5), np.full(5, cutoff), again.history_length)
        assert torch.equal(
            again.user_vectors(queries, world.items()), world.recommender.user_vectors(queries, world.items())
        )

    def test_the_future_changes_nothing(self, world: World, other_future: Storage) -> None:
        """Other users, items, times and amounts from the cutoff on: the same weights and the same manifest.

        To the byte, so training twice gives the same too.
        """
        folder = save_checkpoint(other_future, train(world.trained.model, load_tables(other_future), world.settings))
        original = world.storage.checkpoint(world.trained.model, 0)
        names = sorted(path.name for path in original.iterdir())
        assert sorted(path.name for path in folder.iterdir()) == names
        for name in names:
            if name != "manifest.json":
                assert (folder / name).read_bytes() == (original / name).read_bytes(), name
        one, other = (_manifest(path) for path in (folder, original))
        assert one.pop("data_version") != other.pop("data_version")
        assert one == other

    def test_validation_metrics_are_recorded(self, world: World) -> None:
        assert set(world.trained.metrics["validation"]) == VALIDATION_METRICS
        assert all(0 <= world.trained.metrics["validation"][name] <= 1 for name in ("ndcg@10", "hr@10"))


def _manifest(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return loaded


class PersonalisedContract(RecommenderContract):
    """For models that tell users apart."""

    def test_the_right_half_comes_first(self, world: World) -> None:
        """For every user, right items the user has not had score above wrong ones in (nearly) all pairs."""
        scores = world.users([world.user_row(f"u{user:02d}") for user in range(USERS)]) @ world.items().T
        rows = np.array([world.item_row(f"i{item:02d}") for item in range(ITEMS)])
        board = scores[:, torch.from_numpy(rows)]  # [USERS, ITEMS]
        right = torch.tensor([[user % 2 == item % 2 for item in range(ITEMS)] for user in range(USERS)])
        wins = [
            (board[user][right[user]][:, None] > board[user][~right[user]][None, :]).float().mean().item()
            for user in range(USERS)
        ]
        assert np.mean(wins) > 0.95
        assert min(wins) > 0.7

    def test_unknown_ids_never_take_a_known_row(self, world: World) -> None:
        assert world.trained.encodings is not None
        known = world.trained.encodings
        assert known.items.encode([NEW_ITEM, "i0", "i000", ""]).tolist() == [0, 0, 0, 0]
        assert known.users.encode([NEW_USER, "u0"]).tolist() == [0, 0]
        vectors = world.items()
        new = world.item_row(NEW_ITEM)
        others = [row for row in range(len(vectors)) if row != new]
        assert (vectors[others] - vectors[new]).abs().amax(dim=1).min() > 1e-4


class InductiveContract(PersonalisedContract):
    """For nets that read an item's users: a frozen net knows an item by those who engaged with it since."""

    def affinities(self, world: World, engagements: list[tuple[str, str]]) -> torch.Tensor:
        """[N, dim] item vectors without the trend."""
        rows = [(world.user_row(user), world.item_row(item)) for user, item in engagements]
        return world.items_after(rows)[:, : world.trained.config["net"]["dim"]]

    @pytest.mark.parametrize(("user", "item", "moves"), [("u00", "i03", True), (NEW_USER, "i03", False)])
    def test_an_engagement_by_a_qualified_user_moves_that_item(
        self, world: World, user: str, item: str, moves: bool
    ) -> None:
        moved = (self.affinities(world, [(user, item)]) != self.affinities(world, [])).any(dim=1)
        assert torch.nonzero(moved)[:, 0].tolist() == ([world.item_row(item)] if moves else [])

    def test_an_unseen_item_is_known_by_its_audience(self, world: World) -> None:
        """Those who like what the audience likes score it higher than with another audience."""
        new = world.item_row(NEW_ITEM)
        audiences = [[(f"u{user:02d}", NEW_ITEM) for user in range(first, 24, 2)] for first in (0, 1)]
        nobody, even, odd = (self.affinities(world, audience)[new] for audience in ([], *audiences))
        assert (even - odd).abs().max() > 1e-3
        assert min((one - nobody).abs().max().item() for one in (even, odd)) > 1e-3
        fans = world.users([world.user_row(f"u{user:02d}") for user in range(30, USERS)])[:, : len(even)]
        preference = fans @ (even - odd)
        assert preference[0::2].mean() > preference[1::2].mean()


class CountingContract(RecommenderContract):
    """For the popularity family: scores are logs of counts that a loop can compute."""

    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        raise NotImplementedError

    @pytest.mark.parametrize("instant", ["2024-01-09T05:30:00", "2024-01-13", "2024-01-15"])
    def test_scores_are_smoothed_log_counts(self, world: World, instant: str) -> None:
        now = np.datetime64(instant, "us")
        vectors = world.recommender.item_vectors(world.tables.stream.before(now), now)
        expected = [
            np.log(self.expected_count(item, checkerboard_rows(), now, world.cutoff) + 0.02)
            for item in world.tables.catalog.item_ids
        ]
        assert vectors[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
        assert (world.users([0, 1]) == 1).all()

    def test_items_without_engagements_tie_at_the_bottom(self, world: World) -> None:
        vectors = world.items()[:, 0]
        assert vectors[world.item_row(NEW_ITEM)] == vectors.min()
        assert vectors[world.item_row(NEW_ITEM)].item() == pytest.approx(np.log(0.02), rel=1e-6)
