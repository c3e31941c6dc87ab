"""What an index is worth: recall against exact search, latency of single queries, size. Pure."""

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from assets.ranking import TIE_TOLERANCE
from assets.serving.exact_index import ExactIndex

if TYPE_CHECKING:
    from assets.serving.snapshot import UserSample
    from assets.serving.vector_index import Exclude, Float, SearchResult, VectorIndex

WARM_UP = 10


@dataclass(frozen=True)
class SelfCheck:
    """Measurements of one index.

    Attributes:
        recall: mean recall@k against exact search.
        k: results per query.
        queries: how many were measured.
        p50_ms: median latency of a single query, milliseconds.
        p99_ms: 99th percentile of it.
        items: size of the index.
    """

    recall: float
    k: int
    queries: int
    p50_ms: float
    p99_ms: float
    items: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def recall(
    index: "VectorIndex", exact: ExactIndex, queries: "Float", k: int = 10, exclude: "Exclude | None" = None
) -> float:
    """Recall@k of ``index`` against ``exact`` search: see :func:`recall_of`.

    Args:
        queries: [Q, D].
        exclude: per query, ids that must not be returned.
    """
    return recall_of(index.search(queries, k, exclude), exact.search(queries, k, exclude), exact, queries, exclude)


def recall_of(
    found: "SearchResult",
    expected: "SearchResult",
    exact: ExactIndex,
    queries: "Float",
    exclude: "Exclude | None" = None,
) -> float:
    """Mean over queries of the share of the ``expected`` results that ``found`` holds.

    Ties are no misses: a returned item counts if its true score is not below the exact k-th by more than rounding. The
    true score comes from the vectors in ``exact``, so that a right score under a wrong id is a miss; so is an item
    returned twice or in spite of ``exclude``.

    Returns:
        1.0 where no query has anything to return.
    """
    shares = []
    for row, query in enumerate(queries):
        count = int(np.isfinite(expected.scores[row]).sum())
        if count == 0:
            continue
        hidden = set(exclude[row]) if exclude is not None else set()
        ids = [item for item in dict.fromkeys(found.ids[row]) if item is not None and item not in hidden]
        vectors = exact.vectors(ids)  # [n, D]
        tolerance = TIE_TOLERANCE * np.linalg.norm(query) * np.linalg.norm(vectors, axis=1)
        hits = int((vectors @ query >= expected.scores[row, count - 1] - tolerance).sum())
        shares.append(min(hits, count) / count)
    return float(np.mean(shares)) if shares else 1.0


def latencies_ms(
    index: "VectorIndex", queries: "Float", k: int = 10, exclude: "Exclude | None" = None
) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds, of searching one query at a time; NaN without queries."""
    if len(queries) == 0:
        return float("nan"), float("nan")
    taken = []
    for row in [*range(min(WARM_UP, len(queries))), *range(len(queries))]:
        hidden = None if exclude is None else [exclude[row]]
        started = time.perf_counter_ns()
        index.search(queries[row : row + 1], k, hidden)
        taken.append((time.perf_counter_ns() - started) / 1e6)
    p50, p99 = np.percentile(taken[-len(queries) :], [50, 99])
    return float(p50), float(p99)


def self_check(
    index: "VectorIndex", exact: ExactIndex, queries: "Float", k: int = 10, exclude: "Exclude | None" = None
) -> SelfCheck:
    """Measure ``index`` with ``queries`` [Q, D]."""
    p50, p99 = latencies_ms(index, queries, k, exclude)
    return SelfCheck(recall(index, exact, queries, k, exclude), k, len(queries), p50, p99, index.size)


def measure(index: "VectorIndex", sample: "UserSample", k: int = 10) -> SelfCheck:
    """Measure ``index`` with users, what they have seen excluded, against exact search over the same vectors."""
    exact = ExactIndex(index.dimension)
    exact.build(index.ids, index.vectors(index.ids))
    return self_check(index, exact, sample.vectors, k, sample.seen)
