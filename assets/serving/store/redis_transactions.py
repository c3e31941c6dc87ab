"""Reading one state of a Redis server while :mod:`.redis_writer` writes the next.

A reader keeps the state of its beginning without copying it: the server holds the latest state, and every commit leaves
an undo record of what it replaced until no reader is older. A reader that finds a later version than its own takes the
undo records in between, the earliest word on a key counts, and lays them over what it read. Each request reads data
and version in one step of the server, so that the two belong together.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from assets.serving.store.interface import Reader, StoreFaultError, Table
from assets.serving.store.redis_names import ABSENT, PAGE, Names

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


def parts(values: Iterable[Any]) -> Iterator[list[Any]]:
    """The values, as many at a time as go into one command."""
    source = iter(values)
    while part := list(islice(source, KEYS_PER_PAGE)):
        yield part


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


def _as_dict(reply: Any) -> dict[bytes, bytes]:
    """HGETALL's answer: redis-py makes a dictionary of it, or leaves it flat, by the protocol that is spoken."""
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
