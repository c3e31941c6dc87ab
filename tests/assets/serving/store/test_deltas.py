"""The delta log: whole deltas, in order, without a gap."""

import numpy as np
import pytest

from assets.serving.store.deltas import (
    Delta,
    DeltaError,
    append_delta,
    decode,
    deltas_after,
    drop_deltas,
    encode,
)
from assets.serving.store.interface import Table
from assets.serving.store.meta import CHANGES, SEQ, get_meta
from tests.assets.serving.live.memory_store import MemoryStore


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("ids", "removed"), [(["Amélie", "b"], []), ([], ["новое", "c"]), (["a"], ["b"]), ([], []), (["", "a"], [])]
)
def test_a_delta_comes_back(ids: list[str], removed: list[str]) -> None:
    delta = Delta(7, 1_600_000_000_000_001, ids, vectors(len(ids)), removed)
    back = decode(encode(delta))
    assert (back.seq, back.created_at, back.ids, back.removed) == (7, 1_600_000_000_000_001, ids, removed)
    assert back.vectors.dtype == np.float32
    assert np.array_equal(back.vectors, delta.vectors)


def test_half_a_delta_is_refused() -> None:
    content = encode(Delta(1, 2, ["a", "b"], vectors(2), ["c"]))
    for length in (0, 7, 20, len(content) // 2, len(content) - 1):
        with pytest.raises(DeltaError, match="not a whole delta"):
            decode(content[:length])


def test_a_delta_says_one_thing_of_an_item() -> None:
    for ids, removed in ((["a", "a"], []), (["a", "b"], ["b"]), (["a", "b"], ["c", "c"])):
        with pytest.raises(DeltaError, match="twice"):
            encode(Delta(1, 2, ids, vectors(2), removed))
    with pytest.raises(DeltaError, match="1 ids and vectors of shape"):
        encode(Delta(1, 2, ["a"], vectors(2), []))


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Delta(1, 2, ["a"], vectors(1), []))
    monkeypatch.setattr("assets.serving.store.deltas.FORMAT", 2)
    with pytest.raises(DeltaError, match="format 1, expected 2"):
        decode(content)


def test_the_log_counts_on_and_is_read_in_order() -> None:
    store = MemoryStore()
    for number in range(1, 301):  # past one byte of the key
        with store.write() as writer:
            assert append_delta(writer, number * 10, [f"i{number}"], vectors(1)).seq == number
    with store.read() as reader:
        assert get_meta(reader, SEQ) == 300
        assert [delta.seq for delta in deltas_after(reader, 0)] == list(range(1, 301))
        assert [(delta.seq, delta.ids, delta.created_at) for delta in deltas_after(reader, 298)] == [
            (299, ["i299"], 2990),
            (300, ["i300"], 3000),
        ]
        assert deltas_after(reader, 300) == []


def test_changes_count_what_the_deltas_name() -> None:
    store = MemoryStore()
    with store.write() as writer:
        append_delta(writer, 0, ["a", "b"], vectors(2))
        append_delta(writer, 0, [], vectors(0), ["a"])
        append_delta(writer, 0, ["c"], vectors(1), ["b", "d"])
        assert get_meta(writer, CHANGES) == 6
        drop_deltas(writer, 2)
        assert get_meta(writer, CHANGES) == 3
        append_delta(writer, 0, ["c"], vectors(1))
        assert get_meta(writer, CHANGES) == 4
        drop_deltas(writer, 4)
        assert get_meta(writer, CHANGES) == 0


def test_what_a_snapshot_holds_is_dropped() -> None:
    store = MemoryStore()
    with store.write() as writer:
        for _ in range(5):
            append_delta(writer, 0, ["a"], vectors(1))
        assert drop_deltas(writer, 3) == 3
        assert [delta.seq for delta in deltas_after(writer, 0)] == [4, 5]
        assert append_delta(writer, 0, ["a"], vectors(1)).seq == 6  # numbers are never used again
        assert drop_deltas(writer, 0) == 0
        assert drop_deltas(writer, 6) == 3
        assert append_delta(writer, 0, [], vectors(0), ["a"]).seq == 7
        assert writer.size(Table.DELTAS) == 1
