"""Vectors from the store are those of the batch code over tables."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from assets.ranking import Recommender
from assets.serving.live import embedder
from assets.serving.live.embedder import (
    Latest,
    index_vectors,
    item_vectors,
    seen,
    stored_vectors,
    trend_values,
    user_vectors,
)
from assets.serving.live.model import LiveModel
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.records import new_items, number_keys, unpack
from assets.storage import Storage
from assets.stream import PADDING, DatasetTables
from assets.training.checkpoints import load_recommender
from models.registry import NETS
from tests.assets.serving.live.filled import SEED, fill, micros, save_counting, save_net, toy

HOUR = np.timedelta64(1, "h")
HOUR_US = 3_600_000_000
NOW = micros(np.datetime64("2024-03-07"))
COUNTS = ("popularity", "decayed_popularity")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, DatasetTables]:
    return toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyValueStore]:
    with LmdbStore(tmp_path / "store") as opened:
        yield opened


def load(dataset: tuple[Storage, DatasetTables], name: str) -> tuple[LiveModel, Recommender]:
    storage, tables = dataset
    folder = save_counting(storage, tables, name) if name in COUNTS else save_net(storage, tables, name)
    return LiveModel.load(folder), load_recommender(storage, name, SEED, tables)


def instant_of(tables: DatasetTables) -> np.datetime64:
    """Hours after the last engagement, so that nothing is decayed to the watermark by chance."""
    return tables.stream.timestamps[-1] + 5 * HOUR


def put_vectors(store: KeyValueStore, model: LiveModel, items: int) -> None:
    with store.write() as writer:
        vectors = item_vectors(writer, model, np.arange(items))
        writer.put_many(Table.VECTORS, zip(number_keys(np.arange(items)), map(bytes, vectors), strict=True))


@pytest.mark.parametrize("name", [*NETS, *COUNTS])
def test_items_and_users_are_those_of_the_batch_code(
    dataset: tuple[Storage, DatasetTables], store: KeyValueStore, name: str
) -> None:
    (model, batch), tables = load(dataset, name), dataset[1]
    instant = instant_of(tables)
    fill(store, model, tables, instant)
    numbers = np.arange(len(tables.catalog))
    expected = batch.item_vectors(tables.stream, instant)
    with store.read() as reader:
        vectors = item_vectors(reader, model, numbers)
        items = unpack(reader.get_many(Table.ITEMS, number_keys(numbers)), new_items(1)[0])
    trend = trend_values(model, items, micros(instant)) if model.uses_trend else None
    found = index_vectors(vectors, trend)
    assert found.shape == (len(numbers), model.index_dimension)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)

    put_vectors(store, model, len(numbers))
    users = np.arange(tables.stream.n_users)
    queries = tables.stream.queries(users, np.full(len(users), instant), batch.history_length)
    with store.read() as reader:
        served = user_vectors(reader, model, tables.users["user_id"].tolist(), micros(instant))
    np.testing.assert_allclose(served, batch.user_vectors(queries, expected).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["ihm_sasrec", "ihm_dat", "cdn"])
def test_whom_an_item_is_embedded_with_makes_no_difference(
    dataset: tuple[Storage, DatasetTables], store: KeyValueStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (model, _), tables = load(dataset, name), dataset[1]
    fill(store, model, tables, instant_of(tables))
    numbers = np.random.default_rng(0).permutation(len(tables.catalog))
    with store.read() as reader:
        together = item_vectors(reader, model, numbers)
        alone = np.concatenate([item_vectors(reader, model, numbers[at : at + 1]) for at in range(len(numbers))])
        monkeypatch.setattr(embedder, "ROWS_PER_BATCH", 7)
        parts = item_vectors(reader, model, numbers)
    assert np.ptp(together, axis=0).min() > 0.1
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(parts, together, rtol=0, atol=1e-6)


def test_users_are_encoded_in_parts(
    dataset: tuple[Storage, DatasetTables], store: KeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model, _), tables = load(dataset, "ihm_sasrec"), dataset[1]
    fill(store, model, tables, instant_of(tables))
    put_vectors(store, model, len(tables.catalog))
    users = tables.users["user_id"].tolist()
    with store.read() as reader:
        together = user_vectors(reader, model, users, NOW)
        monkeypatch.setattr(embedder, "ROWS_PER_BATCH", 5)
        np.testing.assert_allclose(user_vectors(reader, model, users, NOW), together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["ihm_sasrec", "two_tower", "decayed_popularity"])
def test_the_unknown_is_finite_and_nothing_is_nothing(
    dataset: tuple[Storage, DatasetTables], store: KeyValueStore, name: str
) -> None:
    (model, _), tables = load(dataset, name), dataset[1]
    with store.read() as reader:  # an empty store: no items, no users
        assert item_vectors(reader, model, np.zeros(0, np.int64)).shape == (0, model.dimension)
        assert user_vectors(reader, model, [], NOW).shape == (0, model.index_dimension)
        assert seen(reader, []) == []
        nobody = user_vectors(reader, model, ["nobody", "neither"], NOW)
        nothing = item_vectors(reader, model, np.array([3, 1 << 30]))
    assert nobody.shape == (2, model.index_dimension)
    assert np.isfinite(nobody).all()
    assert np.isfinite(nothing).all()
    np.testing.assert_allclose(nobody[0], nobody[1], rtol=1e-5, atol=1e-5)
    fill(store, model, tables, instant_of(tables))
    put_vectors(store, model, len(tables.catalog))
    with store.read() as reader:
        np.testing.assert_allclose(user_vectors(reader, model, ["nobody"], NOW), nobody[:1], rtol=1e-5, atol=1e-5)
        assert seen(reader, ["nobody"]) == [[]]


def test_items_without_a_vector_are_no_history(dataset: tuple[Storage, DatasetTables], store: KeyValueStore) -> None:
    """The latest of those that have one are read, as if the others had not happened."""
    (model, _), tables = load(dataset, "sasrec"), dataset[1]
    fill(store, model, tables, instant_of(tables))
    put_vectors(store, model, len(tables.catalog))
    user = int(np.bincount(tables.stream.users).argmax())
    mine = tables.stream.items[tables.stream.users == user]
    gone = np.unique(mine[-2:])
    with store.write() as writer:
        writer.delete_many(Table.VECTORS, number_keys(gone))
    kept = mine[-model.user_history_length :]
    kept = kept[~np.isin(kept, gone)][-model.towers.history_length :]
    assert len(kept) == model.towers.history_length
    with store.read() as reader:
        inputs, vectors = embedder.user_inputs(reader, model, [tables.users["user_id"][user], "nobody"], NOW)
        expected, found = stored_vectors(reader, model, kept)
    assert found.all()
    assert inputs.lengths.tolist() == [len(kept), 0]
    np.testing.assert_array_equal(vectors[inputs.history[0].numpy()], expected)
    assert set(inputs.history[1].tolist()) == {PADDING}


@pytest.mark.parametrize("ago", [-1, 0, 1])
def test_values_types_and_instants_are_those_of_the_entries_that_are_read(
    dataset: tuple[Storage, DatasetTables], store: KeyValueStore, ago: int
) -> None:
    """Entries without a vector go with all that is theirs; the request is not before the last entry, read or not."""
    (model, _), tables = load(dataset, "gru"), dataset[1]
    stream = tables.stream
    fill(store, model, tables, instant_of(tables))
    put_vectors(store, model, len(tables.catalog))
    user = int(np.bincount(stream.users).argmax())
    mine = np.flatnonzero(stream.users == user)
    gone = np.unique(stream.items[mine[[-1, -3]]])
    with store.write() as writer:
        writer.delete_many(Table.VECTORS, number_keys(gone))
    kept = mine[-model.user_history_length :]
    kept = kept[~np.isin(stream.items[kept], gone)][-model.towers.history_length :]
    last = micros(stream.timestamps[mine[-1]])
    with store.read() as reader:
        users = [tables.users["user_id"][user], "nobody"]
        inputs, _ = embedder.user_inputs(reader, model, users, last + ago * HOUR_US)
    known = model.encodings.event_types.encode(np.array(stream.event_types, object)[stream.events[kept]])
    assert len(kept) == 4 == int(inputs.lengths[0])
    assert len(set(known.tolist())) > 1
    assert inputs.events[0].tolist() == known.tolist()
    np.testing.assert_array_equal(inputs.values[0].numpy(), stream.values[kept])
    asked = last + max(ago, 0) * HOUR_US
    assert inputs.times[0].tolist() == [*map(micros, stream.timestamps[kept]), asked]
    assert int(inputs.times[1, 0]) == last + ago * HOUR_US
    assert set(inputs.events[1].tolist()) == {PADDING}
    assert inputs.values[1].isnan().all()


def test_stored_vectors_say_which_there_are(dataset: tuple[Storage, DatasetTables], store: KeyValueStore) -> None:
    model, _ = load(dataset, "sasrec")
    rows = np.arange(16, dtype=np.float32).reshape(2, 8)
    with store.write() as writer:
        writer.put_many(Table.VECTORS, zip(number_keys([5, 2]), map(bytes, rows), strict=True))
    with store.read() as reader:
        vectors, found = stored_vectors(reader, model, np.array([2, 3, 5]))
        nothing, _ = stored_vectors(reader, model, np.array([7]))
    assert found.tolist() == [True, False, True]
    np.testing.assert_array_equal(vectors, rows[[1, 0]])
    assert nothing.shape == (0, 8)


def test_seen_is_everything_once(dataset: tuple[Storage, DatasetTables], store: KeyValueStore) -> None:
    (model, _), tables = load(dataset, "popularity"), dataset[1]
    fill(store, model, tables, instant_of(tables))
    frame = tables.interactions
    users = ["nobody", *tables.users["user_id"][::-1]]
    with store.read() as reader:
        found = seen(reader, users)
    for user, items in zip(users, found, strict=True):
        assert sorted(items) == sorted(set(frame[frame["user_id"] == user]["item_id"]))


def test_the_trend_can_be_as_of_any_instant(dataset: tuple[Storage, DatasetTables]) -> None:
    model, _ = load(dataset, "ihm_sasrec")  # half-life 1.5 days, smoothing 0.3
    day = 86_400_000_000
    items = new_items(4)
    items["decayed"], items["decayed_at"] = [0, 1, 1, 3], [0, 100 * day, 100 * day, 98 * day]
    now = trend_values(model, items, 100 * day)
    np.testing.assert_allclose(now, np.log([0.3, 1.3, 1.3, 3 * 0.5 ** (2 / 1.5) + 0.3]), rtol=1e-6)
    earlier = trend_values(model, items, 97 * day)  # before the engagements: each counts more than 1
    np.testing.assert_allclose(earlier, np.log([0.3, 4.3, 4.3, 3 * 2 ** (1 / 1.5) + 0.3]), rtol=1e-6)
    later = trend_values(model, items, 20_000 * day)
    np.testing.assert_allclose(later, np.log(np.full(4, 0.3)), rtol=1e-6)


def test_a_trend_is_finite_however_old_its_epoch_is(dataset: tuple[Storage, DatasetTables]) -> None:
    """Engagements after years without any: the index refuses what is not finite, and the next snapshot comes later."""
    model, _ = load(dataset, "ihm_sasrec")
    day = 86_400_000_000
    items = new_items(3)
    items["decayed"], items["decayed_at"] = [0, 1, 2], [0, 15_000 * day, 15_000 * day]
    found = trend_values(model, items, 0)  # 10,000 half-lives
    np.testing.assert_allclose(found, [np.log(0.3), 1e4 * np.log(2), 1e4 * np.log(2) + np.log(2)], rtol=1e-6)


def test_without_a_trend_the_index_holds_v_itself() -> None:
    vectors = np.ones((2, 3), np.float32)
    assert index_vectors(vectors, None) is vectors
    np.testing.assert_array_equal(index_vectors(vectors, np.array([4, 5], np.float32))[:, 3], [4, 5])


@pytest.mark.parametrize(("length", "expected"), [(0, [[], [], []]), (2, [[2, 3], [-1, -1], [4, -1]])])
def test_the_latest_are_kept_left_aligned(length: int, expected: list[list[int]]) -> None:
    latest = Latest.of(np.array([0, 0, 0, 2]), 3, length)
    padded = latest.padded(np.array([1, 2, 3, 4]), PADDING)
    assert padded.tolist() == expected
    assert latest.lengths.tolist() == [min(length, 3), 0, min(length, 1)]
    assert torch.from_numpy(padded).dtype == torch.int64
    values = latest.padded(np.array([1, 2, 3, 4], np.float32), np.nan)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.where(padded == PADDING, np.nan, padded))
