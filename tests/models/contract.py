"""The contract suite: what every registered model must do, on a dataset with a known right answer.

Checkerboard: even users engage with even items only, odd users with odd ones, so the right half of the catalog must
come first for everyone who has a history. Popularity is skewed by item number within each half, and a loop counts what
the counting models must know.
"""

import json
from collections.abc import Mapping
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
from assets.training.checkpoints import load_recommender, save_checkpoint
from assets.training.train import Trained, train
from tests.support import Row, interactions_frame, write_tables

USERS, ITEMS, DAYS, TEST_DAYS = 60, 20, 12, 2
CUTOFF, VALIDATION_START = "2024-01-13", "2024-01-12"
NEW_ITEM, NEW_USER = "new-item", "new-user"


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


def features(rows: list[Row]) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]]]:
    """Item colours by parity, notes that only the future shares, and a user feature that says nothing."""
    items = sorted({item for _, item, _ in rows})
    odd = {item: item[1:].isdigit() and int(item[1:]) % 2 == 1 for item in items}
    colours = {item: ["black" if odd[item] else "white"] for item in items}
    notes = {"i00": ["a", "b"], "a-item": ["b", "c"], "z-item": ["b"]}
    return {"colour": colours, "note": notes}, {"kind": {user: ["person"] for user, _, _ in rows}}


def write_checkerboard(root: Path, rows: list[Row]) -> Storage:
    item_features, user_features = features(rows)
    return write_tables(
        root,
        interactions_frame(rows),
        CUTOFF,
        VALIDATION_START,
        item_features=item_features,
        user_features=user_features,
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

    def user_row(self, user: str) -> int:
        return int(np.flatnonzero(self.tables.users["user_id"] == user)[0])

    def item_row(self, item: str) -> int:
        return int(np.flatnonzero(self.tables.catalog.item_ids == item)[0])


class RecommenderContract:
    """Inherit with ``model`` set to a registered name, and ``hyper_parameters`` that learn the board in seconds."""

    model: str
    hyper_parameters: Mapping[str, Any] = {}

    @classmethod
    def settings(cls, **training: Any) -> Settings:
        values = {"hyper_parameters": {cls.model: dict(cls.hyper_parameters)}, "device": "cpu", **training}
        return Settings(dataset="toy", models=(cls.model,), training=values)

    @pytest.fixture(scope="class")
    def world(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
        cls = request.cls
        storage = write_checkerboard(tmp_path_factory.mktemp(cls.model), checkerboard_rows())
        tables, settings = load_tables(storage), cls.settings()
        trained = train(cls.model, tables, settings)
        save_checkpoint(storage, trained)
        return World(storage, tables, settings, trained, load_recommender(storage, cls.model, 0, tables))

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

    def test_item_vectors_use_only_what_is_known(self, world: World) -> None:
        """A longer stream with the same past changes nothing."""
        stream = world.tables.stream
        short = stream.before(world.cutoff)
        longer = EngagementStream(
            stream.users[::-1][: len(stream) - len(short)].copy(),
            stream.items[::-1][: len(stream) - len(short)].copy(),
            stream.timestamps[len(short) :],
            stream.values[len(short) :],
            stream.n_users,
            stream.n_items,
        )
        other = EngagementStream(
            *(
                np.concatenate([getattr(short, field), getattr(longer, field)])
                for field in ("users", "items", "timestamps", "values")
            ),
            stream.n_users,
            stream.n_items,
        )
        again = world.recommender.item_vectors(other.before(world.cutoff), world.cutoff)
        assert torch.equal(world.items(), again)

    def test_save_and_load_give_identical_vectors(self, world: World) -> None:
        again = load_recommender(world.storage, self.model, 0, world.tables)
        cutoff = world.cutoff
        assert torch.equal(again.item_vectors(world.tables.stream.before(cutoff), cutoff), world.items())
        queries = world.tables.stream.queries(np.arange(5), np.full(5, cutoff), again.history_length)
        assert torch.equal(
            again.user_vectors(queries, world.items()), world.recommender.user_vectors(queries, world.items())
        )

    def test_training_twice_gives_the_same_bytes(self, world: World) -> None:
        again = train(self.model, world.tables, world.settings)
        assert (again.metrics, again.history, again.config) == (
            world.trained.metrics,
            world.trained.history,
            world.trained.config,
        )
        assert (again.weights is None) == (world.trained.weights is None)
        for name, value in (world.trained.weights or {}).items():
            assert again.weights is not None
            assert again.weights[name].numpy().tobytes() == value.numpy().tobytes()

    def test_the_future_changes_nothing(self, world: World, tmp_path: Path) -> None:
        """Other users, items, times and amounts from the cutoff on: the same weights and the same manifest."""
        past = [row for row in checkerboard_rows() if row[2] < CUTOFF]
        strangers = [("a-user", "a-item"), ("u01", "z-item"), ("zz", "i03"), ("u05", "i02")]
        future = [
            (user, item, f"2024-01-{day}T0{hour}:30:00")
            for hour, (user, item) in enumerate(strangers)
            for day in (13, 15, 18)
        ]
        storage = write_checkerboard(tmp_path, past + future)
        folder = save_checkpoint(storage, train(self.model, load_tables(storage), world.settings))
        original = world.storage.checkpoint(self.model, 0)
        names = sorted(path.name for path in original.iterdir())
        assert sorted(path.name for path in folder.iterdir()) == names
        for name in names:
            if name != "manifest.json":
                assert (folder / name).read_bytes() == (original / name).read_bytes(), name
        one, other = (_manifest(path) for path in (folder, original))
        assert one.pop("data_version") != other.pop("data_version")
        assert one == other

    def test_validation_metrics_are_recorded(self, world: World) -> None:
        assert set(world.trained.metrics["validation"]) == {"ndcg@10", "hr@10"}
        assert all(0 <= value <= 1 for value in world.trained.metrics["validation"].values())


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
