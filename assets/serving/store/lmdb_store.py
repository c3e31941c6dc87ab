"""The embedded store: LMDB. Readers of any process see the last commit, without locks, while one process writes.

Chosen over SQLite (readers and writers share a page cache and a WAL to checkpoint; a get costs a statement) and over
RocksDB-like stores (one process only). A commit is one fsync; after SIGKILL the file holds the last commit.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import lmdb

from assets.serving.store.interface import KeyValueStore, Reader, StoreFaultError, StoreUseError, Table, Writer

MAP_SIZE = 1 << 40
"""Address space, not disk: the file grows as it is written."""

MAX_READERS = 512


class LmdbReader(Reader):
    def __init__(self, transaction: lmdb.Transaction, tables: dict[Table, Any]) -> None:
        self._transaction = transaction
        self._tables = tables

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        database, get = self._tables[table], self._transaction.get
        return [get(key, None, database) for key in keys]

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


@dataclass
class _Shared:
    """What a process has open of one folder."""

    environment: lmdb.Environment
    tables: dict[Table, Any]
    users: int = 0
    process: int = field(default_factory=os.getpid)
    writing: threading.local = field(default_factory=threading.local)


class LmdbStore(KeyValueStore):
    """A store in the folder ``path``, made if it is not there.

    LMDB allows a process to open a folder once; objects for the same folder in one process share that one. What is open
    must not be used by a forked process.
    """

    _open: ClassVar[dict[Path, _Shared]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._closed = False
        with self._lock:
            if self.path not in self._open:
                self._open[self.path] = _open(self.path)
            self._shared = self._open[self.path]
            self._shared.users += 1

    @contextmanager
    def read(self) -> Iterator[Reader]:
        self._require_usable()
        with self._faults(), self._shared.environment.begin() as transaction:
            yield LmdbReader(transaction, self._shared.tables)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        self._require_usable()
        writing = self._shared.writing
        if getattr(writing, "now", False):
            raise StoreUseError(f"{self.path}: this thread is writing already and would wait for itself")
        self._shared.environment.reader_check()  # a killed reader's slot would keep old pages for ever
        with self._faults(), self._shared.environment.begin(write=True) as transaction:
            writing.now = True
            try:
                yield LmdbWriter(transaction, self._shared.tables)
            finally:
                writing.now = False

    def close(self) -> None:
        """Give back what this object holds; transactions must have ended before. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._shared.users -= 1
            if not self._shared.users:
                del self._open[self.path]
                self._shared.environment.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """LMDB's errors as those of the machine, but for a key or value that it cannot hold."""
        try:
            yield
        except lmdb.BadValsizeError:
            raise
        except lmdb.Error as error:
            raise StoreFaultError(f"{self.path}: {error}") from error

    def _require_usable(self) -> None:
        if self._closed:
            raise StoreUseError(f"{self.path}: this store was closed; open it anew")
        if self._shared.process != os.getpid():
            raise StoreUseError(f"{self.path} was opened before this process was forked; start processes by spawn")


def _open(path: Path) -> _Shared:
    path.mkdir(parents=True, exist_ok=True)
    try:
        environment = lmdb.open(str(path), map_size=MAP_SIZE, max_dbs=len(Table), max_readers=MAX_READERS)
    except lmdb.Error as error:
        raise StoreFaultError(f"{path}: the store cannot be opened ({error}): `thaw run` builds it anew") from error
    return _Shared(environment, {table: environment.open_db(table.value.encode()) for table in Table})
