"""Landed items in the store, in whatever order they come."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assets.ingestion.tables import items_table
from assets.serving.live.items import Details, ItemBatch, apply_items, earliest, item_details, item_ids
from assets.serving.live.ledger import BatchInfo, awaiting, entries
from assets.serving.live.model import LiveModel
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import ITEMS, WATERMARK, get_meta, put_meta
from assets.serving.store.numbers import UNKNOWN, assign_numbers, numbers_for
from assets.serving.store.records import (
    NEVER,
    PENDING,
    Records,
    new_items,
    number_keys,
    pack,
    unpack,
    unpack_features,
)
from tests.assets.serving.live.filled import FIRST_DAY, save_net, toy

DAY = 86_400_000_000
MARK = FIRST_DAY + 2 * DAY
"""The watermark."""

Row = tuple[str, str | None, int | None]
"""Id, title, created_at."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return LiveModel.load(save_net(*toy(tmp_path_factory.mktemp("toy")), "ihm_sasrec"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyValueStore]:
    with opened(tmp_path / "store") as store:
        yield store


def opened(path: Path) -> LmdbStore:
    store = LmdbStore(path)
    with store.write() as writer:
        put_meta(writer, WATERMARK, MARK)
    return store


def batch(digest: str, rows: Sequence[Row], seen_at: int = 0, **features: list[list[str]]) -> ItemBatch:
    ids, titles, created = zip(*rows, strict=True) if rows else ((), (), ())
    table = items_table(
        pa.array(ids, pa.string()),
        pa.array(titles, pa.string()),
        pa.array(created, pa.timestamp("us")),
        {name: pa.array(values, pa.list_(pa.string())) for name, values in features.items()},
    )
    info = BatchInfo(
        digest=digest, kind="items", partition="p", source=f"{digest}.csv", rows=len(rows), landed_at=1, seen_at=seen_at
    )
    return ItemBatch(info, table)


def record(store: KeyValueStore, item: str) -> Records:
    with store.read() as reader:
        keys = number_keys(numbers_for(reader, [item]))
        return unpack(reader.get_many(Table.ITEMS, keys), new_items(1)[0])[0]


def details(store: KeyValueStore, item: str) -> Details | None:
    with store.read() as reader:
        return item_details(reader, numbers_for(reader, [item]))[0]


def features(store: KeyValueStore, model: LiveModel, item: str) -> tuple[int, list[list[int]]]:
    with store.read() as reader:
        row = reader.get_many(Table.FEATURES, number_keys(numbers_for(reader, [item])))
    dense, found = unpack_features(row, len(model.feature_names("items")))
    return int(dense[0]), [values.tolist() for values, _ in found]


def pending(store: KeyValueStore) -> dict[str | None, tuple[int, int, int]]:
    with store.read() as reader:
        pairs = list(reader.scan(Table.PENDING))
        names = item_ids(reader, np.array([int.from_bytes(key, "big") for key, _ in pairs], np.int64))
    return {
        name: tuple(np.frombuffer(value, PENDING)[0].tolist()) for name, (_, value) in zip(names, pairs, strict=True)
    }


