"""Metrics of a ranking with several relevant items (HRNN-meta, Table 7). Pure arrays: knows no tables and no models.

Items with equal scores come in random order, and a metric is its expected value over those orders, in closed form. So a
model that scores everything alike gets what random choice gets, exactly, and needs no shuffling.

With R relevant items of N, of which the place i (from 0) holds one with probability rho(i):

    P@k = (1 / k) sum_{i < k} rho(i)
    NDCG@k = sum_{i < k} rho(i) / log2(i + 2)  over  sum_{i < min(k, R)} 1 / log2(i + 2)
    MRR = E[1 / (1 + place of the first relevant item)]

In a run of g equal scores behind a better ones, r of them relevant, rho is r / g. Where the first relevant item is in
that run, it has the place a + p - 1 (p = 1 .. g - r + 1) with the chance

    P(p) = r / (g - p + 1) * prod_{q < p} (1 - r / (g - q + 1)),

that of drawing p - 1 others first, without replacement.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from assets.metrics import Floats, Int

Flags = NDArray[np.bool_]

TIE_TOLERANCE: Final = 1e-6
"""Scores this close, relative to a row's largest, are ties: vectors of equal inputs differ by rounding."""


class Ranking:
    """Rows of items in order of their scores, for :meth:`precision`, :meth:`ndcg` and :meth:`reciprocal_rank`.

    Args:
        scores: [U, N], finite.
        relevant: [U, N], at least one in each row.

    Raises:
        ValueError: when the shapes differ, a score is not finite, or nothing in a row is relevant.
    """

    def __init__(self, scores: Floats, relevant: Flags) -> None:
        _check(scores, relevant)
        order = np.argsort(-scores, axis=1, kind="stable")
        ordered = np.take_along_axis(scores, order, axis=1)
        hits = np.take_along_axis(relevant, order, axis=1).astype(np.float64)
        self.relevant = hits.sum(axis=1)  # [U] R
        run = _runs(ordered)  # [U, N] number of each place's run of ties, over all rows
        size, found = np.bincount(run.ravel()), np.bincount(run.ravel(), hits.ravel())
        self.size, self.found = size[run], found[run]  # [U, N] g and r of each place's run
        self.chance = self.found / self.size  # [U, N] rho
        starts = np.concatenate([[0], np.cumsum(size)[:-1]])
        self.within = np.arange(scores.size).reshape(scores.shape) - starts[run]  # [U, N] p - 1

    def precision(self, k: int) -> Floats:
        """[U] P@k; a list shorter than ``k`` counts as filled up with irrelevant items."""
        return self.chance[:, :k].sum(axis=1) / k

    def ndcg(self, k: int) -> Floats:
        """[U] NDCG@k of binary relevance; the ideal ranking has min(k, R) relevant items first."""
        places = min(k, self.chance.shape[1])
        discount = 1.0 / np.log2(np.arange(places) + 2.0)
        ideal = np.cumsum(discount)[np.minimum(self.relevant, places).astype(np.int64) - 1]
        return (self.chance[:, :places] @ discount) / ideal

    def reciprocal_rank(self) -> Floats:
        """[U] expected reciprocal of the first relevant item's place, counted from 1; its mean is MRR."""
        first = np.argmax(self.found > 0, axis=1)[:, None]  # [U, 1] where the run with the first relevant item starts
        place = np.arange(self.chance.shape[1])
        inside = (place >= first) & (place - self.within == first)
        left = self.size - self.within  # [U, N] g - p + 1
        drawn = np.where(inside, np.minimum(self.found / left, 1.0), 0.0)  # [U, N] chance here, if not earlier
        not_yet = np.cumprod(1.0 - drawn, axis=1)
        earlier = np.concatenate([np.ones((len(drawn), 1)), not_yet[:, :-1]], axis=1)
        return (drawn * earlier / (place + 1.0)).sum(axis=1)


def _runs(ordered: Floats) -> Int:
    """[U, N] which run of ties each place belongs to, numbered over all rows; scores [U, N] descend in each row."""
    tolerance = TIE_TOLERANCE * np.abs(ordered).max(axis=1, initial=0.0, keepdims=True)
    begins = np.ones(ordered.shape, np.bool_)
    begins[:, 1:] = ordered[:, :-1] - ordered[:, 1:] > tolerance
    return (np.cumsum(begins.ravel()) - 1).reshape(ordered.shape)


def _check(scores: Floats, relevant: Flags) -> None:
    if scores.shape != relevant.shape:
        raise ValueError(f"scores {scores.shape} and relevance {relevant.shape} are not of one shape")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite, so there is no order")
    if not relevant.any(axis=1).all():
        raise ValueError(f"row {int(np.argmin(relevant.any(axis=1)))} has no relevant item: leave such users out")
