"""The index that answers while it is updated: it follows a store's snapshot and deltas.

A search sees whole deltas only and never waits for one (:mod:`.twin`). A newer snapshot, which a compaction, a new
epoch or a retrained quantizer makes, is loaded aside and put in place in one step; deltas wait while it loads.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.serving.engines import Engines, load_saved_index
from assets.serving.exact_index import ExactIndex
from assets.serving.index_file import IndexFileError
from assets.serving.retrieval.twin import Twin
from assets.serving.served_index import ServedIndex
from assets.serving.store.deltas import Delta, deltas_after
from assets.serving.store.interface import KeyValueStore
from assets.serving.store.meta import SNAPSHOT, get_meta
from assets.serving.vector_index import Exclude, Float, SearchResult

LOADS = 5
"""Times to try while snapshots are replaced faster than they are loaded."""


class LiveIndexError(RuntimeError):
    """The store's snapshot and deltas do not make an index; the message says what to do."""


@dataclass
class Indexed:
    """An index, and the number of the last delta it holds."""

    index: ServedIndex
    seq: int


@dataclass(frozen=True)
class Followed:
    """What :meth:`LiveIndex.refresh` brought.

    Attributes:
        reloaded: whether a snapshot was loaded; then items outside of ``touched`` may have changed too.
        applied: per delta, its number and when searches saw it first; of a snapshot, the last number that it holds.
        touched: items that the deltas added, replaced or removed.
    """

    reloaded: bool = False
    applied: list[tuple[int, int]] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.reloaded or bool(self.applied)


class LiveIndex:
    """Follows one generation's store. Any number of threads may search; :meth:`refresh` is called by whoever wants.

    Two copies of the index are held, three while a snapshot is loaded (about 400 MB each for a million items of
    dimension 64).

    Args:
        store: holds META's SNAPSHOT and the deltas.
        snapshots: folder of the snapshot files.
        clock: wall clock, microseconds.
        engines: what holds the index; by default files alone.

    Raises:
        LiveIndexError: when there is no snapshot, or when deltas are missing.
        assets.serving.index_file.IndexFileError: when the snapshot is damaged.
    """

    def __init__(
        self, store: KeyValueStore, snapshots: Path, clock: Callable[[], int], engines: Engines | None = None
    ) -> None:
        self._engines = engines or Engines()
        self._store, self._folder, self._clock = store, snapshots, clock
        self._refreshing = threading.Lock()
        self._damaged = False
        self._snapshot, self._twin = self._load()

    @property
    def seq(self) -> int:
        """Number of the last delta that searches see."""
        with self.reading() as indexed:
            return indexed.seq

    @property
    def size(self) -> int:
        """Number of items."""
        with self.reading() as indexed:
            return indexed.index.size

    def reading(self) -> AbstractContextManager[Indexed]:
        """The index as of one delta, until the block ends; for reading only. Keep blocks short: updates wait."""
        return self._twin.reading()

    def search(self, queries: Float, k: int, exclude: Exclude | None = None) -> SearchResult:
        """See :meth:`assets.serving.vector_index.VectorIndex.search`."""
        with self.reading() as indexed:
            return indexed.index.search(queries, k, exclude)

    def search_among(self, ids: Sequence[str], queries: Float, k: int, exclude: Exclude | None = None) -> SearchResult:
        """Exact search among ``ids`` alone; those that are not in the index are passed over."""
        with self.reading() as indexed:
            return search_among(indexed.index, ids, queries, k, exclude)

    def refresh(self) -> Followed:
        """Bring the index to the store's latest state; falsy when it is there already.

        Raises:
            LiveIndexError: as for the constructor; searches go on with what they had.
        """
        with self._refreshing:
            with self._store.read() as reader:
                snapshot = get_meta(reader, SNAPSHOT)
                behind = self._damaged or snapshot != self._snapshot
                deltas = [] if behind else deltas_after(reader, self.seq)
            if behind or not _consecutive(deltas, self.seq):
                return self._reload()
            return self._follow(deltas)

    def _follow(self, deltas: Sequence[Delta]) -> Followed:
        followed = Followed()
        for delta in deltas:
            with self.reading() as indexed:
                change = indexed.index.prepare(delta.ids, delta.vectors, delta.removed)

            def apply(indexed: Indexed, change: Any = change, seq: int = delta.seq) -> None:
                indexed.index.apply(change)
                indexed.seq = seq

            def published(seq: int = delta.seq) -> None:
                followed.applied.append((seq, self._clock()))

            self._damaged = True  # until both copies have it
            self._twin.write(apply, published)
            self._damaged = False
            followed.touched.extend([*delta.ids, *delta.removed])
        return followed

    def _reload(self) -> Followed:
        self._snapshot, self._twin = self._load()
        self._damaged = False
        return Followed(reloaded=True, applied=[(self.seq, self._clock())])

    def _load(self) -> tuple[dict[str, Any], Twin[Indexed]]:
        """The latest snapshot with every delta after it."""
        for _ in range(LOADS):
            with self._store.read() as reader:
                snapshot = get_meta(reader, SNAPSHOT)
            if snapshot is None:
                raise LiveIndexError(
                    f"the store beside {self._folder} has no snapshot yet: materialize serving/item_index"
                )
            if (copies := self._read_copies(snapshot)) and self._catch_up(copies):
                return snapshot, Twin(*copies)
        raise LiveIndexError(f"{self._folder / snapshot['file']} is missing, or deltas after it: run `thaw run` again")

    def _read_copies(self, snapshot: dict[str, Any]) -> tuple[Indexed, Indexed] | None:
        """Two copies; ``None`` where the snapshot was replaced by a newer one meanwhile."""
        try:
            first, second = (load_saved_index(self._engines, self._folder / snapshot["file"]) for _ in range(2))
        except FileNotFoundError:
            return None
        except IndexFileError:
            with self._store.read() as reader:
                replaced = get_meta(reader, SNAPSHOT) != snapshot
            if replaced:  # what its file names on a server was dropped with it
                return None
            raise
        first.threads = second.threads = 1  # searches run beside each other instead
        return Indexed(first, int(snapshot["seq"])), Indexed(second, int(snapshot["seq"]))

    def _catch_up(self, copies: tuple[Indexed, Indexed]) -> bool:
        """Apply what came after the snapshot; false where a newer snapshot has taken it in meanwhile."""
        with self._store.read() as reader:
            deltas = deltas_after(reader, copies[0].seq)
            if get_meta(reader, SNAPSHOT)["seq"] > copies[0].seq or not _consecutive(deltas, copies[0].seq):
                return False
        for delta in deltas:
            change = copies[0].index.prepare(delta.ids, delta.vectors, delta.removed)
            for copy in copies:
                copy.index.apply(change)
                copy.seq = delta.seq
        return True


def search_among(
    index: ServedIndex, ids: Sequence[str], queries: Float, k: int, exclude: Exclude | None = None
) -> SearchResult:
    """Exact search among those of ``ids`` that are in ``index``."""
    known = [item for item in dict.fromkeys(ids) if item in index]
    exact = ExactIndex(index.dimension)
    exact.build(known, index.vectors(known))
    return exact.search(queries, k, exclude)


def _consecutive(deltas: Sequence[Delta], seq: int) -> bool:
    return all(delta.seq == seq + place for place, delta in enumerate(deltas, start=1))