def upcoming(store: KeyValueStore) -> list[tuple[int, int]]:
    with store.read() as reader:
        return [
            (int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")) for key, _ in reader.scan(Table.UPCOMING)
        ]


def test_new_items_get_numbers_details_features_and_are_due(store: KeyValueStore, model: LiveModel) -> None:
    rows: list[Row] = [("new", "Neu ☃", None), ("i01", None, MARK - DAY), ("later", "L", MARK + DAY)]
    genres = [["war", "no such genre"], [], ["drama"]]
    (entry,) = apply_items(store, [batch("d", rows, genre=genres)], model, now=70)
    assert details(store, "new") == Details("new", "Neu ☃", None, (0, 1, "d"))
    assert details(store, "i01") == Details("i01", None, MARK - DAY, (0, 1, "d"))
    assert model.encodings is not None
    war = int(model.encodings.item_features["genre"].encode(["war"])[0])
    assert features(store, model, "new") == (0, [[war, 0], [0]])
    known = int(model.encodings.items.encode(["i01"])[0])
    assert known > 0
    assert features(store, model, "i01") == (known, [[0], [0]])
    assert [int(record(store, item)["available_at"]) for item, _, _ in rows] == [MARK, MARK - DAY, MARK + DAY]
    assert int(record(store, "new")["embedded_at"]) == NEVER
    assert pending(store) == dict.fromkeys(["new", "i01", "later"], (70, 70, 0))
    assert upcoming(store) == [(MARK + DAY, 2)]
    assert (entry.rows, entry.applied, entry.duplicates, entry.items_touched) == (3, 3, 0, 3)
    assert (entry.features_at, entry.indexed_at, entry.oldest_accepted) == (70, None, NEVER)
    with store.read() as reader:
        assert get_meta(reader, ITEMS) == 3
        assert entries(reader) == awaiting(reader) == [entry]


def test_a_batch_counts_once(store: KeyValueStore, model: LiveModel) -> None:
    one = batch("d", [("a", "first", None)])
    assert len(apply_items(store, [one, one], model, now=70)) == 1
    with store.write() as writer:
        writer.delete_many(Table.PENDING, number_keys([0]))
    assert apply_items(store, [one], model, now=80) == []
    assert apply_items(store, [], model, now=80) == []
    assert pending(store) == {}
    (entry,) = apply_items(store, [one, batch("e", [("a", "second", None)], seen_at=1)], model, now=90)
    assert entry.digest == "e"
    assert pending(store) == {"a": (90, 90, 0)}


def test_a_known_item_is_replaced_and_keeps_its_engagements(store: KeyValueStore, model: LiveModel) -> None:
    with store.write() as writer:
        assign_numbers(writer, ["other", "a"])
        item = new_items(1)
        item["total"], item["train_count"], item["decayed"], item["decayed_at"] = 7, 5, 2.5, 11
        item["first_engaged_at"] = item["available_at"] = MARK - 5 * DAY
        item["embedded_at"], item["embedded_total"] = 60, 6
        writer.put_many(Table.ITEMS, zip(number_keys([1]), pack(item), strict=True))
        waits = np.array([(50, 999, 1)], PENDING)
        writer.put_many(Table.PENDING, zip(number_keys([1]), pack(waits), strict=True))
    apply_items(store, [batch("d", [("a", "A", MARK)], genre=[["war"]])], model, now=70)
    apply_items(store, [batch("e", [("a", "AA", None)], seen_at=3, genre=[["drama"]])], model, now=80)
    assert details(store, "a") == Details("a", "AA", MARK, (3, 1, "e"))
    assert model.encodings is not None
    assert features(store, model, "a")[1][0] == model.encodings.item_features["genre"].encode(["drama"]).tolist()
    assert record(store, "a") == item[0]  # available since its first engagement, which is earlier than MARK
    assert pending(store) == {"a": (50, 70, 1)}
    assert upcoming(store) == []


def test_an_item_that_waits_comes_forward(store: KeyValueStore, model: LiveModel) -> None:
    apply_items(store, [batch("d", [("a", "A", MARK + 3 * DAY)])], model, now=70)
    apply_items(store, [batch("e", [("a", "A", MARK + 9 * DAY)], seen_at=1)], model, now=71)
    assert upcoming(store) == [(MARK + 3 * DAY, 0)]
    apply_items(store, [batch("f", [("a", "A", MARK + 2 * DAY)], seen_at=2)], model, now=72)
    assert upcoming(store) == [(MARK + 2 * DAY, 0)]
    assert details(store, "a") == Details("a", "A", MARK + 2 * DAY, (2, 1, "f"))
    apply_items(store, [batch("g", [("a", "A", None)], seen_at=3)], model, now=73)
    assert upcoming(store) == []
    assert int(record(store, "a")["available_at"]) == MARK


def test_an_empty_batch_is_an_entry_of_the_ledger(store: KeyValueStore, model: LiveModel) -> None:
    (entry,) = apply_items(store, [batch("d", [])], model, now=70)
    assert (entry.rows, entry.applied, entry.items_touched) == (0, 0, 0)
    assert pending(store) == {}


def test_rows_of_one_item_in_one_batch(store: KeyValueStore, model: LiveModel) -> None:
    (entry,) = apply_items(store, [batch("d", [("a", "one", MARK - DAY), ("a", "two", None)])], model, now=70)
    assert details(store, "a") == Details("a", "two", MARK - DAY, (0, 1, "d"))
    assert (entry.applied, entry.duplicates, entry.rows) == (1, 1, 2)


def test_the_order_and_grouping_of_batches_make_no_difference(tmp_path: Path, model: LiveModel) -> None:
    """But for the numbers of items, and which batch found its rows outdated."""
    batches = [
        batch(
            "z",
            [("x", "x1", MARK + DAY), ("y", "y1", MARK - DAY), ("w", "w1", MARK)],
            1,
            genre=[["war"], ["drama"], ["drama", "war"]],
        ),
        batch("c", [("x", "x2", MARK + 2 * DAY)], 2, genre=[["drama"]]),
        batch("b", [("y", "y3", None), ("x", "x3", MARK + 4 * DAY), ("z", "z3", MARK)], 2, year=[["2024"], [], []]),
    ]
    found = []
    for number, order in enumerate(permutations(batches)):
        for groups in ([order], [order[:1], order[1:]], [order[:1], order[1:2], order[2:]]):
            with opened(tmp_path / f"{number}-{len(groups)}") as store:
                for group in groups:
                    apply_items(store, group, model, now=70)
                state = {
                    item: (details(store, item), int(record(store, item)["available_at"]), features(store, model, item))
                    for item in "wxyz"
                }
                found.append((state, pending(store), [instant for instant, _ in upcoming(store)]))
    assert all(each == found[0] for each in found)
    state = found[0][0]
    assert state["x"][0] == Details("x", "x2", MARK + DAY, (2, 1, "c"))  # c comes behind b: seen and landed together
    assert state["y"][0] == Details("y", "y3", MARK - DAY, (2, 1, "b"))
    assert found[0][2] == [MARK + DAY]


def test_a_failure_changes_nothing(store: KeyValueStore, model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assets.serving.live.items.put_entries", killed)
    with pytest.raises(KeyboardInterrupt):
        apply_items(store, [batch("d", [("a", "A", None)])], model, now=70)
    with store.read() as reader:
        assert [table for table in Table if reader.size(table)] == [Table.META]
        assert get_meta(reader, ITEMS) is None
        assert numbers_for(reader, ["a"]).tolist() == [UNKNOWN]


def test_the_earliest_instant_known() -> None:
    first, second = np.array([NEVER, 3, NEVER, 5]), np.array([NEVER, NEVER, 4, 2])
    assert earliest(first, second).tolist() == [NEVER, 3, 4, 2]


def test_details_written_by_others_are_read(store: KeyValueStore) -> None:
    with store.write() as writer:
        assign_numbers(writer, ["plain"])
    assert details(store, "plain") == Details("plain")
    with store.read() as reader:
        assert item_details(reader, np.array([5, 0])) == [None, Details("plain")]
        assert item_ids(reader, np.array([5, 0])) == [None, "plain"]
        assert item_ids(reader, np.zeros(0, np.int64)) == []
