"""What a retrieval answers with, and what the store tells of the items in it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assets.instants import DAY
from assets.serving.live.embedder import stored_vectors
from assets.serving.live.items import Details, item_details
from assets.serving.live.model import LiveModel
from assets.serving.store.interface import Reader, Table
from assets.serving.store.records import NEVER, USER_ENTRY, id_keys, new_items, numbers_of, unpack, unpack_runs
from assets.stream import Int

REASONS: Final = 3
"""History items named per result."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Version:
    """What answers are made from.

    Attributes:
        generation: name.
        seq: number of the last delta that searches see.
        watermark: instant of the latest engagement (microseconds, clock of the engagements), if there is any.
    """

    generation: str
    seq: int
    watermark: int | None


@dataclass(frozen=True)
class Reason:
    """An item of the user's history that is near to a result: ``cosine`` of their embeddings."""

    item_id: str
    title: str | None
    cosine: float


@dataclass(frozen=True)
class Result:
    """One item of an answer.

    Attributes:
        item_id: the source's.
        title: if known.
        score: what results are ordered by, see the answer.
        age_days: from the day it became available to the latest engagement of the dataset.
        engagements: how many it has.
        embedded_at: when its embedding was last computed, UTC.
        why: the nearest items of the user's history, nearest first; ``None`` where nobody asked.
    """

    item_id: str
    title: str | None
    score: float
    age_days: float | None
    engagements: int
    embedded_at: datetime | None
    why: tuple[Reason, ...] | None = None


@dataclass(frozen=True)
class Recommendations:
    """The answer for one user, best first; never an item that the user engaged with.

    Attributes:
        user_id: as asked.
        has_history: whether the user is known; if not, ``results`` are what is popular now, and a score is the item's
            exponentially decayed count of engagements instead of the model's inner product.
        results: up to k.
        version: what the answer was made from.
    """

    user_id: str
    has_history: bool
    results: tuple[Result, ...]
    version: Version


@dataclass(frozen=True)
class Similar:
    """Items near to one item, by cosine of their embeddings, which is the score; best first."""

    item_id: str
    title: str | None
    results: tuple[Result, ...]
    version: Version


@dataclass(frozen=True)
class Listed:
    """What the store says of an item."""

    number: int
    details: Details
    available_at: int
    total: int
    embedded_at: int

    def result(self, score: float, watermark: int | None, why: tuple[Reason, ...] | None = None) -> Result:
        """The item as a result."""
        known = watermark is not None and self.available_at != NEVER
        return Result(
            item_id=self.details.item_id,
            title=self.details.title,
            score=score,
            age_days=(watermark - self.available_at) / DAY if known and watermark is not None else None,
            engagements=self.total,
            embedded_at=None if self.embedded_at == NEVER else EPOCH + timedelta(microseconds=self.embedded_at),
            why=why,
        )


def listed(reader: Reader, items: Sequence[str]) -> dict[str, Listed]:
    """What the store says of ``items``; those it does not know are left out."""
    keys = [key for key in reader.get_many(Table.NUMBERS, id_keys(items)) if key is not None]
    numbers = numbers_of(keys)
    records = unpack(reader.get_many(Table.ITEMS, keys), new_items(1)[0])
    found = zip(numbers.tolist(), item_details(reader, numbers), records, strict=True)
    return {
        details.item_id: Listed(
            number, details, int(record["available_at"]), int(record["total"]), int(record["embedded_at"])
        )
        for number, details, record in found
        if details is not None
    }


def reasons(
    reader: Reader, model: LiveModel, user: str, results: Mapping[str, Listed], removed: Collection[str] = ()
) -> dict[str, tuple[Reason, ...]]:
    """Per result the :data:`REASONS` items of the user's history whose embeddings are nearest to its own.

    Nothing where a model has no embeddings, where an item has none yet, or without history.
    """
    entries, _ = unpack_runs(reader.get_many(Table.USER_HISTORIES, id_keys([user])), USER_ENTRY)
    history, towards = _directions(reader, model, np.unique(entries["id"].astype(np.int64)))  # [H], [H, D]
    if not len(history):
        return dict.fromkeys(results, ())
    titles = dict(zip(history.tolist(), item_details(reader, history), strict=True))
    explained: dict[str, tuple[Reason, ...]] = {}
    for item, found in results.items():
        _, own = _directions(reader, model, np.array([found.number]))
        near = towards @ own[0] if len(own) else np.empty(0, np.float32)
        nearest = [(titles[int(history[row])], float(near[row])) for row in np.argsort(-near, kind="stable")]
        named = [
            Reason(details.item_id, details.title, cosine)
            for details, cosine in nearest
            if details is not None and details.item_id not in removed
        ]
        explained[item] = tuple(named[:REASONS])
    return explained


def cosines(vectors: NDArray[np.float32], towards: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n] cosines of ``vectors`` [n, D] with ``towards`` [D]; 0 with a vector of zeros."""
    return _unit(vectors) @ _unit(towards[None])[0]


def _directions(reader: Reader, model: LiveModel, numbers: Int) -> tuple[Int, NDArray[np.float32]]:
    """Those of ``numbers`` that have an embedding [m], and its direction [m, D]."""
    if not model.dimension:
        return numbers[:0], np.zeros((0, 0), np.float32)
    vectors, found = stored_vectors(reader, model, numbers)
    return numbers[found], _unit(vectors)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
