"""Which pending items are embedded when, and what the index is told."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from assets.config import FreshnessConfig, TriggerConfig
from assets.serving.live.embedder import index_vectors, item_vectors, stored_vectors, trend_values
from assets.serving.live.ledger import LedgerEntry, awaiting, entries, put_entries
from assets.serving.live.model import LiveModel
from assets.serving.live.refresh import Refreshed, StoreError, refresh_embeddings
from assets.serving.store.deltas import Delta, deltas_after
from assets.serving.store.interface import KeyValueStore, Table, Writer
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import EPOCH, SEQ, WATERMARK, get_meta, put_meta
from assets.serving.store.records import NEVER, PENDING, Records, new_items, number_keys, pack, unpack
from assets.storage import Storage
from assets.stream import DatasetTables
from tests.assets.serving.live.filled import fill, save_counting, save_net, toy

SECOND = 1_000_000
NOW = 1_000 * SECOND
CONFIG = FreshnessConfig()
RESTING = FreshnessConfig(trigger=TriggerConfig(minimum_interval_seconds=100))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, DatasetTables]:
    return toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def model(dataset: tuple[Storage, DatasetTables]) -> LiveModel:
    return LiveModel.load(save_net(*dataset, "ihm_sasrec"))


@pytest.fixture
def store(tmp_path: Path, dataset: tuple[Storage, DatasetTables], model: LiveModel) -> Iterator[KeyValueStore]:
    """Every item's features, nothing embedded, nothing pending."""
    with LmdbStore(tmp_path / "store") as opened:
        fill(opened, model, dataset[1], np.datetime64("2024-03-05"))
        yield opened


