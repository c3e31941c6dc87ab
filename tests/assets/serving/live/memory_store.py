"""The store as dictionaries: the interface's meaning without a library behind it, and fast enough for many examples."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from assets.serving.store.interface import KeyValueStore, Reader, Table, Writer

State = dict[Table, dict[bytes, bytes]]


class MemoryReader(Reader):
    def __init__(self, state: State) -> None:
        self.state = state

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.state[table].get(bytes(key)) for key in keys]

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self.state[table]):
            if key >= start and (stop is None or key < stop):
                yield key, self.state[table][key]

    def size(self, table: Table) -> int:
        return len(self.state[table])


class MemoryWriter(MemoryReader, Writer):
    def put_many(self, table: Table, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in pairs:
            assert 0 < len(key) <= 511
            self.state[table][bytes(key)] = bytes(value)

    def delete_many(self, table: Table, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.state[table].pop(bytes(key), None)


class MemoryStore(KeyValueStore):
    def __init__(self) -> None:
        self._state: State = {table: {} for table in Table}
        self._writing = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Reader]:
        yield MemoryReader(self._state)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        with self._writing:
            mine = {table: dict(values) for table, values in self._state.items()}
            yield MemoryWriter(mine)
            self._state = mine

    def close(self) -> None:
        pass


def content(store: KeyValueStore, tables: Iterable[Table] = Table) -> dict[Table, list[tuple[bytes, bytes]]]:
    """Everything in ``tables``."""
    with store.read() as reader:
        return {table: list(reader.scan(table)) for table in tables}
