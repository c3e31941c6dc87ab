"""Who is popular and who is new, against a plain calculation."""

from unittest.mock import patch

import numpy as np
import pytest

from assets.instants import DAY
from assets.serving.retrieval import catalog as module
from assets.serving.retrieval.catalog import Catalog
from assets.serving.store.interface import Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.records import NEVER, new_items, number_keys, pack

HALF_LIFE = 3.0


def records(count: int, seed: int):
    random = np.random.default_rng(seed)
    items = new_items(count)
    items["decayed"] = random.integers(0, 4, count)  # many ties, many without engagements
    items["decayed_at"] = np.where(items["decayed"] > 0, random.integers(0, 20, count) * DAY, 0)
    items["available_at"] = random.choice([NEVER, 0, *range(1, 20)], count)
    return items


def put(store: LmdbStore, numbers: np.ndarray, items) -> None:
    with store.write() as writer:
        keys = number_keys(numbers)
        writer.put_many(Table.ITEMS, zip(keys, pack(items), strict=True))
        writer.put_many(
            Table.NUMBERS, ((f"i{number:04}".encode(), key) for number, key in zip(numbers, keys, strict=True))
        )


def counts(items, instant: int) -> np.ndarray:
    return items["decayed"] * 2.0 ** (-(instant - items["decayed_at"]) / (HALF_LIFE * DAY))


@pytest.mark.parametrize("top", [1, 7, 50, 1000])
def test_ranked_is_the_order_of_decayed_counts_at_any_instant(tmp_path, top: int) -> None:
    items = records(200, seed=1)
    with LmdbStore(tmp_path) as store, patch.object(module, "TOP", top):
        put(store, np.arange(200), items)
        with store.read() as reader:
            catalog = Catalog.load(reader, HALF_LIFE)
        ranked = np.concatenate(list(catalog.ranked()))
        assert sorted(ranked) == list(range(200))
        for instant in (0, 40 * DAY):
            expected = counts(items, instant)
            assert np.all(np.diff(expected[ranked]) <= 1e-9 * expected.max())
            assert catalog.count(int(ranked[0]), instant) == pytest.approx(expected.max())
        among = np.array([5, 3, 190])
        assert set(np.concatenate(list(catalog.ranked(among)))) == set(among)
        np.testing.assert_array_equal(next(catalog.ranked(among)), ranked[np.isin(ranked, among)])


def test_an_update_gives_what_loading_everything_gives(tmp_path) -> None:
    with LmdbStore(tmp_path) as store:
        put(store, np.arange(50), records(50, seed=1))
        with store.read() as reader:
            old = Catalog.load(reader, HALF_LIFE)
        before = old.popularity.copy()
        put(store, np.arange(40, 60), records(20, seed=2))  # ten known, ten new
        with store.read() as reader:
            new = old.updated(reader, [f"i{number:04}" for number in range(40, 60)] + ["unknown"])
            expected = Catalog.load(reader, HALF_LIFE)
    np.testing.assert_array_equal(new.popularity, expected.popularity)
    np.testing.assert_array_equal(new.available_at, expected.available_at)
    np.testing.assert_array_equal(old.popularity, before)  # whoever reads the old one is not disturbed


def test_new_items_are_those_available_since(tmp_path) -> None:
    items = records(50, seed=1)
    with LmdbStore(tmp_path) as store:
        put(store, np.arange(50), items)
        with store.read() as reader:
            catalog = Catalog.load(reader, HALF_LIFE)
    at = items["available_at"]
    latest = int(at.max())
    np.testing.assert_array_equal(catalog.new(10, latest), np.flatnonzero(at >= 10))
    np.testing.assert_array_equal(catalog.new(10, latest - 1), np.flatnonzero((at >= 10) & (at < latest)))  # announced
    assert not set(catalog.new(NEVER, latest)) & set(np.flatnonzero(at == NEVER))


def test_an_empty_store_has_an_empty_catalog(tmp_path) -> None:
    with LmdbStore(tmp_path) as store, store.read() as reader:
        catalog = Catalog.load(reader, HALF_LIFE)
    assert [len(part) for part in catalog.ranked()] == [0, 0]
    assert len(catalog.new(0, 10)) == 0
