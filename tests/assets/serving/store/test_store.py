"""What every store has to do, run on LMDB and on dictionaries; then LMDB with several processes, some killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.lmdb_store import LmdbStore, StoreUseError
from tests.assets.serving.live.memory_store import MemoryStore, content
from tests.assets.serving.store.contract import WRITES, StoreContract, apply_to, torn_states


@pytest.fixture(params=["lmdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValueStore]:
    made = LmdbStore(tmp_path / "store") if request.param == "lmdb" else MemoryStore()
    yield made
    made.close()


class TestContract(StoreContract):
    pass


@settings(max_examples=25)  # a commit waits for the disk
@given(transactions=st.lists(st.tuples(WRITES, st.booleans()), max_size=5))
def test_lmdb_does_what_dictionaries_do(
    transactions: list[tuple[list[tuple[bytes, bytes | None]], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    memory = MemoryStore()
    with LmdbStore(tmp_path_factory.mktemp("store")) as lmdb:
        for writes, commit in transactions:
            for store in (lmdb, memory):
                apply_to(store, writes, commit)
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


def test_other_processes_read_whole_states_while_one_writes(tmp_path: Path) -> None:
    with LmdbStore(tmp_path) as store:
        assert torn_states(store, LmdbStore, tmp_path) == [0, 0]


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