def ticking(start: int = NOW) -> Callable[[], int]:
    """A clock that is half a second on each time it is read."""
    ticks = count(start, SECOND // 2)
    return lambda: next(ticks)


def touch(store: KeyValueStore, numbers: list[int], due_at: int = NOW, touched_at: int = 5) -> None:
    pending = np.array([(touched_at, due_at, 1)] * len(numbers), PENDING)
    with store.write() as writer:
        writer.put_many(Table.PENDING, zip(number_keys(numbers), pack(pending), strict=True))


def change(store: KeyValueStore, number: int, **values: float) -> None:
    with store.write() as writer:
        item = unpack(writer.get_many(Table.ITEMS, number_keys([number])), new_items(1)[0])
        for name, value in values.items():
            item[name] = value
        writer.put_many(Table.ITEMS, zip(number_keys([number]), pack(item), strict=True))


def entry(store: KeyValueStore, digest: str) -> None:
    with store.write() as writer:
        put_entries(
            writer,
            [
                LedgerEntry(
                    digest=digest,
                    kind="engagements",
                    partition="p",
                    source="s",
                    rows=1,
                    landed_at=1,
                    seen_at=2,
                    oldest_accepted=0,
                    features_at=3,
                )
            ],
        )


def items(store: KeyValueStore, numbers: list[int]) -> Records:
    with store.read() as reader:
        return unpack(reader.get_many(Table.ITEMS, number_keys(numbers)), new_items(1)[0])


def pending(store: KeyValueStore) -> dict[int, tuple[int, int, int]]:
    with store.read() as reader:
        pairs = list(reader.scan(Table.PENDING))
    return {int.from_bytes(key, "big"): tuple(np.frombuffer(value, PENDING)[0].tolist()) for key, value in pairs}


def deltas(store: KeyValueStore) -> list[Delta]:
    with store.read() as reader:
        return deltas_after(reader, 0)


def expected(store: KeyValueStore, model: LiveModel, numbers: list[int]) -> np.ndarray:
    """What the index should hold of items that are embedded now."""
    with store.read() as reader:
        vectors = item_vectors(reader, model, np.array(numbers))
        epoch = get_meta(reader, EPOCH)
    return index_vectors(vectors, trend_values(model, items(store, numbers), epoch) if model.uses_trend else None)


def name_of(dataset: tuple[Storage, DatasetTables], number: int) -> str:
    return str(dataset[1].catalog.item_ids[number])


def test_what_is_due_is_embedded_and_told(
    store: KeyValueStore, model: LiveModel, dataset: tuple[Storage, DatasetTables]
) -> None:
    touch(store, [7, 2], due_at=NOW)
    touch(store, [4], due_at=NOW + 1)
    entry(store, "d")
    wanted = expected(store, model, [2, 7])
    done = refresh_embeddings(store, model, CONFIG, NOW, ticking())
    assert done == Refreshed(2, 0, 1, 0, seq=1, items_per_second=4.0)
    (delta,) = deltas(store)
    assert (delta.seq, delta.ids, delta.removed) == (1, [name_of(dataset, 2), name_of(dataset, 7)], [])
    assert delta.created_at > NOW
    np.testing.assert_allclose(delta.vectors, wanted, rtol=0, atol=1e-6)
    with store.read() as reader:
        vectors, found = stored_vectors(reader, model, np.arange(8))
        assert np.flatnonzero(found).tolist() == [2, 7]
        np.testing.assert_allclose(vectors, wanted[:, : model.dimension], rtol=0, atol=1e-6)
        assert get_meta(reader, SEQ) == 1
        (one,) = entries(reader)
        assert awaiting(reader) == []
    assert (one.embedded_at, one.seq, one.deferred) == (NOW + SECOND // 2, 1, 1)
    assert one.indexed_at is not None
    assert one.indexed_at > delta.created_at > one.embedded_at
    records = items(store, [2, 4, 7])
    assert records["embedded_at"].tolist() == [NOW, NEVER, NOW]
    assert records["embedded_total"].tolist() == [records["total"][0], 0, records["total"][2]]
    assert pending(store) == {4: (5, NOW + 1, 1)}


def test_nothing_to_do_is_no_delta(store: KeyValueStore, model: LiveModel) -> None:
    with store.read() as reader:
        before = {table: list(reader.scan(table)) for table in Table}
    assert refresh_embeddings(store, model, CONFIG, NOW, ticking()) == Refreshed(0, 0, 0, 0, None, None)
    with store.read() as reader:
        assert {table: list(reader.scan(table)) for table in Table} == before


def test_a_batch_that_changed_no_item_is_done_with_the_latest_delta(store: KeyValueStore, model: LiveModel) -> None:
    touch(store, [1])
    refresh_embeddings(store, model, CONFIG, NOW, ticking())
    entry(store, "repeated rows only")
    assert refresh_embeddings(store, model, CONFIG, NOW, ticking()).seq is None
    with store.read() as reader:
        (one,) = entries(reader)
    assert (one.seq, one.deferred) == (1, 0)
    assert len(deltas(store)) == 1


def test_deferred_items_get_their_trend_once_and_their_vector_when_due(
    store: KeyValueStore, model: LiveModel, dataset: tuple[Storage, DatasetTables]
) -> None:
    touch(store, [3, 6])
    refresh_embeddings(store, model, CONFIG, NOW, ticking())
    old = expected(store, model, [3])
    with store.write() as writer:  # engaged with: other counts, and other users, which the embedding would show
        writer.delete_many(Table.ITEM_HISTORIES, number_keys([3]))
    change(store, 3, decayed=50.0, total=99)
    touch(store, [3, 5], due_at=NOW + 10)  # 5 has no vector yet: the index learns of it when it has
    done = refresh_embeddings(store, model, CONFIG, NOW + 5, ticking())
    assert done == Refreshed(0, 1, 2, 0, seq=2, items_per_second=None)
    delta = deltas(store)[1]
    assert delta.ids == [name_of(dataset, 3)]
    np.testing.assert_allclose(delta.vectors[:, :-1], old[:, :-1], rtol=0, atol=1e-6)
    assert delta.vectors[0, -1] > old[0, -1] + 1
    assert pending(store) == {3: (5, NOW + 10, 0), 5: (5, NOW + 10, 1)}
    assert items(store, [3])["embedded_at"].tolist() == [NOW]
    assert refresh_embeddings(store, model, CONFIG, NOW + 6, ticking()).seq is None  # nothing new to tell
    done = refresh_embeddings(store, model, CONFIG, NOW + 10, ticking())
    assert (done.embedded, done.deferred, done.seq) == (2, 0, 3)
    now = expected(store, model, [3])
    assert np.abs(now[:, :-1] - old[:, :-1]).max() > 0.01
    np.testing.assert_allclose(deltas(store)[2].vectors[0], now[0], rtol=0, atol=1e-6)
    assert pending(store) == {}


def test_vectors_of_mixed_items_stay_with_their_items(
    store: KeyValueStore, model: LiveModel, dataset: tuple[Storage, DatasetTables]
) -> None:
    touch(store, [0, 1, 2, 3, 4, 5])
    refresh_embeddings(store, model, CONFIG, NOW, ticking())
    wanted = expected(store, model, list(range(8)))
    touch(store, [5, 1, 3], due_at=NOW + 50)
    touch(store, [6, 0, 2, 7], due_at=NOW)
    done = refresh_embeddings(store, model, CONFIG, NOW, ticking())
    assert (done.embedded, done.trend_only) == (4, 3)
    delta = deltas(store)[1]
    changed = [0, 1, 2, 3, 5, 6, 7]
    assert delta.ids == [name_of(dataset, number) for number in changed]
    np.testing.assert_allclose(delta.vectors, wanted[changed], rtol=0, atol=1e-6)


def test_nobody_is_embedded_twice_within_the_interval(store: KeyValueStore, model: LiveModel) -> None:
    touch(store, [1])
    refresh_embeddings(store, model, RESTING, NOW, ticking())
    touch(store, [1, 2], due_at=NOW)
    done = refresh_embeddings(store, model, RESTING, NOW + 100 * SECOND - 1, ticking())
    assert (done.embedded, done.deferred) == (1, 1)
    assert pending(store) == {1: (5, NOW + 100 * SECOND, 0)}  # whoever looks for due items finds none before
    assert refresh_embeddings(store, model, RESTING, NOW + 100 * SECOND, ticking()).embedded == 1


def test_items_that_are_not_available_leave_the_index(
    store: KeyValueStore, model: LiveModel, dataset: tuple[Storage, DatasetTables]
) -> None:
    touch(store, [1, 2])
    refresh_embeddings(store, model, CONFIG, NOW, ticking())
    with store.read() as reader:
        watermark = get_meta(reader, WATERMARK)
    change(store, 1, available_at=watermark + 1)
    change(store, 3, available_at=NEVER)
    touch(store, [1, 2, 3], due_at=NOW + 9)
    done = refresh_embeddings(store, model, CONFIG, NOW, ticking())
    assert done == Refreshed(0, 1, 1, 1, seq=2, items_per_second=None)
    delta = deltas(store)[1]
    assert (delta.ids, delta.removed) == ([name_of(dataset, 2)], [name_of(dataset, 1)])
    assert set(pending(store)) == {2}
    assert items(store, [1])["embedded_at"].tolist() == [NEVER]
    with store.read() as reader:
        assert stored_vectors(reader, model, np.array([1, 2, 3]))[1].tolist() == [False, True, False]
    change(store, 1, available_at=watermark)
    touch(store, [1])
    assert refresh_embeddings(store, model, CONFIG, NOW, ticking()).embedded == 1


def test_one_refresh_or_many_give_the_same_index(
    tmp_path: Path, store: KeyValueStore, model: LiveModel, dataset: tuple[Storage, DatasetTables]
) -> None:
    every = list(range(len(dataset[1].catalog)))
    with LmdbStore(tmp_path / "other") as other:
        fill(other, model, dataset[1], np.datetime64("2024-03-05"))
        touch(other, every)
        refresh_embeddings(other, model, CONFIG, NOW, ticking())
        for number in every:
            touch(store, [number])
            refresh_embeddings(store, model, CONFIG, NOW, ticking())
        assert [delta.seq for delta in deltas(store)] == [number + 1 for number in every]
        one_by_one = np.concatenate([delta.vectors for delta in deltas(store)])
        np.testing.assert_allclose(one_by_one, deltas(other)[0].vectors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["popularity", "decayed_popularity", "sasrec"])
def test_every_kind_of_model(tmp_path: Path, dataset: tuple[Storage, DatasetTables], name: str) -> None:
    save = save_net if name == "sasrec" else save_counting
    model = LiveModel.load(save(*dataset, name))
    with LmdbStore(tmp_path / "store") as store:
        fill(store, model, dataset[1], np.datetime64("2024-03-05"))
        touch(store, [1, 2])
        wanted = expected(store, model, [1, 2])
        assert refresh_embeddings(store, model, CONFIG, NOW, ticking()).embedded == 2
        np.testing.assert_allclose(deltas(store)[0].vectors, wanted, rtol=0, atol=1e-6)
        touch(store, [1], due_at=NOW + 5)  # without a trend there is nothing to tell before it is due
        done = refresh_embeddings(store, model, CONFIG, NOW, ticking())
        assert (done.trend_only, done.deferred) == (int(model.uses_trend), 1)
        assert len(deltas(store)) == 1 + model.uses_trend


@pytest.mark.parametrize("where", ["append_delta", "complete_awaiting"])
def test_a_refresh_that_is_killed_left_nothing(
    store: KeyValueStore, model: LiveModel, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    touch(store, [1, 2])
    entry(store, "d")
    with store.read() as reader:
        before = {table: list(reader.scan(table)) for table in Table}

    def killed(writer: Writer, *_: object, **__: object) -> None:
        put_meta(writer, SEQ, 99)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"assets.serving.live.refresh.{where}", killed)
        with pytest.raises(KeyboardInterrupt):
            refresh_embeddings(store, model, CONFIG, NOW, ticking())
    with store.read() as reader:
        assert {table: list(reader.scan(table)) for table in Table} == before
    assert refresh_embeddings(store, model, CONFIG, NOW, ticking()).seq == 1


def test_a_store_that_lacks_something_is_named(store: KeyValueStore, model: LiveModel) -> None:
    touch(store, [1])
    with store.write() as writer:
        writer.delete_many(Table.DETAILS, number_keys([1]))
    with pytest.raises(StoreError, match="details of item number 1; run `thaw run`"):
        refresh_embeddings(store, model, CONFIG, NOW, ticking())
    with store.write() as writer:
        writer.delete_many(Table.META, [EPOCH.encode()])
    with pytest.raises(StoreError, match="no epoch"):
        refresh_embeddings(store, model, CONFIG, NOW, ticking())


def test_before_the_first_engagement_nothing_is_available(store: KeyValueStore, model: LiveModel) -> None:
    touch(store, [1])
    with store.write() as writer:
        writer.delete_many(Table.META, [WATERMARK.encode()])
    assert refresh_embeddings(store, model, CONFIG, NOW, ticking()) == Refreshed(0, 0, 0, 0, None, None)
