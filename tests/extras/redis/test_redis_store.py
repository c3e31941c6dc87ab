"""The store on a Redis server: the contract of every store, then what a server adds: locks, leases, power cuts."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extras.needs import needs

needs("redis")

import redis  # noqa: E402 - behind the extra

from assets.serving.store import redis_store, redis_transactions  # noqa: E402
from assets.serving.store.interface import StoreFaultError, StoreUseError, Table  # noqa: E402
from assets.serving.store.redis_store import RedisStore  # noqa: E402
from assets.serving.store.redis_transactions import SnapshotExpiredError  # noqa: E402
from tests.assets.serving.live.memory_store import MemoryStore, content  # noqa: E402
from tests.assets.serving.store.contract import KEYS, WRITES, StoreContract, apply_to, torn_states  # noqa: E402
from tests.extras.redis.server import RedisServer, running  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(autouse=True)
def _address(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_REDIS_URL", server.url)


@pytest.fixture
def store() -> Iterator[RedisStore]:
    with RedisStore(uuid.uuid4().hex) as made:
        yield made
        made.drop()


class TestContract(StoreContract):
    pass


def keys_on(store: RedisStore) -> list[bytes]:
    return sorted(store._server.client.scan_iter(f"thaw:{{{store.namespace}}}:*"))


def undo_records(store: RedisStore) -> int:
    return int(store._server.client.zcard(store._server.names.undo))


def test_a_reader_that_has_its_answer_does_not_lose_it_with_the_connection(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise redis.ConnectionError("reset by peer")

    with store.write() as writer:
        writer.put(Table.META, b"key", b"value")
    with store.read() as reader:
        answer = reader.get(Table.META, b"key")
        monkeypatch.setattr(store._server.client, "zrem", broken)
    assert answer == b"value"


TRANSACTIONS = st.lists(st.tuples(WRITES, st.booleans()), max_size=5)


@settings(max_examples=60)
@given(transactions=TRANSACTIONS, page=st.integers(1, 4), bounds=st.tuples(KEYS, KEYS), asked=st.lists(KEYS))
def test_every_reader_keeps_what_dictionaries_keep(
    server: RedisServer,
    transactions: list[tuple[list[tuple[bytes, bytes | None]], bool]],
    page: int,
    bounds: tuple[bytes, bytes],
    asked: list[bytes],
) -> None:
    """A reader per transaction, all read from after the last one: scans in pages, spans, single keys and sizes."""
    memory, mine = MemoryStore(), pytest.MonkeyPatch()
    mine.setenv("THAW_REDIS_URL", server.url)
    mine.setattr(redis_transactions, "KEYS_PER_PAGE", page)
    try:
        with RedisStore(uuid.uuid4().hex) as store:
            held = []
            for writes, commit in transactions:
                for one in (store, memory):
                    apply_to(one, writes, commit)
                pair = [one.read() for one in (store, memory)]
                held.append((pair, [context.__enter__() for context in pair]))
            start, stop = min(bounds), max(bounds)
            for pair, (found, expected) in held:
                assert list(found.scan(Table.SEEN)) == list(expected.scan(Table.SEEN))
                assert list(found.scan(Table.SEEN, start, stop)) == list(expected.scan(Table.SEEN, start, stop))
                assert found.get_many(Table.SEEN, asked) == expected.get_many(Table.SEEN, asked)
                assert found.size(Table.SEEN) == expected.size(Table.SEEN)
                for context in pair:
                    context.__exit__(None, None, None)
            store.drop()
            assert keys_on(store) == []
    finally:
        mine.undo()


@settings(max_examples=40)
@given(before=WRITES, writes=WRITES, asked=st.lists(KEYS), page=st.integers(1, 4))
def test_a_writer_reads_the_server_under_its_own_changes(
    server: RedisServer, before: list, writes: list, asked: list[bytes], page: int
) -> None:
    mine = pytest.MonkeyPatch()
    mine.setenv("THAW_REDIS_URL", server.url)
    mine.setattr(redis_transactions, "KEYS_PER_PAGE", page)
    try:
        with RedisStore(uuid.uuid4().hex) as store:
            memory = MemoryStore()
            for one in (store, memory):
                apply_to(one, before, True)
            with store.write() as writer, memory.write() as expected:
                for key, value in writes:
                    for each in (writer, expected):
                        each.delete_many(Table.SEEN, [key]) if value is None else each.put(Table.SEEN, key, value)
                    assert writer.size(Table.SEEN) == expected.size(Table.SEEN)
                assert list(writer.scan(Table.SEEN)) == list(expected.scan(Table.SEEN))
                assert list(writer.scan(Table.SEEN, b"\x10", b"\xa0")) == list(
                    expected.scan(Table.SEEN, b"\x10", b"\xa0")
                )
                assert writer.get_many(Table.SEEN, asked) == expected.get_many(Table.SEEN, asked)
            assert content(store) == content(memory)
            store.drop()
    finally:
        mine.undo()


def test_requests_and_pages_smaller_than_what_is_asked_for(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_transactions, "KEYS_PER_REQUEST", 7)
    monkeypatch.setattr(redis_transactions, "KEYS_PER_PAGE", 10)
    pairs = [(b"%03d" % number, b"v%d" % number) for number in range(100)]
    with store.write() as writer:
        writer.put_many(Table.ITEMS, pairs)
    with store.read() as reader:
        scan = reader.scan(Table.ITEMS)
        first = [next(scan) for _ in range(15)]
        with store.write() as writer:
            writer.delete_many(Table.ITEMS, [key for key, _ in pairs[::2]])
            writer.put_many(Table.ITEMS, [(b"0500", b"new"), (b"099", b"new")])
        assert first + list(scan) == pairs
        assert reader.get_many(Table.ITEMS, [key for key, _ in pairs]) == [value for _, value in pairs]
    with store.read() as reader:
        assert reader.size(Table.ITEMS) == 51


def test_undo_records_live_as_long_as_a_reader_needs_them(store: RedisStore) -> None:
    def commit(value: bytes) -> None:
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", value)

    commit(b"1")
    assert undo_records(store) == 0
    with store.read() as old:
        commit(b"2")
        with store.read() as young:
            commit(b"3")
            assert undo_records(store) == 2
            assert (old.get(Table.ITEMS, b"a"), young.get(Table.ITEMS, b"a")) == (b"1", b"2")
    commit(b"4")
    assert undo_records(store) == 0
    assert len(keys_on(store)) == 4  # values, their order, version, fence


def test_a_reader_that_stood_still_is_told_and_never_sees_two_states(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "LEASE_SECONDS", 0.0)
    with store.write() as writer:
        writer.put(Table.ITEMS, b"a", b"1")
    with store.read() as reader:
        assert reader.get(Table.ITEMS, b"a") == b"1"
        time.sleep(1.1)  # leases end to the second
        with store.write() as writer:
            writer.put(Table.ITEMS, b"a", b"2")
        for ask in (
            lambda: reader.get(Table.ITEMS, b"a"),
            lambda: reader.size(Table.ITEMS),
            lambda: list(reader.scan(Table.ITEMS)),
        ):
            with pytest.raises(SnapshotExpiredError, match="read again"):
                ask()


def test_a_reader_in_use_prolongs_its_lease(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "LEASE_SECONDS", 6.0)
    with store.write() as writer:
        writer.put(Table.ITEMS, b"a", b"1")
    with store.read() as reader:
        for value in range(8):
            time.sleep(1.0)  # all of them last longer than a lease; one is short of it by seconds
            assert reader.get(Table.ITEMS, b"a") == b"1"
            with store.write() as writer:
                writer.put(Table.ITEMS, b"a", b"x%d" % value)
        assert reader.get(Table.ITEMS, b"a") == b"1"


def test_a_removed_store_is_not_read_as_an_empty_one(store: RedisStore) -> None:
    with store.write() as writer:
        writer.put(Table.ITEMS, b"a", b"1")
    with store.read() as reader:
        store.drop()
        with pytest.raises(StoreFaultError, match="was removed"):
            reader.get(Table.ITEMS, b"a")


def test_a_writer_that_lost_its_lock_cannot_commit(store: RedisStore) -> None:
    names, client = store._server.names, store._server.client
    with pytest.raises(StoreFaultError, match="lost its lock"), store.write() as late:  # noqa: PT012
        late.put(Table.ITEMS, b"a", b"late")
        client.delete(names.lock)  # as if it had stood still until the lock ended by itself
        with RedisStore(store.namespace) as other:
            thread = threading.Thread(target=apply_to, args=(other, [(b"b", b"other")], True))
            thread.start()
            thread.join()
    assert content(store)[Table.ITEMS] == []
    assert content(store)[Table.SEEN] == [(b"b", b"other")]


def test_a_writer_keeps_its_lock_while_it_lives(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "LOCK_SECONDS", 1.0)
    done: list[float] = []

    def other() -> None:
        apply_to(store, [(b"b", b"other")], True)
        done.append(time.monotonic())

    with store.write() as writer:
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(3.0)
        writer.put(Table.ITEMS, b"a", b"1")
        left = time.monotonic()
    thread.join()
    assert done[0] > left
    assert content(store)[Table.ITEMS] == [(b"a", b"1")]


DIES = """
import os, signal, sys
from assets.serving.store.interface import Table
from assets.serving.store import redis_store
redis_store.LOCK_SECONDS = 1.0
store = redis_store.RedisStore(sys.argv[1])
writer = store.write().__enter__() if sys.argv[2] == "writing" else store.read().__enter__()
if sys.argv[2] == "writing":
    writer.put(Table.ITEMS, b"a", b"2")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("while_", ["writing", "reading"])
