"""Writing the next state of a Redis server.

Changes are collected here and sent as one MULTI/EXEC, which happens as a whole or not at all, with the undo record that
readers of the former state take (:mod:`.redis_transactions`).
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from assets.serving.store.interface import StoreFaultError, Table, Writer
from assets.serving.store.records import LONGEST_KEY
from assets.serving.store.redis_names import ABSENT, PRESENT, Names
from assets.serving.store.redis_transactions import Layer, LayeredReader, Server, parts


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
    for part in parts(key for key, _ in kept if old[key] is None):
        pipe.execute_command("ZADD", names.keys(table), *chain.from_iterable((0, key) for key in part))
    for part in parts(gone):
        pipe.hdel(names.values(table), *part)
        pipe.zrem(names.keys(table), *part)


def _set(pipe: Any, name: str, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    for part in parts(pairs):
        pipe.execute_command("HSET", name, *chain.from_iterable(part))


def _on_server(server: Server, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    for part in parts(keys):
        found.update(zip(part, server.client.hmget(server.names.values(table), part), strict=True))
    return found


def _undo_value(old: bytes | None) -> bytes:
    return ABSENT if old is None else PRESENT + old
