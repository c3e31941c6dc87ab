"""An ordered key-value store with transactions: all that the freshness path asks of one.

Any number of readers, each over one consistent state, beside one writer. LMDB stands behind it (:mod:`.lmdb_store`), or
a Redis server (:mod:`.redis_store`). Keys are not empty and have at most 511 bytes;
what keys and values mean is in :mod:`.records`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Self


class StoreFaultError(OSError):
    """The disk, the library or the server failed: no fault of what was to be written."""


class StoreUseError(RuntimeError):
    """The store is used after it was closed or across a fork, or one thread writes within its own write."""


class Table(StrEnum):
    """The tables of a generation's store, with what keys and values are (``no``: an item's number, 4 bytes big-endian).

    META: name -> JSON.
    LEDGER: digest of an applied batch -> JSON, see :class:`assets.serving.live.ledger.LedgerEntry`.
    AWAITING: digest of a batch whose features are written and whose items are not in the index yet -> nothing.
    ROWS: hour (8 bytes big-endian) -> sorted uint64 digests of the rows applied: what repeats are found by.
    NUMBERS: item id -> no.
    ITEMS: no -> one :data:`~assets.serving.store.records.ITEM`.
    DETAILS: no -> JSON: item_id, title, created_at.
    FEATURES: no -> encoded row, see :func:`~assets.serving.store.records.pack_features`.
    ITEM_HISTORIES: no -> :data:`~assets.serving.store.records.ENTRY` array of qualified users, oldest first.
    USERS: user id -> encoded row, as FEATURES; absent for users unknown to the checkpoint without features.
    USER_HISTORIES: user id -> :data:`~assets.serving.store.records.USER_ENTRY` array of items, oldest first.
    SEEN: user id -> ascending int32 numbers of every item engaged with.
    VECTORS: no -> float32 [D] embedding without the trend dimension.
    PENDING: no -> one :data:`~assets.serving.store.records.PENDING`.
    UPCOMING: available_at (8 bytes big-endian, microseconds) + no -> nothing: items that will become available.
    DELTAS: sequence number (8 bytes big-endian) -> :class:`assets.serving.store.deltas.Delta`.
    """

    META = "meta"
    LEDGER = "ledger"
    AWAITING = "awaiting"
    ROWS = "rows"
    NUMBERS = "numbers"
    ITEMS = "items"
    DETAILS = "details"
    FEATURES = "features"
    ITEM_HISTORIES = "item_histories"
    USERS = "users"
    USER_HISTORIES = "user_histories"
    SEEN = "seen"
    VECTORS = "vectors"
    PENDING = "pending"
    UPCOMING = "upcoming"
    DELTAS = "deltas"


class Reader(ABC):
    """One state of the store, whatever is written meanwhile."""

    @abstractmethod
    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of ``keys`` in their order, ``None`` for the unknown."""

    @abstractmethod
    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with ``start <= key < stop`` in order of key (bytes compared from the left)."""

    @abstractmethod
    def size(self, table: Table) -> int:
        """Number of keys."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of one key."""
        return self.get_many(table, [key])[0]


class Writer(Reader):
    """Reads what it has written; nobody else does before it commits."""

    @abstractmethod
    def put_many(self, table: Table, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Add or replace."""

    @abstractmethod
    def delete_many(self, table: Table, keys: Iterable[bytes]) -> None:
        """Remove; unknown keys are passed over."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Add or replace one."""
        self.put_many(table, [(key, value)])


class KeyValueStore(ABC):
    """Transactions over the tables."""

    @abstractmethod
    def read(self) -> AbstractContextManager[Reader]:
        """A consistent state; never waits for the writer."""

    @abstractmethod
    def write(self) -> AbstractContextManager[Writer]:
        """All changes or none: durable when the block ends, gone when it raises or the process dies. One at a time."""

    @abstractmethod
    def close(self) -> None:
        """Give back what this object holds; the data stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
