"""Drawn users and the example for people, on a store filled by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assets.instants import DAY
from assets.serving import snapshot
from assets.serving.live.model import LiveModel, TrendTowers
from assets.serving.snapshot import UserSample, example_search, user_sample
from assets.serving.store.interface import Reader, Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import WATERMARK, put_meta
from assets.serving.store.records import USER_ENTRY, id_keys, number_keys
from assets.training.refresh import TrendPreset

USERS = [f"u{number:02}" for number in range(20)]
LONG = "x" * 600
NOW = 1_700_000_000_000_000
ITEMS = ["five", "four", "three"]


def model(seed: int = 0) -> LiveModel:
    return LiveModel({"model": "decayed_popularity", "seed": seed}, TrendTowers(), None, TrendPreset())


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Every user has seen two items; titles of the first two are known."""
    with LmdbStore(tmp_path) as store:
        with store.write() as writer:
            keys = number_keys(range(3))
            titles = ["The Five", "The Four", None]
            details = [json.dumps({"item_id": item, "title": title}) for item, title in zip(ITEMS, titles, strict=True)]
            writer.put_many(Table.DETAILS, zip(keys, (one.encode() for one in details), strict=True))
            writer.put_many(Table.NUMBERS, zip(id_keys(ITEMS), keys, strict=True))
            seen = np.array([0, 2], "<i4").tobytes()
            history = np.array([(1, 0, 2, 0, 1.0), (2, 1, 0, 0, np.nan)], USER_ENTRY).tobytes()
            for key in id_keys([*USERS, LONG]):
                writer.put(Table.SEEN, key, seen)
                writer.put(Table.USER_HISTORIES, key, history)
        with store.read() as reading:
            yield reading


def test_sampled_users_carry_their_vectors_and_everything_they_saw(reader: Reader) -> None:
    sample = user_sample(reader, model(), 100, NOW)
    assert sorted(sample.user_ids) == USERS  # of one whose id is no key nothing can be told
    assert sample.vectors.shape == (20, 1)
    assert sample.seen == [["five", "three"]] * 20


def test_a_sample_depends_on_the_seed_alone_and_halves_share_nobody(reader: Reader) -> None:
    first, again, other = (user_sample(reader, model(seed), 10, NOW) for seed in (1, 1, 2))
    assert first.user_ids == again.user_ids != other.user_ids
    halves = [first.take(slice(start, None, 2)) for start in (0, 1)]
    assert sorted(halves[0].user_ids + halves[1].user_ids) == sorted(first.user_ids)
    assert len(halves[0].seen) == len(halves[0].vectors) == 5


def test_sampled_users_ask_when_anybody_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(snapshot, "user_vectors", lambda reader, model, users, instant: asked.append(instant))
    with LmdbStore(tmp_path) as store:
        with store.write() as writer:
            put_meta(writer, WATERMARK, NOW)
        with store.read() as reader:
            for now in (NOW + 5, NOW + 5 * DAY):
                user_sample(reader, model(), 10, now)
    assert asked == [NOW + 5, NOW + DAY]


def test_nobody_is_sampled_where_nobody_is(tmp_path: Path) -> None:
    with LmdbStore(tmp_path) as store, store.read() as reader:
        assert user_sample(reader, model(), 10, NOW).user_ids == []


def test_an_example_shows_titles_and_falls_back_to_ids(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = UserSample(["u03"], np.zeros((1, 1), np.float32), [["five", "three"]])
    scores = np.array([2.5, 1, -np.inf], np.float32)
    lines = example_search(reader, sample, ["four", "three", None], scores).splitlines()
    assert lines[0] == "**User u03**, latest first: The Five, three"
    assert lines[-2:] == ["| 1 | The Four | 2.500 |", "| 2 | three | 1.000 |"]
    monkeypatch.setattr(snapshot, "LATEST_TITLES", 1)
    assert example_search(reader, sample, [], scores[:0]).splitlines()[0] == "**User u03**, latest first: The Five"
