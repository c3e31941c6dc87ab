"""Values of the store: what goes in comes out, against loops over rows."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.serving.store import meta
from assets.serving.store.interface import Table
from assets.serving.store.numbers import UNKNOWN, assign_numbers, numbers_for
from assets.serving.store.records import (
    ENTRY,
    LONGEST_KEY,
    NEVER,
    OOV,
    USER_ENTRY,
    id_keys,
    instant_key,
    new_items,
    number_keys,
    numbers_of,
    pack,
    pack_features,
    pack_runs,
    unpack,
    unpack_features,
    unpack_runs,
)
from tests.assets.serving.live.memory_store import MemoryStore

IDS = st.integers(0, 2**31 - 1)
FEATURE_ROWS = st.integers(0, 3).flatmap(
    lambda features: st.lists(st.tuples(IDS, st.tuples(*[st.lists(IDS, max_size=4)] * features)), max_size=6).map(
        lambda rows: (features, rows)
    )
)


def as_columns(features: int, rows: list[tuple[int, tuple[list[int], ...]]]) -> tuple[np.ndarray, list]:
    dense = np.array([row[0] for row in rows], np.int64)
    columns = [
        (
            np.array([value for _, lists in rows for value in lists[at]], np.int64),
            np.array([len(lists[at]) for _, lists in rows], np.int64),
        )
        for at in range(features)
    ]
    return dense, columns


@given(FEATURE_ROWS)
def test_features_are_packed_row_by_row_and_come_back(
    case: tuple[int, list[tuple[int, tuple[list[int], ...]]]],
) -> None:
    features, rows = case
    dense, columns = as_columns(features, rows)
    packed = pack_features(dense, columns)
    naive = []
    for dense_id, lists in rows:
        row = [dense_id]
        for values in lists:
            row += [len(values), *values]
        naive.append(np.array(row, np.int32).tobytes())
    assert packed == naive
    back, back_columns = unpack_features(packed, features)
    assert back.tolist() == dense.tolist()
    for (values, lengths), (expected, expected_lengths) in zip(back_columns, columns, strict=True):
        assert values.tolist() == expected.tolist()
        assert lengths.tolist() == expected_lengths.tolist()


def test_features_of_an_unknown_row_are_oov() -> None:
    known = pack_features(np.array([7]), [(np.array([3, 4]), np.array([2]))])
    dense, [(values, lengths)] = unpack_features([None, *known, None], 1)
    assert dense.tolist() == [OOV, 7, OOV]
    assert values.tolist() == [OOV, 3, 4, OOV]
    assert lengths.tolist() == [1, 2, 1]


def test_records_come_back_and_the_missing_are_blank() -> None:
    items = new_items(2)
    items["total"] = [5, 6]
    back = unpack([*pack(items), None], new_items(1))
    assert back["total"].tolist() == [5, 6, 0]
    assert back["embedded_at"].tolist() == [NEVER] * 3
    back["total"] = 1  # writable
    assert len(unpack([], new_items(1))) == 0
    assert pack(new_items(0)) == []


@given(st.lists(st.lists(IDS, max_size=5), max_size=6), st.none() | st.integers(1, 4))
def test_runs_come_back_or_their_latest(runs: list[list[int]], latest: int | None) -> None:
    flat = np.array([value for run in runs for value in run], "<i4")
    lengths = np.array([len(run) for run in runs], np.int64)
    packed = pack_runs(flat, lengths, latest)
    back, back_lengths = unpack_runs([*packed, None], np.dtype("<i4"))
    kept = [run if latest is None else run[-latest:] for run in runs]
    assert back.tolist() == [value for run in kept for value in run]
    assert back_lengths.tolist() == [*(len(run) for run in kept), 0]


def test_an_entry_has_20_bytes_and_a_user_s_28() -> None:
    assert ENTRY.itemsize == 20  # 2 MB per 1000 items with histories of 100
    assert USER_ENTRY.itemsize == 28
    assert USER_ENTRY.names == (*ENTRY.names, "event", "value")


@given(st.lists(st.integers(0, 2**32 - 1)), st.lists(st.integers(0, 2**63 - 1)))
def test_keys_sort_like_what_they_stand_for(numbers: list[int], instants: list[int]) -> None:
    keys = number_keys(numbers)
    assert numbers_of(keys).tolist() == numbers
    assert [numbers_of([key])[0] for key in sorted(keys)] == sorted(numbers)
    assert [int.from_bytes(key, "big") for key in sorted(map(instant_key, instants))] == sorted(instants)


def test_keys_of_ids_are_their_bytes_unless_they_are_too_long() -> None:
    short, long = "ü" * (LONGEST_KEY // 2), "ü" * (LONGEST_KEY // 2 + 1)
    keys = id_keys(["a", short, long, long + "x"])
    assert keys[:2] == [b"a", short.encode()]
    assert all(len(key) <= LONGEST_KEY for key in keys)
    assert len(set(keys)) == 4
    with pytest.raises(UnicodeDecodeError):
        keys[2].decode()  # so it is nobody else's id


def test_every_text_has_a_key_of_its_own() -> None:
    keys = id_keys(["", "\udc80", "\ud800x", "a"])  # no id, but asked for: by a typing error, by a broken terminal
    assert len(set(keys)) == 4
    assert all(0 < len(key) <= LONGEST_KEY for key in keys)
    for key in keys[:3]:
        with pytest.raises(UnicodeDecodeError):
            key.decode()


def test_meta_holds_json_by_name() -> None:
    store = MemoryStore()
    with store.write() as writer:
        assert meta.get_meta(writer, meta.SEQ) is None
        assert meta.get_meta(writer, meta.SEQ, 0) == 0
        meta.put_meta(writer, meta.SEQ, 3)
        meta.put_meta(writer, meta.SNAPSHOT, {"seq": 3, "recall": None})
        assert meta.get_meta(writer, meta.SEQ, 0) == 3
        assert meta.get_meta(writer, meta.SNAPSHOT) == {"seq": 3, "recall": None}


def test_new_items_get_the_next_numbers_in_the_order_given() -> None:
    store = MemoryStore()
    with store.write() as writer:
        numbers, new = assign_numbers(writer, ["b", "a"])
        assert (numbers.tolist(), new.tolist()) == ([0, 1], [True, True])
        numbers, new = assign_numbers(writer, ["c", "a", "d"])
        assert (numbers.tolist(), new.tolist()) == ([2, 1, 3], [True, False, True])
        assert numbers_for(writer, ["d", "nobody", "b"]).tolist() == [3, UNKNOWN, 0]
        assert numbers_for(writer, []).tolist() == []
        assert assign_numbers(writer, [])[0].tolist() == []
        assert meta.get_meta(writer, meta.ITEMS) == 4
        details = [json.loads(value) for _, value in writer.scan(Table.DETAILS)]
    assert [each["item_id"] for each in details] == ["b", "a", "c", "d"]
    assert details[0] == {"item_id": "b", "title": None, "created_at": None}
