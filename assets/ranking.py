"""The one contract between models and everything that ranks with them, and full ranking of cases.

A score is an inner product of a user vector and an item vector; counting models fit too (item vector ``[log q_t]``,
user vector ``[1]``), and so does a trend added to an affinity (DESIGN section 4), so evaluation and the vector index
treat all models alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.config import Protocol
from assets.schema import ItemEmbeddings, UserHistory
from assets.stream import Catalog, EngagementStream, Int, Queries, Time, batches

TIE_TOLERANCE = 1e-6
"""Scores this close, relative to |user| * |target|, are ties: float32 sums in another order differ by about that much,
and items without an id of their own share one vector, so exact comparison would rank them by rounding."""

SCORES_PER_CHUNK = 8_000_000
"""Scores held at once (32 MB of float32)."""


class Recommender(Interface):
    """What evaluation and serving ask of a trained model."""

    @property
    def history_length(self) -> int:
        """How many of a user's latest engagements a query needs to hold (at least 1)."""
        ...

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        """[N, D] vectors of every universe item, as of a refresh at ``instant``.

        Args:
            known: the engagements strictly before ``instant``; nothing else may be used.
            instant: the refresh.
        """
        ...

    def user_vectors(self, queries: Queries) -> Tensor:
        """[B, D] vectors; finite for users without history and for unknown users."""
        ...


@dataclass(frozen=True)
class Cases:
    """Targets to rank: one held-out engagement each, none on an item its user engaged with before.

    Attributes:
        users: [C] universe rows.
        items: [C] universe rows of the targets.
        timestamps: [C] datetime64[us] of the engagement.
        refresh_at: [C] datetime64[us], the latest refresh not later than the engagement.
    """

    users: Int
    items: Int
    timestamps: Time
    refresh_at: Time

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Int) -> "Cases":
        return Cases(self.users[rows], self.items[rows], self.timestamps[rows], self.refresh_at[rows])


@dataclass(frozen=True)
class Ranks:
    """Where each target came: [C] candidates scored above it, and [C] other candidates tied with it.

    ``has_history`` [C] says whether the user had any history under the protocol; the others were ranked by the fallback.
    """

    above: Int
    tied: Int
    has_history: NDArray[np.bool_]


def rank_cases(
    model: Recommender,
    fallback: Recommender,
    cases: Cases,
    stream: EngagementStream,
    catalog: Catalog,
    protocol: Protocol,
    cutoff: np.datetime64,
    progress: Callable[[int], None] = lambda done: None,
) -> Ranks:
    """Rank every case's target among all items available at its refresh.

    Rules (DESIGN sections 3 and 5). Candidates: items available at the refresh, without those the user engaged with
    strictly before the case (also where the history given to the model is frozen), and always the target, scored by
    its representation of that moment even if it is not available yet. Users without history are ranked by
    ``fallback``. Frozen user histories and item vectors are those at ``cutoff``.

    Args:
        progress: called with the number of cases done since the last call.

    Raises:
        ValueError: when a target was engaged with by its user before, which the case builder should have dropped.
        FloatingPointError: when a vector is not finite: every comparison with NaN is false, so its targets would all
            come first.
    """
    above, tied = np.zeros(len(cases), np.int64), np.zeros(len(cases), np.int64)
    has_history = np.zeros(len(cases), np.bool_)
    as_of = cutoff if protocol.user_history is UserHistory.FROZEN else None
    frozen_items = protocol.item_embeddings is ItemEmbeddings.FROZEN
    vectors: dict[int, Tensor] = {}
    for instant, rows in _by_instant(cases.refresh_at):
        embedded_at = min(cutoff, instant) if frozen_items else instant
        if not (frozen_items and vectors):
            known = stream.before(embedded_at)
            vectors = {id(one): one.item_vectors(known, embedded_at) for one in (model, fallback)}
        candidates = catalog.rows_at(instant)
        for part in batches(len(rows), max(1, SCORES_PER_CHUNK // max(1, len(candidates)))):
            chosen = rows[part]
            chunk = cases.take(chosen)
            queries = stream.queries(chunk.users, chunk.timestamps, max(1, model.history_length), as_of)
            known_user = queries.lengths > 0
            has_history[chosen] = known_user
            for one, mask in ((model, known_user), (fallback, ~known_user)):
                inside = np.flatnonzero(mask)
                if len(inside) == 0:
                    continue
                users = one.user_vectors(queries.take(inside))
                counts = _count_chunk(users, vectors[id(one)], chunk.take(inside), stream, candidates)
                above[chosen[inside]], tied[chosen[inside]] = counts
            progress(len(chosen))
    return Ranks(above, tied, has_history)


def _by_instant(refresh_at: Time) -> list[tuple[np.datetime64, Int]]:
    """Distinct instants, ascending, each with the rows that have it, in their order."""
    distinct, inverse = np.unique(refresh_at, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(distinct)))
    return list(zip(distinct, np.split(order, ends[:-1]), strict=True)) if len(distinct) else []


@torch.inference_mode()
def _count_chunk(
    users: Tensor, item_vectors: Tensor, cases: Cases, stream: EngagementStream, candidates: Int
) -> tuple[Int, Int]:
    """[B] candidates above the target and [B] tied with it, for user vectors [B, D] and item vectors [N, D]."""
    seen_row, seen_item = stream.seen_pairs(cases.users, cases.timestamps)
    if (repeats := cases.items[seen_row] == seen_item).any():
        row = int(seen_row[np.flatnonzero(repeats)[0]])
        raise ValueError(f"case {row}: user {cases.users[row]} engaged with target {cases.items[row]} before")
    if not (torch.isfinite(users).all() and torch.isfinite(item_vectors).all()):
        raise FloatingPointError("a user or item vector is not finite: check rows without history and masked attention")
    targets = item_vectors[torch.from_numpy(cases.items)]  # [B, D]
    target_score = (users * targets).sum(dim=1, keepdim=True)  # [B, 1]
    tolerance = TIE_TOLERANCE * users.norm(dim=1, keepdim=True) * targets.norm(dim=1, keepdim=True)
    scores = users @ item_vectors[torch.from_numpy(candidates)].T  # [B, C]

    column = np.full(len(item_vectors), -1, np.int64)
    column[candidates] = np.arange(len(candidates))
    listed = column[seen_item] >= 0
    scores[torch.from_numpy(seen_row[listed]), torch.from_numpy(column[seen_item[listed]])] = -torch.inf
    target_column = column[cases.items]
    inside = np.flatnonzero(target_column >= 0)
    scores[torch.from_numpy(inside), torch.from_numpy(target_column[inside])] = -torch.inf

    above = (scores > target_score + tolerance).sum(dim=1)
    at_least = (scores >= target_score - tolerance).sum(dim=1)
    return above.numpy(), (at_least - above).numpy()