def test_a_killed_process_leaves_the_last_commit_and_bars_nobody_for_long(store: RedisStore, while_: str) -> None:
    with store.write() as writer:
        writer.put(Table.ITEMS, b"a", b"1")
    done = subprocess.run([sys.executable, "-c", DIES, store.namespace, while_], check=False)
    assert done.returncode == -signal.SIGKILL
    assert content(store)[Table.ITEMS] == [(b"a", b"1")]
    started = time.monotonic()
    with store.write() as writer:
        writer.put(Table.ITEMS, b"a", b"3")
    assert time.monotonic() - started < 15  # its lock ends after 1 s, others' after 30


def test_other_processes_read_whole_states_while_one_writes(store: RedisStore) -> None:
    assert torn_states(store, RedisStore, store.namespace) == [0, 0]


def test_what_was_committed_survives_the_server_s_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as server:
        monkeypatch.setenv("THAW_REDIS_URL", server.url)
        with RedisStore("s") as store:
            for number in range(20):
                with store.write() as writer:
                    for table in (Table.ITEMS, Table.VECTORS):
                        writer.put(table, b"a", b"%d" % number)
            server.kill()
            with pytest.raises(StoreFaultError, match="THAW_REDIS_URL"), store.read():
                pass
            server.start()
            with store.read() as reader:
                assert [reader.get(table, b"a") for table in (Table.ITEMS, Table.VECTORS)] == [b"19", b"19"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--appendfsync", "everysec"), "appendfsync everysec"),
        (("--appendonly", "no"), "appendonly no"),
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy allkeys-lru"),
    ],
)
def test_a_server_that_may_forget_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], named: str
) -> None:
    with running(tmp_path, *more) as server:
        monkeypatch.setenv("THAW_REDIS_URL", server.url)
        with pytest.raises(StoreFaultError, match=f"{named} and may lose.*: set "):
            RedisStore("s")
        with RedisStore("s", trust_server=True) as store, store.read() as reader:
            assert reader.get(Table.ITEMS, b"a") is None


