"""What every store has to do, whatever stands behind it."""

import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from assets.serving.store.interface import KeyValueStore, Table
from tests.assets.serving.live.memory_store import content

KEYS = st.binary(min_size=1, max_size=3)
WRITES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=8)


class AbandonedError(Exception):
    """Raised inside a transaction."""


def apply_to(store: KeyValueStore, writes: list[tuple[bytes, bytes | None]], commit: bool) -> None:
    """One transaction of writes and, where the value is ``None``, removals; abandoned at its end unless ``commit``."""
    with contextlib.suppress(AbandonedError), store.write() as writer:
        for key, value in writes:
            if value is None:
                writer.delete_many(Table.SEEN, [key])
            else:
                writer.put(Table.SEEN, key, value)
        if not commit:
            raise AbandonedError


class StoreContract:
    """What every store has to do; a subclass's module has the fixture ``store``."""

    def test_values_come_in_the_order_of_their_keys_and_none_for_the_unknown(self, store: KeyValueStore) -> None:
        with store.write() as writer:
            writer.put_many(Table.ITEMS, [(b"b", b"2"), (b"a", b"1"), (b"empty", b"")])
        with store.read() as reader:
            assert reader.get_many(Table.ITEMS, [b"b", b"x", b"a", b"b", b"empty"]) == [b"2", None, b"1", b"2", b""]
            assert reader.get(Table.ITEMS, b"a") == b"1"
            assert reader.get_many(Table.ITEMS, []) == []

    def test_tables_are_apart(self, store: KeyValueStore) -> None:
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", b"1")
        with store.read() as reader:
            assert reader.get(Table.VECTORS, b"a") is None
            assert [reader.size(table) for table in (Table.ITEMS, Table.VECTORS)] == [1, 0]

    def test_a_scan_is_half_open_and_in_order_of_bytes(self, store: KeyValueStore) -> None:
        keys = [b"\x00", b"\x01\xff", b"\x02", b"\x7f", b"\x80", b"\xff\xff"]
        with store.write() as writer:
            writer.put_many(Table.ROWS, [(key, key * 2) for key in reversed(keys)])
        with store.read() as reader:
            assert list(reader.scan(Table.ROWS)) == [(key, key * 2) for key in keys]
            assert [key for key, _ in reader.scan(Table.ROWS, b"\x01\xff", b"\x80")] == keys[1:4]
            assert [key for key, _ in reader.scan(Table.ROWS, b"\x03")] == keys[3:]
            assert list(reader.scan(Table.ROWS, b"\xff\xff\xff")) == []
            assert list(reader.scan(Table.META)) == []

    def test_a_writer_reads_what_it_wrote_and_nobody_else_does(self, store: KeyValueStore) -> None:
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", b"1")
            assert writer.get(Table.ITEMS, b"a") == b"1"
            with store.read() as reader:
                assert reader.get(Table.ITEMS, b"a") is None
                assert reader.size(Table.ITEMS) == 0

    def test_a_reader_keeps_its_state(self, store: KeyValueStore) -> None:
        with store.write() as writer:
            writer.put_many(Table.ITEMS, [(b"a", b"old"), (b"gone", b"old")])
        with store.read() as before:
            assert before.get(Table.ITEMS, b"a") == b"old"
            with store.write() as writer:
                writer.put_many(Table.ITEMS, [(b"a", b"new"), (b"b", b"new")])
                writer.delete_many(Table.ITEMS, [b"gone", b"never there"])
            assert list(before.scan(Table.ITEMS)) == [(b"a", b"old"), (b"gone", b"old")]
            with store.read() as after:
                assert list(after.scan(Table.ITEMS)) == [(b"a", b"new"), (b"b", b"new")]

    def test_an_exception_takes_everything_back(self, store: KeyValueStore) -> None:
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", b"1")
        before = content(store)
        with pytest.raises(AbandonedError), store.write() as writer:  # noqa: PT012 - the changes come before the exception
            writer.put(Table.ITEMS, b"a", b"2")
            writer.put(Table.LEDGER, b"batch", b"done")
            writer.delete_many(Table.ITEMS, [b"a"])
            raise AbandonedError
        assert content(store) == before
        with store.write() as writer:  # and the next one may write
            writer.put(Table.ITEMS, b"a", b"3")
        assert content(store)[Table.ITEMS] == [(b"a", b"3")]

    def test_one_writer_at_a_time(self, store: KeyValueStore) -> None:
        def add() -> None:
            for _ in range(50):
                with store.write() as writer:
                    writer.put(
                        Table.META, b"count", bytes(str(int(writer.get(Table.META, b"count") or 0) + 1), "ascii")
                    )

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert content(store)[Table.META] == [(b"count", b"200")]


ROUNDS = 100
PAIRS = [b"%d" % number for number in range(20)]
Kind = Callable[[Any], KeyValueStore]


def _watch(kind: Kind, place: Any, found: "multiprocessing.Queue[int]") -> None:
    """Read until the last round is seen; report how many states were not of one round."""
    store, torn, last = kind(place), 0, b""
    while last != b"%d" % ROUNDS:
        with store.read() as reader:
            values = reader.get_many(Table.ITEMS, PAIRS) + [value for _, value in reader.scan(Table.VECTORS)]
        torn += len(set(values)) > 1
        last = values[0] or b""
    store.close()
    found.put(torn)


def torn_states(store: KeyValueStore, kind: Kind, place: Any) -> list[int]:
    """How many states of two commits two other processes read while this one writes; ``kind(place)`` opens."""
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[int] = context.Queue()

    def write(number: int) -> None:
        with store.write() as writer:
            for table in (Table.ITEMS, Table.VECTORS):
                writer.put_many(table, [(key, b"%d" % number) for key in PAIRS])

    write(0)
    readers = [context.Process(target=_watch, args=(kind, place, found)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, ROUNDS + 1):
        write(number)
    results = [found.get(timeout=200) for _ in readers]
    for reader in readers:
        reader.join()
    return results
