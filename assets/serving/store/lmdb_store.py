"""The embedded store: LMDB. Readers of any process see the last commit, without locks, while one process writes.

Chosen over SQLite (readers and writers share a page cache and a WAL to checkpoint; a get costs a statement) and over
RocksDB-like stores (one process only). A commit is one fsync; after SIGKILL the file holds the last commit.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import lmdb

from assets.serving.store.interface import KeyValueStore, Reader, Table, Writer

MAP_SIZE = 1 << 40
"""Address space, not disk: the file grows as it is written."""

MAX_READERS = 512


class StoreInUseError(RuntimeError):
    """The store was closed while somebody still used it."""


class LmdbReader(Reader):
    def __init__(self, transaction: lmdb.Transaction, tables: dict[Table, object]) -> None:
        self._transaction = transaction
        self._tables = tables

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        database, get = self._tables[table], self._transaction.get
        return [get(key, db=database) for key in keys]

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor(self._tables[table]) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return
            for key, value in cursor:
                if stop is not None and key >= stop:
                    return
                yield key, value

    def size(self, table: Table) -> int:
        return int(self._transaction.stat(self._tables[table])["entries"])


class LmdbWriter(LmdbReader, Writer):
    def put_many(self, table: Table, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        with self._transaction.cursor(self._tables[table]) as cursor:
            cursor.putmulti(pairs)

    def delete_many(self, table: Table, keys: Iterable[bytes]) -> None:
        database = self._tables[table]
        for key in keys:
            self._transaction.delete(key, db=database)


class LmdbStore(KeyValueStore):
    """A store in the folder ``path``, made if it is not there.

    LMDB allows a process to open a folder once; objects for the same folder in one process share that one.
    """

    _open: ClassVar[dict[Path, tuple[lmdb.Environment, dict[Table, object], int]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._closed = False
        with self._lock:
            environment, tables, users = self._open.get(self.path) or (*_environment(self.path), 0)
            self._open[self.path] = environment, tables, users + 1
        self._environment, self._tables = environment, tables

    @contextmanager
    def read(self) -> Iterator[Reader]:
        with self._environment.begin() as transaction:
            yield LmdbReader(transaction, self._tables)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        with self._environment.begin(write=True) as transaction:
            yield LmdbWriter(transaction, self._tables)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with self._lock:
            environment, tables, users = self._open[self.path]
            if users > 1:
                self._open[self.path] = environment, tables, users - 1
                return
            del self._open[self.path]
            environment.close()

    def __enter__(self) -> "LmdbStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _environment(path: Path) -> tuple[lmdb.Environment, dict[Table, object]]:
    path.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(str(path), map_size=MAP_SIZE, max_dbs=len(Table), max_readers=MAX_READERS)
    environment.reader_check()  # frees the slots of readers that were killed
    return environment, {table: environment.open_db(table.value.encode()) for table in Table}