def test_the_password_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as server:
        monkeypatch.setenv("THAW_REDIS_URL", server.url)
        with RedisStore("s") as store:
            store._server.client.config_set("requirepass", "secret")
        with pytest.raises(StoreFaultError, match="authenticate"):
            RedisStore("s")
        monkeypatch.setenv("THAW_REDIS_PASSWORD", "secret")
        with RedisStore("s") as store, store.read() as reader:
            assert reader.size(Table.ITEMS) == 0


def test_no_address_and_misuse_are_told(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.write(), pytest.raises(StoreUseError, match="writing already"), RedisStore(store.namespace).write():
        pass
    with pytest.raises(ValueError, match="a key of 600 bytes in items"), store.write() as writer:
        writer.put(Table.ITEMS, bytes(600), b"1")
    closed = RedisStore("s")
    closed.close()
    closed.close()
    for use in (closed.read, closed.write):
        with pytest.raises(StoreUseError, match="was closed"), use():
            pass
    monkeypatch.delenv("THAW_REDIS_URL")
    with pytest.raises(StoreFaultError, match="THAW_REDIS_URL is not set"):
        RedisStore("s")


def test_a_forked_process_is_told(store: RedisStore) -> None:
    if not (child := os.fork()):
        try:
            with pytest.raises(StoreUseError, match="forked"), store.read():
                pass
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
