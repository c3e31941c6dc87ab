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

SCORES_PER_CHUNK = 1_000_000
"""Scores compared at once (4 MB of float32, twice). They stay in a core's cache: 2.5 times the cases per second that
8 million give, measured at 10,000 items."""

CASES_PER_CHUNK = 32
"""At least this many cases share one pass over the candidates, however many those are (128 bytes per candidate)."""

QUERIES_PER_BATCH = 4096
"""Histories gathered at once."""

USERS_PER_CALL = 128
"""User vectors asked for at once, users with histories of like length together: towers cut a batch to its longest
history, and padding 8 entries to 50 is what most of a sequence model's time would go to."""


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

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        """[B, D] vectors; finite for users without history and for unknown users.

        Args:
            queries: the requests.
            items: [N, D] what :meth:`item_vectors` gave for the refresh that the requests are served from: a model may
                read the vectors of the items in a user's history there.
        """
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

    ``has_history`` [C] says whether the user had any history under the protocol; the fallback ranked for the others.
    """

    above: Int
    tied: Int
    has_history: NDArray[np.bool_]


@torch.no_grad()
def rank_cases(
    model: Recommender,
    fallback: Recommender,
    cases: Cases,
    stream: EngagementStream,
    catalog: Catalog,
    protocol: Protocol,
    cutoff: np.datetime64,
    progress: Callable[[int], None] = lambda _: None,
) -> Ranks:
    """Rank every case's target among all items available at its refresh.

    Rules (DESIGN sections 3 and 5). Candidates: items available at the refresh, without those the user engaged with
    strictly before the case (also where the history given to the model is frozen), and always the target, scored by
    its representation of that moment even if it is not available yet. Users without history are ranked by
    ``fallback``. Frozen user histories and item vectors are those at ``cutoff``.

    Args:
        progress: called with the number of cases done since the last call.

    Raises:
        ValueError: when a target was engaged with by its user before, which the case builder should have dropped;
            when a case lies before the cutoff that its protocol freezes at, so that frozen would mean the future.
        FloatingPointError: when a vector is not finite: every comparison with NaN is false, so its targets would all
            come first.
    """
    above, tied = np.zeros(len(cases), np.int64), np.zeros(len(cases), np.int64)
    has_history = np.zeros(len(cases), np.bool_)
    as_of = cutoff if protocol.user_history is UserHistory.FROZEN else None
    frozen_at = cutoff if protocol.item_embeddings is ItemEmbeddings.FROZEN else None
    if (as_of is not None or frozen_at is not None) and (cases.timestamps < cutoff).any():
        raise ValueError(f"a case lies before the cutoff {cutoff}, and {protocol} freezes there")
    vectors: list[Tensor] = []
    for instant, rows in _by_instant(cases.refresh_at):
        if frozen_at is None or not vectors:
            vectors = _item_vectors((model, fallback), stream, instant if frozen_at is None else frozen_at)
        candidates = catalog.rows_at(instant)
        boards = [_Scoreboard(each, candidates) for each in vectors]
        for part in batches(len(rows), QUERIES_PER_BATCH):
            chosen = rows[part]
            batch = cases.take(chosen)
            queries = stream.queries(batch.users, batch.timestamps, max(1, model.history_length), as_of)
            known_user = queries.lengths > 0
            has_history[chosen] = known_user
            for one, board, mask in ((model, boards[0], known_user), (fallback, boards[1], ~known_user)):
                inside = np.flatnonzero(mask)
                if len(inside):
                    users = _user_vectors(one, queries.take(inside), board.items)
                    above[chosen[inside]], tied[chosen[inside]] = board.count(users, batch.take(inside), stream)
            progress(len(chosen))
    return Ranks(above, tied, has_history)


def _item_vectors(models: tuple[Recommender, ...], stream: EngagementStream, instant: np.datetime64) -> list[Tensor]:
    known = stream.before(instant)
    return [_finite(model.item_vectors(known, instant), "item") for model in models]


def _user_vectors(model: Recommender, queries: Queries, items: Tensor) -> Tensor:
    """[B, D], computed in order of history length."""
    order = np.argsort(queries.lengths, kind="stable")
    parts = batches(len(order), USERS_PER_CALL)
    ordered = torch.cat([model.user_vectors(queries.take(order[part]), items) for part in parts])
    vectors = torch.empty_like(ordered)
    vectors[torch.from_numpy(order)] = ordered
    return _finite(vectors, "user")


def _finite(vectors: Tensor, what: str) -> Tensor:
    # A finite sum has finite terms, and summing costs a tenth of looking at each.
    if not torch.isfinite(vectors.sum()) and not torch.isfinite(vectors).all():
        raise FloatingPointError(f"a vector of a {what} is not finite: check rows without history and masked attention")
    return vectors


def _by_instant(refresh_at: Time) -> list[tuple[np.datetime64, Int]]:
    """Distinct instants, ascending, each with the rows that have it, in their order."""
    distinct, inverse = np.unique(refresh_at, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(distinct)))
    return list(zip(distinct, np.split(order, ends[:-1]), strict=True)) if len(distinct) else []


class _Scoreboard:
    """Item vectors of one refresh, and counting of the candidates that beat or tie a case's target.

    Scores are written to memory that is kept between chunks: fresh pages cost more than the matrix product.

    Args:
        items: [N, D] vectors of every item.
        candidates: [C] rows of the items available at the refresh, ascending.
    """

    def __init__(self, items: Tensor, candidates: Int) -> None:
        self.items = items
        self.eligible = items if len(candidates) == len(items) else items[torch.from_numpy(candidates)]  # [C, D]
        self.column = np.full(len(items), -1, np.int64)  # item row -> column among the candidates
        self.column[candidates] = np.arange(len(candidates))
        self.rows = max(CASES_PER_CHUNK, SCORES_PER_CHUNK // max(1, len(candidates)))
        self.scores = self.hits = items.new_empty((0, len(candidates)))

    def count(self, users: Tensor, cases: Cases, stream: EngagementStream) -> tuple[Int, Int]:
        """[B] candidates above the target and [B] tied with it, for user vectors [B, D]."""
        if len(self.scores) < min(len(cases), self.rows):
            shape = (min(len(cases), self.rows), len(self.eligible))
            self.scores, self.hits = self.items.new_empty(shape), self.items.new_empty(shape)
        parts = [
            self._count(users[part], cases.take(np.arange(part.start, part.stop)), stream)
            for part in batches(len(cases), self.rows)
        ]
        above, at_least = torch.cat(parts, dim=1).cpu().numpy().astype(np.int64)  # [2, B]
        return above, at_least - above

    def _count(self, users: Tensor, cases: Cases, stream: EngagementStream) -> Tensor:
        """[2, B] candidates above the target, and candidates above it or tied, for one chunk."""
        targets = self.items[torch.from_numpy(cases.items)]  # [B, D]
        target_score = (users * targets).sum(dim=1, keepdim=True)  # [B, 1]
        tolerance = TIE_TOLERANCE * users.norm(dim=1, keepdim=True) * targets.norm(dim=1, keepdim=True)
        scores, hits = self.scores[: len(cases)], self.hits[: len(cases)]
        torch.matmul(users, self.eligible.T, out=scores)  # [B, C]
        rows, columns = self._excluded(cases, stream)
        scores[torch.from_numpy(rows), torch.from_numpy(columns)] = -torch.inf
        # Comparisons written as float 0 and 1: their float32 sum is exact up to 16.7 million candidates, and an order
        # of magnitude quicker than the sum of booleans.
        above = torch.gt(scores, target_score + tolerance, out=hits).sum(dim=1)
        at_least = torch.ge(scores, target_score - tolerance, out=hits).sum(dim=1)
        return torch.stack([above, at_least])

    def _excluded(self, cases: Cases, stream: EngagementStream) -> tuple[Int, Int]:
        """(case, column) pairs that are no competitors: what the user engaged with before, and the target itself."""
        seen_row, seen_item = stream.seen_pairs(cases.users, cases.timestamps)
        if (repeats := cases.items[seen_row] == seen_item).any():
            row = int(seen_row[np.flatnonzero(repeats)[0]])
            raise ValueError(
                f"user row {cases.users[row]} engaged with the target, item row {cases.items[row]}, before "
                f"{cases.timestamps[row]}: drop repeats from the cases"
            )
        rows = np.concatenate([seen_row, np.arange(len(cases))])
        columns = self.column[np.concatenate([seen_item, cases.items])]
        return rows[columns >= 0], columns[columns >= 0]
