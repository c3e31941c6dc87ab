"""Asking the live index, from Python:

    from assets.config import load_settings
    from assets.serving.retrieval.retriever import Retriever

    settings = load_settings(dataset="movietweetings-100k")
    with Retriever.open(settings.storage, settings) as retriever:
        for answer in retriever.recommend(["42"], k=10, why=True):
            print(answer.user_id, [result.title for result in answer.results])
        retriever.refresh()  # follow what has been embedded since

A retriever reads and never writes. It may be used by many threads, and is one process's own.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Self

import numpy as np

from assets.config import Settings
from assets.ingestion.landing.removed import Removed
from assets.instants import DAY, wall_clock
from assets.serving.live.embedder import seen
from assets.serving.live.generation import Generation, require_current
from assets.serving.retrieval.answers import Recommendations, Similar, Version, listed, reasons
from assets.serving.retrieval.find import Asked, Found, find, nearest
from assets.serving.retrieval.live_index import Followed
from assets.serving.retrieval.serving import RemovedView, Serving, open_serving
from assets.serving.retrieval.switch import Switch
from assets.serving.store.interface import Reader, Table
from assets.serving.store.meta import SEQ, WATERMARK, get_meta
from assets.serving.store.records import id_keys
from assets.serving.vector_index import Float
from assets.storage import Storage
from assets.stream import Int, batches

NO_TEXT: Final = 0xFF
"""First byte of a key that is a digest of an id instead of the id."""


class UnknownItemError(LookupError):
    """An item is not in the index: never heard of, not available yet, or removed."""


class Retriever:
    """Answers from the current generation, and follows it.

    Args:
        storage: of the dataset.
        new_item_days: items available for at most this long count as new.
        opening: opens a generation for queries.

    Raises:
        assets.serving.live.generation.NoIndexError: when there is no index yet.
    """

    def __init__(self, storage: Storage, new_item_days: float, opening: Callable[[Generation], Serving]) -> None:
        self._storage, self._new_item_days, self._opening = storage, new_item_days, opening
        self._removed = RemovedView(storage)
        self._refreshing = threading.Lock()
        self._switch = Switch(opening(require_current(storage)), lambda serving: serving.close())

    @classmethod
    def open(cls, storage: Storage, settings: Settings, clock: Callable[[], int] = wall_clock) -> Self:
        """The retriever of a dataset; close it, or use it as a context."""
        days = settings.freshness.new_item_days
        return cls(storage, days, lambda generation: open_serving(storage, generation, clock))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back once queries under way have ended."""
        self._switch.close()

    @property
    def version(self) -> Version:
        """What the next query is answered from."""
        with self._switch.using() as serving, serving.store.read() as reader:
            return Version(serving.generation.name, serving.index.seq, get_meta(reader, WATERMARK))

    @property
    def lag(self) -> int:
        """Deltas in the store that searches do not see yet."""
        with self._switch.using() as serving, serving.store.read() as reader:
            return max(0, int(get_meta(reader, SEQ, 0)) - serving.index.seq)

    @property
    def size(self) -> int:
        """Items in the index."""
        with self._switch.using() as serving:
            return serving.index.size

    def refresh(self) -> Followed:
        """Follow the store: apply new deltas, or take a new snapshot or generation, opened aside; falsy if none.

        Queries under way end with what they began with. On an error queries go on being answered as before.
        """
        with self._refreshing, self._switch.using() as serving:
            generation = require_current(self._storage)
            if generation.name == serving.generation.name:
                return serving.refresh()
            opened = self._opening(generation)
            self._switch.replace(opened)
            return Followed(reloaded=True, applied=[(opened.index.seq, opened.clock())])

    def probe(self) -> Version:
        """Search the index for the sake of searching it, and say what answered."""
        with self._switch.using() as serving:
            query = np.ones((1, serving.model.index_dimension), np.float32)
            with serving.store.read() as reader, serving.index.reading() as indexed:
                indexed.index.search(query, 1)
                return Version(serving.generation.name, indexed.seq, get_meta(reader, WATERMARK))

    def users(self) -> list[str]:
        """Every user with a history, in order of id; an id of more than 511 bytes cannot be listed, only asked for."""
        with self._switch.using() as serving, serving.store.read() as reader:
            gone = self._removed().users
            known = (key.decode() for key, _ in reader.scan(Table.USER_HISTORIES) if key[0] != NO_TEXT)
            return [user for user in known if user not in gone]

    def embeddings(self, batch: int) -> Iterator[tuple[list[str], Float]]:
        """Every item of the index with its embedding [n, D], the trend left out, ``batch`` at a time.

        An item that is removed meanwhile may be missing.
        """
        with self._switch.using() as serving:
            with serving.index.reading() as indexed:
                ids = indexed.index.ids
            for part in batches(len(ids), batch):
                gone = self._removed().items
                with serving.index.reading() as indexed:
                    there = [item for item in ids[part] if item in indexed.index and item not in gone]
                    vectors = indexed.index.vectors(there)
                yield there, vectors[:, : serving.model.dimension]

    def recommend(
        self,
        users: Sequence[str],
        k: int = 10,
        new_only: bool = False,
        why: bool = False,
        at: datetime | None = None,
    ) -> list[Recommendations]:
        """The best k items for each of ``users``, without what the user engaged with before.

        Args:
            users: known or not; an unknown one gets what is popular.
            k: at least 1; fewer are returned where there are no more.
            new_only: choose among new items alone.
            why: name the items of the user's history that are nearest to each result.
            at: ask as of this instant, for models that read the time of a request; not before the latest engagement.
                ``None``: now, or a day after the latest engagement where that is earlier. It changes neither histories
                nor the catalog.

        Raises:
            ValueError: when k is below 1, or a user id is empty.
            assets.serving.live.requests.InstantError: when ``at`` is too early or has no time zone.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if not all(users):
            raise ValueError("a user id is empty")
        removed = self._removed()
        with self._switch.using() as serving:
            with serving.store.read() as reader:
                asked = self._asked(serving, reader, users, k, new_only, removed, at)
                watermark = get_meta(reader, WATERMARK)
                with serving.index.reading() as indexed:
                    found = find(indexed, serving.catalog, reader, asked, watermark or 0)
                    version = Version(serving.generation.name, indexed.seq, watermark)
            with serving.store.read() as reader:  # later than the index: what it lacks was removed in between
                answer = partial(_answer, serving, reader, version, asked, found, why)
                return [answer(user) for user in users]

    def similar(self, item: str, k: int = 10) -> Similar:
        """The k items nearest to ``item``.

        Raises:
            UnknownItemError: when it is not in the index.
            ValueError: when k is below 1, or the model has no embeddings (a count of engagements).
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        removed = self._removed().items
        with self._switch.using() as serving:
            if not serving.model.dimension:
                raise ValueError(f"{serving.model.name} has no embeddings of items: nothing is similar to anything")
            with serving.index.reading() as indexed:
                if item in removed or item not in indexed.index:
                    raise UnknownItemError(f"item {item!r} is not in the index")
                found, seq = nearest(indexed, serving.model.dimension, item, k, removed), indexed.seq
            with serving.store.read() as reader:
                about = listed(reader, [item, *(other for other, _ in found)])
                watermark = get_meta(reader, WATERMARK)
            version = Version(serving.generation.name, seq, watermark)
            results = [about[other].result(score, watermark) for other, score in found if other in about]
            return Similar(item, about[item].details.title if item in about else None, tuple(results), version)

    def _asked(
        self,
        serving: Serving,
        reader: Reader,
        users: Sequence[str],
        k: int,
        new_only: bool,
        removed: Removed,
        at: datetime | None,
    ) -> Asked:
        distinct = list(dict.fromkeys(users))
        histories = reader.get_many(Table.USER_HISTORIES, id_keys(distinct))
        known = [
            user for user, history in zip(distinct, histories, strict=True) if history and user not in removed.users
        ]
        return Asked(
            users=known,
            queries=serving.user_vectors(reader, known, at),
            others=[user for user in distinct if user not in set(known)],
            seen=dict(zip(distinct, seen(reader, distinct), strict=True)),
            removed=removed.items,
            k=k,
            among=self._new(serving, reader) if new_only else None,
        )

    def _new(self, serving: Serving, reader: Reader) -> Int:
        """Numbers of new items."""
        watermark = get_meta(reader, WATERMARK)
        if watermark is None:
            return np.empty(0, np.int64)
        return serving.catalog.new(int(watermark - self._new_item_days * DAY), watermark)


def _answer(
    serving: Serving, reader: Reader, version: Version, asked: Asked, found: dict[str, Found], why: bool, user: str
) -> Recommendations:
    about = listed(reader, [item for item, _ in found[user]])
    has_history = user in asked.users
    explained = reasons(reader, serving.model, user, about, asked.removed) if why and has_history else {}
    unexplained = () if why else None
    results = [
        about[item].result(score, version.watermark, explained.get(item, unexplained))
        for item, score in found[user]
        if item in about
    ]
    return Recommendations(user, has_history, tuple(results), version)
