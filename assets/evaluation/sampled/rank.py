"""Where targets come among their sampled negatives: every run of both sampled protocols in one pass over the refreshes.

Item vectors are what costs (an inductive model makes them anew at every refresh), so runs that need those of the same
instant share them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.config import Protocol
from assets.evaluation.sampled.cases import SampledCases
from assets.ranking import TIE_TOLERANCE, Recommender, by_instant, item_vectors_of, user_vectors_of
from assets.schema import ItemEmbeddings, UserHistory
from assets.stream import PADDING, EngagementStream, Int, batches

FLOATS_PER_CHUNK = 2_000_000
"""Entries of negatives' vectors gathered at once (8 MB of float32)."""


@dataclass(frozen=True)
class Run:
    """One protocol to rank: whose cases, with what history and item vectors, and who ranks where there is no history.

    Attributes:
        sampled: cases with their negatives.
        protocol: frozen or rolling histories, frozen or refreshed item vectors.
        use_fallback: users without history are ranked by the fallback; else by the model, from an empty history.
    """

    sampled: SampledCases
    protocol: Protocol
    use_fallback: bool = True


@dataclass(frozen=True)
class SampledRanks:
    """[C] negatives scored above each target, [C] tied with it, [C] whether its user had any history.

    A copy of the target among its negatives is neither above nor tied.
    """

    above: Int
    tied: Int
    has_history: NDArray[np.bool_]

    @classmethod
    def empty(cls, cases: int) -> "SampledRanks":
        return cls(np.zeros(cases, np.int64), np.zeros(cases, np.int64), np.zeros(cases, np.bool_))


@torch.no_grad()
def rank_runs(
    model: Recommender,
    fallback: Recommender,
    runs: Sequence[Run],
    stream: EngagementStream,
    cutoff: np.datetime64,
    progress: Callable[[int], None] = lambda _: None,
) -> list[SampledRanks]:
    """Rank the targets of every run.

    Args:
        progress: called with the cases done since the last call; in all, the cases of all runs together.

    Raises:
        FloatingPointError: when a vector is not finite.
    """
    results = [SampledRanks.empty(len(run.sampled)) for run in runs]
    for instant, members in _moments(runs, cutoff):
        vectors = item_vectors_of((model, fallback), stream, instant)
        for place, rows in members:
            _rank(model, fallback, vectors, runs[place], rows, stream, cutoff, results[place])
            progress(len(rows))
    return results


def _moments(runs: Sequence[Run], cutoff: np.datetime64) -> list[tuple[np.datetime64, list[tuple[int, Int]]]]:
    """Instants at which item vectors are needed, ascending: each with (run, rows of its cases)."""
    moments: dict[np.datetime64, list[tuple[int, Int]]] = {}
    for place, run in enumerate(runs):
        frozen = run.protocol.item_embeddings is ItemEmbeddings.FROZEN
        instants = np.full(len(run.sampled), cutoff) if frozen else run.sampled.cases.refresh_at
        for instant, rows in by_instant(instants):
            moments.setdefault(instant, []).append((place, rows))
    return sorted(moments.items(), key=lambda moment: moment[0])


def _rank(
    model: Recommender,
    fallback: Recommender,
    vectors: Sequence[Tensor],
    run: Run,
    rows: Int,
    stream: EngagementStream,
    cutoff: np.datetime64,
    result: SampledRanks,
) -> None:
    """Rank one run's cases of one refresh into ``result``."""
    cases = run.sampled.cases.take(rows)
    as_of = cutoff if run.protocol.user_history is UserHistory.FROZEN else None
    queries = stream.queries(cases.users, cases.timestamps, max(1, model.history_length), as_of)
    known = queries.lengths > 0
    result.has_history[rows] = known
    by_model = known if run.use_fallback else np.ones_like(known)
    for one, items, mask in ((model, vectors[0], by_model), (fallback, vectors[1], ~by_model)):
        inside = np.flatnonzero(mask)
        if len(inside):
            users = user_vectors_of(one, queries.take(inside), items)
            chosen = rows[inside]
            result.above[chosen], result.tied[chosen] = _count(
                users, items, run.sampled.cases.items[chosen], run.sampled.negatives[chosen]
            )


def _count(users: Tensor, items: Tensor, targets: Int, negatives: Int) -> tuple[Int, Int]:
    """[B] negatives above the target and [B] tied with it, for user vectors [B, D] and negatives [B, M]."""
    above, tied = np.zeros(len(targets), np.int64), np.zeros(len(targets), np.int64)
    rows_per_chunk = max(1, FLOATS_PER_CHUNK // max(1, negatives.shape[1] * items.shape[1]))
    for part in batches(len(targets), rows_per_chunk):
        user, target = users[part], items[torch.from_numpy(targets[part])]  # [B, D] each
        rivals = torch.from_numpy(negatives[part])  # [B, M]
        competes = (rivals != PADDING) & (rivals != torch.from_numpy(targets[part])[:, None])
        scores = torch.bmm(items[rivals.clamp(min=0)], user[:, :, None])[:, :, 0]  # [B, M]
        score = (user * target).sum(dim=1, keepdim=True)  # [B, 1]
        tolerance = TIE_TOLERANCE * user.norm(dim=1, keepdim=True) * target.norm(dim=1, keepdim=True)
        higher = competes & (scores > score + tolerance)
        above[part] = higher.sum(dim=1).numpy()
        tied[part] = (competes & (scores >= score - tolerance) & ~higher).sum(dim=1).numpy()
    return above, tied
