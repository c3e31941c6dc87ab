"""The store on a Redis server: chosen by ``store.kind: redis`` where more than one machine has to reach it.

What it promises is what LMDB does (:mod:`.interface`), with these means:

- Readers see one version of all tables, by undo records (:mod:`.redis_transactions`), and never wait. One that asks for
  nothing for :data:`LEASE_SECONDS` may be told to read again; it never sees two versions.
- One writer at a time, by a lock with an end of its own that a living writer prolongs. A writer that stood still for
  longer, so that another one took over, cannot commit: the lock's number fences it off.
- A commit is one MULTI/EXEC. It is durable when the block ends if the server syncs every write (``appendonly yes``,
  ``appendfsync always``), which opening checks.

The address is ``THAW_REDIS_URL`` (``redis://``, ``rediss://`` or ``unix://``), the password ``THAW_REDIS_PASSWORD``.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Final

from assets.serving.store.interface import KeyValueStore, Reader, StoreFaultError, StoreUseError, Table, Writer
from assets.serving.store.redis_names import BEGIN_READING, IF_MINE, LIVE_READERS, LOCK, Names
from assets.serving.store.redis_transactions import Layer, RedisReader, Server
from assets.serving.store.redis_writer import RedisWriter

if TYPE_CHECKING:
    import redis

URL: Final = "THAW_REDIS_URL"
PASSWORD: Final = "THAW_REDIS_PASSWORD"

LEASE_SECONDS: Final = 600.0
"""A reader that asks for nothing for so long counts as dead, and the undo records it needs may go."""

LOCK_SECONDS: Final = 30.0
"""A writer that died bars others for at most so long."""

FIRST_WAIT, LONGEST_WAIT = 0.002, 0.1
"""Seconds between two attempts to get the lock: twice as long each time."""

WANTED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


class RedisStore(KeyValueStore):
    """The store called ``namespace`` on the server that the environment names.

    Args:
        namespace: every key of the store begins with it.
        trust_server: do not ask the server whether it syncs every write and evicts nothing.

    Raises:
        StoreFaultError: when there is no address, the server cannot be reached, or it may lose what it was given.
    """

    _writing: ClassVar[threading.local] = threading.local()

    def __init__(self, namespace: str, trust_server: bool = False) -> None:
        self.namespace = namespace
        self._process, self._closed = os.getpid(), False
        self._server = Server(connect(), Names(namespace))
        with self._faults():
            if not trust_server:
                require_durable(self._server.client)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        self._require_usable()
        client, names = self._server.client, self._server.names
        lease = int(LEASE_SECONDS * 1000)
        with self._faults():
            member = client.eval(BEGIN_READING, 2, names.version, names.readers, uuid.uuid4().hex, lease)
            try:
                yield _LeasedReader(self._server, bytes(member))
            finally:
                with suppress(Exception):  # the reader has its answer, and its lease ends by itself
                    client.zrem(names.readers, member)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        self._require_usable()
        held = self._writing.__dict__.setdefault("names", set())
        if self.namespace in held:
            raise StoreUseError(f"{self.namespace}: this thread is writing already and would wait for itself")
        held.add(self.namespace)
        try:
            with self._faults(), self._locked() as fence:
                writer = RedisWriter(self._server)
                yield writer
                if writer.commit(fence) is not None:
                    self._trim()
        finally:
            held.discard(self.namespace)

    def close(self) -> None:
        """Give back the connections; transactions must have ended before. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._server.client.close()

    def drop(self) -> None:
        """Delete the store from the server. A reader that has it open is told so with its next request."""
        names, client = self._server.names, self._server.client
        with self._faults():
            kept = [int(number) for number in client.zrange(names.undo, 0, -1)]
            for version in kept:
                client.unlink(*names.undone(version))
            client.unlink(*names.fixed())

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The writer's lock, prolonged until the block ends; its fencing number."""
        client, names = self._server.client, self._server.names
        me, span = uuid.uuid4().hex, int(LOCK_SECONDS * 1000)
        wait = FIRST_WAIT
        while not (fence := int(client.eval(LOCK, 2, names.lock, names.fence, me, span))):
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        over = threading.Event()

        def prolong() -> None:
            while not over.wait(LOCK_SECONDS / 3):
                with suppress(Exception):  # the commit finds out whether the lock was lost
                    client.eval(IF_MINE, 1, names.lock, me, str(span))

        beat = threading.Thread(target=prolong, daemon=True, name="thaw-redis-lock")
        beat.start()
        try:
            yield fence
        finally:
            over.set()
            with suppress(Exception):  # it ends by itself
                client.eval(IF_MINE, 1, names.lock, me, "0")

    def _trim(self) -> None:
        """Delete the undo records that no reader needs.

        None that begins meanwhile can need them: it begins at the version just committed or later.
        """
        client, names = self._server.client, self._server.names
        readers = client.eval(LIVE_READERS, 1, names.readers)
        oldest = min((_version_of(member) for member in readers), default=None)
        latest = "+inf" if oldest is None else str(oldest)
        for number in client.zrangebyscore(names.undo, "-inf", latest):
            self._server.atomic(("UNLINK", *names.undone(int(number))), ("ZREM", names.undo, number))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Redis' errors as those of the machine."""
        import redis  # noqa: PLC0415 - an extra

        try:
            yield
        except redis.RedisError as error:
            raise StoreFaultError(f"Redis ({URL}), store {self.namespace}: {error}") from error

    def _require_usable(self) -> None:
        if self._closed:
            raise StoreUseError(f"{self.namespace}: this store was closed; open it anew")
        if self._process != os.getpid():
            raise StoreUseError(f"{self.namespace} was opened before this process was forked; start processes by spawn")


