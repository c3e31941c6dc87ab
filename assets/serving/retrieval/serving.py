"""One generation being served: its store, model, index and catalog, opened together and followed together."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assets.ingestion.landing.removed import Removed, read_removed, removed_path
from assets.serving.live.embedder import user_vectors
from assets.serving.live.generation import Generation, open_generation
from assets.serving.live.model import LiveModel
from assets.serving.live.requests import chosen_instant, request_instant
from assets.serving.retrieval.catalog import Catalog
from assets.serving.retrieval.live_index import Followed, LiveIndex
from assets.serving.store.interface import KeyValueStore, Reader
from assets.serving.vector_index import Float
from assets.storage import Storage


class Serving:
    """A generation that answers queries.

    Args:
        generation: its paths.
        store: its store, open.
        model: its checkpoint.
        clock: wall clock, microseconds.

    Attributes:
        close: gives everything back; nobody may use it any more.

    Raises:
        assets.serving.retrieval.live_index.LiveIndexError: when the generation has no index yet.
    """

    def __init__(
        self, generation: Generation, store: KeyValueStore, model: LiveModel, clock: Callable[[], int]
    ) -> None:
        self.generation, self.store, self.model = generation, store, model
        self.close: Callable[[], None] = lambda: None
        self.clock = clock
        self._unfinished = False
        self.index = LiveIndex(store, generation.snapshots, clock, generation.engines)
        self.catalog = self._read_catalog()

    def refresh(self) -> Followed:
        """Bring index and catalog to the store's latest state.

        After one that failed the catalog is read whole: the index may have gone on, and names what changed only once.
        """
        anew, self._unfinished = self._unfinished, True
        followed = self.index.refresh()
        if anew or followed.reloaded:
            self.catalog = self._read_catalog()
        elif followed:
            with self.store.read() as reader:
                self.catalog = self.catalog.updated(reader, followed.touched)
        self._unfinished = False
        return followed

    def user_vectors(self, reader: Reader, users: Sequence[str], at: datetime | None) -> Float:
        """[B, D] queries for the index, of users who ask as of ``at``; ``None``: now.

        Raises:
            InstantError: when ``at`` cannot be asked as of, see :func:`~assets.serving.live.requests.chosen_instant`.
        """
        instant = request_instant(reader, self.clock()) if at is None else chosen_instant(reader, at)
        return user_vectors(reader, self.model, users, instant)

    def _read_catalog(self) -> Catalog:
        with self.store.read() as reader:
            return Catalog.load(reader, self.model.trend.half_life_days)


def open_serving(storage: Storage, generation: Generation, clock: Callable[[], int]) -> Serving:
    """Open a generation for queries."""
    with ExitStack() as resources:
        opened = resources.enter_context(open_generation(storage, generation))
        serving = Serving(opened.generation, opened.store, opened.model, clock)
        serving.close = resources.pop_all().close
    return serving


@dataclass(frozen=True)
class _Read:
    stamp: tuple[int, int, int] | None
    removed: Removed


class RemovedView:
    """What was removed, from the moment it was said, even where the index has not heard of it yet."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read: _Read | None = None

    def __call__(self) -> Removed:
        """The present users and items; the file is read again when it has changed."""
        stamp = _stamp(removed_path(self._storage))
        if self._read is None or self._read.stamp != stamp:
            self._read = _Read(stamp, read_removed(self._storage))
        return self._read.removed


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
