"""What every store has to do, run on LMDB and on dictionaries; then LMDB with several processes, some killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.lmdb_store import LmdbStore, StoreUseError
from tests.assets.serving.live.memory_store import MemoryStore, content

KEYS = st.binary(min_size=1, max_size=3)
WRITES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=8)


class AbandonedError(Exception):
    """Raised inside a transaction."""


@pytest.fixture(params=["lmdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValueStore]:
    made = LmdbStore(tmp_path / "store") if request.param == "lmdb" else MemoryStore()
    yield made
    made.close()


class TestContract:
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


@settings(max_examples=25, deadline=None)  # a commit waits for the disk
@given(transactions=st.lists(st.tuples(WRITES, st.booleans()), max_size=5))
def test_lmdb_does_what_dictionaries_do(
    transactions: list[tuple[list[tuple[bytes, bytes | None]], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    memory = MemoryStore()
    with LmdbStore(tmp_path_factory.mktemp("store")) as lmdb:
        for writes, commit in transactions:
            for store in (lmdb, memory):
                try:
                    with store.write() as writer:
                        for key, value in writes:
                            if value is None:
                                writer.delete_many(Table.SEEN, [key])
                            else:
                                writer.put(Table.SEEN, key, value)
                        if not commit:
                            raise AbandonedError
                except AbandonedError:
                    pass
        assert content(lmdb) == content(memory)


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "a" / "store") as store, store.write() as writer:
        writer.put(Table.ITEMS, b"a", b"1")
    with LmdbStore(tmp_path / "a" / "store") as store, store.read() as reader:
        assert reader.get(Table.ITEMS, b"a") == b"1"


def test_a_full_disk_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.serving.store.lmdb_store.MAP_SIZE", 1 << 18)
    with LmdbStore(tmp_path) as store:
        with pytest.raises(OSError, match="MDB_MAP_FULL"), store.write() as writer:
            writer.put(Table.ITEMS, b"a", bytes(1 << 20))
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", b"1")
        with pytest.raises(lmdb.BadValsizeError), store.write() as writer:  # the fault of what was to be written
            writer.put(Table.ITEMS, bytes(600), b"1")
        with store.read() as reader:
            assert list(reader.scan(Table.ITEMS)) == [(b"a", b"1")]


def test_two_objects_of_one_folder_share_it_until_both_are_closed(tmp_path: Path) -> None:
    one, two = LmdbStore(tmp_path), LmdbStore(tmp_path / "." / ".." / tmp_path.name)
    with one.write() as writer:
        writer.put(Table.ITEMS, b"a", b"1")
    one.close()
    one.close()
    with two.read() as reader:
        assert reader.get(Table.ITEMS, b"a") == b"1"
    two.close()
    for use in (one.read, two.write):
        with pytest.raises(StoreUseError, match="was closed"), use():
            pass


def test_a_thread_that_would_wait_for_itself_is_told(tmp_path: Path) -> None:
    with LmdbStore(tmp_path) as store, LmdbStore(tmp_path) as same, store.write() as writer:
        with pytest.raises(StoreUseError, match="writing already"), same.write():
            pass
        writer.put(Table.ITEMS, b"a", b"1")
    with LmdbStore(tmp_path) as store, store.write() as writer:  # neither is the thread barred for ever
        assert writer.get(Table.ITEMS, b"a") == b"1"


ROUNDS = 200
PAIRS = [b"%d" % number for number in range(20)]


def _watch(path: Path, found: "multiprocessing.Queue[tuple[int, int]]") -> None:
    """Read until the last round is seen; report how many states there were, and how many not of one round."""
    seen, torn = set(), 0
    with LmdbStore(path) as store:
        while True:
            with store.read() as reader:
                values = reader.get_many(Table.ITEMS, PAIRS) + [value for _, value in reader.scan(Table.VECTORS)]
            torn += len(set(values)) > 1
            seen.add(values[0])
            if values[0] == b"%d" % ROUNDS:
                break
    found.put((len(seen), torn))


def test_other_processes_read_whole_states_while_one_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[tuple[int, int]] = context.Queue()
    with LmdbStore(tmp_path) as store:

        def write(number: int) -> None:
            with store.write() as writer:
                for table in (Table.ITEMS, Table.VECTORS):
                    writer.put_many(table, [(key, b"%d" % number) for key in PAIRS])

        write(0)
        readers = [context.Process(target=_watch, args=(tmp_path, found)) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(1, ROUNDS + 1):
            write(number)
        results = [found.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join()
    assert [torn for _, torn in results] == [0, 0]


DIES = """
import os, signal, sys
from pathlib import Path
from assets.serving.store.interface import Table
from assets.serving.store.lmdb_store import LmdbStore
store = LmdbStore(Path(sys.argv[1]))
def fill(writer, value):
    writer.put_many(Table.VECTORS, [(b"%06d" % number, value * 1000) for number in range(20_000)])
    writer.put(Table.LEDGER, b"batch", value)
with store.write() as writer:
    fill(writer, b"1")
if sys.argv[2] == "reading":
    reader = store.read()
    reader.__enter__()
else:
    writer = store.write()
    fill(writer.__enter__(), b"2")  # 20 MB: part of it has left the process by now
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("while_", ["writing", "reading"])
def test_a_killed_process_leaves_the_last_commit_and_bars_nobody(tmp_path: Path, while_: str) -> None:
    with LmdbStore(tmp_path) as store:  # whoever opens a folder first clears what the dead left anyway
        done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), while_], check=False)
        assert done.returncode == -signal.SIGKILL
        with store.read() as reader:
            assert reader.get(Table.LEDGER, b"batch") == b"1"
            assert {value for _, value in reader.scan(Table.VECTORS)} == {b"1" * 1000}
        sizes = []
        for _ in range(6):
            with store.write() as writer:
                writer.put_many(Table.VECTORS, [(b"%06d" % number, b"3" * 1000) for number in range(20_000)])
            sizes.append((tmp_path / "data.mdb").stat().st_size)
        assert sizes[-1] < 1.1 * sizes[2]  # the pages of old states are used again: no dead reader holds them
        with store.read() as reader:
            assert reader.size(Table.VECTORS) == 20_000


def _in_fork(work: Callable[[], bool]) -> bool:
    if not (child := os.fork()):
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_a_forked_process_is_told_not_to_use_what_is_open(tmp_path: Path) -> None:
    with LmdbStore(tmp_path) as store:

        def refused() -> bool:
            for mine in (store, LmdbStore(tmp_path)):
                for use in (mine.read, mine.write):
                    with pytest.raises(StoreUseError, match="forked"), use():
                        pass
            return True

        assert _in_fork(refused)
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", b"1")