class _LeasedReader(RedisReader):
    """A reader that prolongs its lease while it is used."""

    def __init__(self, server: Server, member: bytes) -> None:
        super().__init__(server, _version_of(member))
        self._member, self._renewed = member, time.monotonic()

    def _layer(self, table: Table, version: int) -> Layer:
        if time.monotonic() - self._renewed > LEASE_SECONDS / 4:
            until = int((int(self._server.client.time()[0]) + LEASE_SECONDS) * 1000)
            self._server.client.zadd(self._names.readers, {self._member: until})
            self._renewed = time.monotonic()
        return super()._layer(table, version)


def connect() -> "redis.Redis":
    """A client for the server that the environment names.

    Raises:
        StoreFaultError: when it names none, or the extra is missing.
    """
    address = os.environ.get(URL)
    if not address:
        raise StoreFaultError(
            f"store.kind is redis and {URL} is not set: set it to redis://host:port/0 or unix:///path"
        )
    try:
        import redis  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StoreFaultError("store.kind is redis and its client is not installed: pip install .[redis]") from error
    secret = os.environ.get(PASSWORD)
    return redis.Redis.from_url(address, **({"password": secret} if secret else {}))


def require_durable(client: "redis.Redis") -> None:
    """Refuse a server that forgets a commit when it is killed, or drops values when its memory is full.

    Raises:
        StoreFaultError: naming the settings to change.
    """
    import redis  # noqa: PLC0415 - an extra

    try:
        found = {name: str(client.config_get(name).get(name)) for name in WANTED}
    except redis.ResponseError as error:
        raise StoreFaultError(
            f"Redis ({URL}) does not say whether it syncs every write ({error}): see that it has"
            f" {_lines(WANTED)} and set store.trust_server"
        ) from error
    wrong = {name: value for name, value in found.items() if value != WANTED[name]}
    if wrong:
        wanted = {name: WANTED[name] for name in wrong}
        raise StoreFaultError(
            f"Redis ({URL}) has {_lines(wrong)} and may lose a commit or a value: set {_lines(wanted)} there"
        )


def _lines(settings: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _version_of(member: bytes) -> int:
    return int(bytes(member).partition(b":")[0])
