"""Reading one state of a Redis server and writing the next.

A reader keeps the state of its beginning without copying it: the server holds the latest state, and every commit leaves
an undo record of what it replaced until no reader is older. A reader that finds a later version than its own takes the
undo records in between, the earliest word on a key counts, and lays them over what it read. Each request reads data
and version in one step of the server, so that the two belong together.

A writer collects its changes here and sends them as one MULTI/EXEC, which happens as a whole or not at all.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from assets.serving.store.interface import Reader, StoreFaultError, Table, Writer
from assets.serving.store.records import LONGEST_KEY
from assets.serving.store.redis_names import ABSENT, PAGE, PRESENT, Names

if TYPE_CHECKING:
    import redis

KEYS_PER_REQUEST: Final = 5000
"""The server does nothing else during a request: 5,000 values of 100 bytes take it about 2 ms."""

KEYS_PER_PAGE: Final = 1000

Layer = Mapping[bytes, bytes | None]
"""What lies over the server's latest state; ``None``: there is no such key."""


class SnapshotExpiredError(StoreFaultError):
    """A reader stood still for longer than its lease, and what it needs is gone."""


@dataclass(frozen=True)
class Server:
    """A connection, and where on the server the store lies."""

    client: "redis.Redis"
    names: Names

    def atomic(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Several commands with nothing in between."""
        pipe = self.client.pipeline(transaction=True)
        for command in commands:
            pipe.execute_command(*command)
        replies: list[Any] = pipe.execute()
        return replies


class LayeredReader(Reader):
    """The server's latest state under a layer that subclasses bring up to a version."""

    def __init__(self, server: Server) -> None:
        self._server, self._names = server, server.names

    @abstractmethod
    def _layer(self, table: Table, version: int) -> Layer:
        """What to lay over data that was read at ``version`` or before."""

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        wanted = list(dict.fromkeys(map(bytes, keys)))
        found = self._fetch(table, wanted)
        return [found[bytes(key)] for key in keys]

    def _fetch(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        latest = 0
        for start in range(0, len(keys), KEYS_PER_REQUEST):
            part = keys[start : start + KEYS_PER_REQUEST]
            version, values = self._server.atomic(
                ("GET", self._names.version), ("HMGET", self._names.values(table), *part)
            )
            latest = int(version or 0)
            found.update(zip(part, values, strict=True))
        layer = self._layer(table, latest) if keys else {}
        return {key: layer.get(key, value) for key, value in found.items()} if layer else found

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        lower, after = (b"[" + start if start else b"-"), None
        upper = b"+" if stop is None else b"(" + stop
        names = [self._names.version, self._names.keys(table), self._names.values(table)]
        more = True
        while more:
            version, keys, values = self._server.client.eval(PAGE, 3, *names, lower, upper, KEYS_PER_PAGE)
            more = len(keys) == KEYS_PER_PAGE
            until = keys[-1] if more else None  # this page speaks for everything up to it
            found = dict(zip(keys, values, strict=True))
            layer = self._layer(table, int(version))
            if layer:
                _lay_over(found, layer, _Span(start, after, until, stop))
            yield from sorted(found.items())
            if more:
                after, lower = until, b"(" + keys[-1]


@dataclass(frozen=True)
class _Span:
    """The keys that a page of a scan speaks for."""

    start: bytes
    after: bytes | None
    until: bytes | None
    stop: bytes | None

    def __contains__(self, key: bytes) -> bool:
        if key < self.start or (self.after is not None and key <= self.after):
            return False
        return (self.until is None or key <= self.until) and (self.stop is None or key < self.stop)


def _lay_over(found: dict[bytes, bytes], layer: Layer, span: _Span) -> None:
    for key, value in layer.items():
        if key not in span:
            continue
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value


class RedisReader(LayeredReader):
    """The state of one version, whatever is committed meanwhile.

    Args:
        server: that it reads.
        version: whose state it is; it is registered as a reader of it.
    """

    def __init__(self, server: Server, version: int) -> None:
        super().__init__(server)
        self._version = version
        self._before: dict[Table, dict[bytes, bytes | None]] = {table: {} for table in Table}
        self._undone = dict.fromkeys(Table, version)

    def size(self, table: Table) -> int:
        version, count = self._server.atomic(("GET", self._names.version), ("HLEN", self._names.values(table)))
        for number in self._later(int(version or 0), self._version):
            mark = self._undo(number, table)[0]
            if table.value.encode() in mark:
                return int(mark[table.value.encode()])  # the first later commit that changed it says what it was
        return int(count)

    def _layer(self, table: Table, version: int) -> Layer:
        before = self._before[table]
        for number in self._later(version, self._undone[table]):
            for key, value in self._undo(number, table)[1].items():
                before.setdefault(key, None if value == ABSENT else value[1:])
            self._undone[table] = number
        return before

    def _later(self, version: int, seen: int) -> range:
        if version < self._version:
            raise SnapshotExpiredError(
                f"store {self._names.namespace} was removed while it was read: its generation no longer serves"
            )
        return range(seen + 1, version + 1)

    def _undo(self, number: int, table: Table) -> list[dict[bytes, bytes]]:
        found = self._server.atomic(
            ("HGETALL", self._names.mark(number)), ("HGETALL", self._names.before(number, table))
        )
        mark, before = (_as_dict(each) for each in found)
        if not mark:
            raise SnapshotExpiredError(
                f"store {self._names.namespace}: this reader began at version {self._version} and commit {number}"
                " can no longer be undone, because it asked for nothing while its lease ended: read again"
            )
        return [mark, before]


class RedisWriter(LayeredReader, Writer):
    """The latest state and its own changes, until :meth:`commit` sends them."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._changes: dict[Table, dict[bytes, bytes | None]] = {table: {} for table in Table}
        self._old: dict[Table, dict[bytes, bytes | None]] = {table: {} for table in Table}

    def put_many(self, table: Table, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        changes = self._changes[table]
        for key, value in pairs:
            if not 0 < len(key) <= LONGEST_KEY:
                raise ValueError(f"a key of {len(key)} bytes in {table}: keys have 1 to {LONGEST_KEY}")
            changes[bytes(key)] = bytes(value)

    def delete_many(self, table: Table, keys: Iterable[bytes]) -> None:
        self._changes[table].update(dict.fromkeys(map(bytes, keys)))

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        changes = self._changes[table]
        wanted = list(dict.fromkeys(key for key in map(bytes, keys) if key not in changes))
        found = self._fetch(table, wanted)
        self._old[table].update(found)  # what is read is often written next, and a commit needs what it replaces
        return [changes[key] if key in changes else found[key] for key in map(bytes, keys)]

    def size(self, table: Table) -> int:
        changes, old = self._changes[table], self._replaced(table)
        grown = sum((value is not None) - (old[key] is not None) for key, value in changes.items())
        return int(self._server.client.hlen(self._names.values(table))) + grown

    def _layer(self, table: Table, version: int) -> Layer:  # noqa: ARG002 - a writer has one layer
        return self._changes[table]

    def _replaced(self, table: Table) -> dict[bytes, bytes | None]:
        """What is on the server under the keys that change."""
        changes, old = self._changes[table], self._old[table]
        missing = [key for key in changes if key not in old]
        if missing:
            old.update(_on_server(self._server, table, missing))
        return old

    def commit(self, fence: int) -> int | None:
        """Send the changes in one transaction; its number, ``None`` where there was nothing to change.

        Args:
            fence: the number that this writer's lock was given.

        Raises:
            StoreFaultError: when another writer has taken over, or the connection broke. Then the server holds all
                changes or none.
        """
        import redis  # noqa: PLC0415 - an extra

        changed = [table for table in Table if self._changes[table]]
        if not changed:
            return None
        old = {table: self._replaced(table) for table in changed}
        pipe = self._server.client.pipeline(transaction=True)
        try:
            pipe.watch(self._names.fence)
            if int(pipe.get(self._names.fence) or 0) != fence:
                raise redis.WatchError("another writer has the lock")
            version = int(pipe.get(self._names.version) or 0) + 1
            sizes = {table: int(pipe.hlen(self._names.values(table))) for table in changed}
            pipe.multi()
            for table in changed:
                _send(pipe, self._names, table, self._changes[table], old[table])
                before = ((key, _undo_value(old[table][key])) for key in self._changes[table])
                _set(pipe, self._names.before(version, table), before)
            pipe.hset(self._names.mark(version), mapping={table.value: size for table, size in sizes.items()})
            pipe.zadd(self._names.undo, {str(version): version})
            pipe.set(self._names.version, version)
            pipe.execute()
        except redis.WatchError as error:
            raise StoreFaultError(
                f"store {self._names.namespace}: this writer lost its lock or its connection ({error}): nothing is"
                " half-written; run the step again"
            ) from error
        finally:
            pipe.reset()
        return version


def _send(pipe: Any, names: Names, table: Table, changes: Layer, old: Layer) -> None:
    kept = [(key, value) for key, value in changes.items() if value is not None]
    gone = [key for key, value in changes.items() if value is None and old[key] is not None]
    _set(pipe, names.values(table), kept)
    for part in _parts(key for key, _ in kept if old[key] is None):
        pipe.execute_command("ZADD", names.keys(table), *chain.from_iterable((0, key) for key in part))
    for part in _parts(gone):
        pipe.hdel(names.values(table), *part)
        pipe.zrem(names.keys(table), *part)


def _set(pipe: Any, name: str, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    for part in _parts(pairs):
        pipe.execute_command("HSET", name, *chain.from_iterable(part))


def _parts(values: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(values)
    while part := list(islice(source, KEYS_PER_PAGE)):
        yield part


def _on_server(server: Server, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    for part in _parts(keys):
        found.update(zip(part, server.client.hmget(server.names.values(table), part), strict=True))
    return found


def _undo_value(old: bytes | None) -> bytes:
    return ABSENT if old is None else PRESENT + old


def _as_dict(reply: Any) -> dict[bytes, bytes]:
    """HGETALL's answer: redis-py makes a dictionary of it, or leaves it flat, by the protocol that is spoken."""
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
