"""Finding items for users and near items: the index for those with a history, what is popular for the others."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from assets.serving.live.items import item_ids
from assets.serving.retrieval.answers import cosines
from assets.serving.retrieval.catalog import Catalog
from assets.serving.retrieval.live_index import Indexed, search_among
from assets.serving.store.interface import Reader
from assets.serving.vector_index import Float, SearchResult
from assets.stream import Int, batches

NEAR: Final = 10
SPARE: Final = 100
"""Similar items are the nearest by cosine among NEAR k + SPARE items of the highest inner product."""

POPULAR_PER_READ: Final = 128

Found = list[tuple[str, float]]
"""Items and scores, best first."""


@dataclass(frozen=True)
class Asked:
    """Users to find items for.

    Attributes:
        users: [B] those with a history, and [B, D] their ``queries``.
        others: those without.
        seen: what each engaged with.
        removed: items that nobody gets.
        k: items per user.
        among: numbers of the items to choose from; ``None``: all.
    """

    users: Sequence[str]
    queries: Float
    others: Sequence[str]
    seen: dict[str, list[str]]
    removed: Collection[str]
    k: int
    among: Int | None


def find(indexed: Indexed, catalog: Catalog, reader: Reader, asked: Asked, instant: int) -> dict[str, Found]:
    """Per user the best items of the index; of popular ones the score is the decayed count at ``instant``."""
    gone = [item for item in asked.removed if item in indexed.index]  # seldom any: the index hears of it soon
    exclude = [[*asked.seen[user], *gone] for user in asked.users]
    if asked.among is None:
        result = indexed.index.search(asked.queries, asked.k, exclude)
    else:
        ids = [item for item in item_ids(reader, asked.among) if item is not None]
        result = search_among(indexed.index, ids, asked.queries, asked.k, exclude)
    found = dict(zip(asked.users, found_in(result), strict=True))
    for user in asked.others:
        hidden = {*asked.seen[user], *gone}
        found[user] = popular(indexed, catalog, reader, hidden, asked.k, asked.among, instant)
    return found


def popular(
    indexed: Indexed, catalog: Catalog, reader: Reader, hidden: set[str], k: int, among: Int | None, instant: int
) -> Found:
    """The k items of the index with the largest decayed counts, without ``hidden`` ones."""
    found: Found = []
    for ranked in catalog.ranked(among):
        for part in batches(len(ranked), POPULAR_PER_READ):
            numbers = ranked[part]
            for number, item in zip(numbers.tolist(), item_ids(reader, numbers), strict=True):
                if item is not None and item in indexed.index and item not in hidden:
                    found.append((item, catalog.count(number, instant)))
            if len(found) >= k:
                return found[:k]
    return found


def nearest(indexed: Indexed, dimension: int, item: str, k: int, removed: Collection[str]) -> Found:
    """The k items whose embeddings have the largest cosine with that of ``item``, without itself.

    An index of inner products prefers long vectors: its best are taken in plenty and ordered by cosine.

    Args:
        dimension: of an embedding; the index has the trend behind it, which plays no part.

    Raises:
        KeyError: when ``item`` is not in the index.
    """
    query = indexed.index.vectors([item])
    query[:, dimension:] = 0
    gone = [other for other in removed if other in indexed.index]
    candidates = [other for other, _ in found_in(indexed.index.search(query, NEAR * k + SPARE, [[item, *gone]]))[0]]
    scores = cosines(indexed.index.vectors(candidates)[:, :dimension], query[0, :dimension])
    return [(candidates[row], float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]


def found_in(result: SearchResult) -> list[Found]:
    """Per query the items found, with their scores."""
    return [
        [(item, score) for item, score in zip(ids, scores, strict=True) if item is not None]
        for ids, scores in zip(result.ids.tolist(), result.scores.tolist(), strict=True)
    ]
