"""The one contract between models and everything that ranks with them, and full ranking of cases.

A score is an inner product of a user vector and an item vector; counting models fit too (item vector ``[log q_t]``,
user vector ``[1]``), and so does a trend added to an affinity, so evaluation and the vector index
treat all models alike. Scores are also logits: their softmax over the candidates is what the losses normalise, so every
model has a likelihood of the target.
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
from assets.stream import PADDING, Catalog, EngagementStream, Int, Queries, Time, batches

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
    """Where each target came, and how likely it was.

    Attributes:
        above: [C] candidates scored above the target.
        tied: [C] other candidates tied with it.
        nll: [C] negative log likelihood of the target, in nats, under the softmax of the scores of the candidates that
            are ranked: the items available at the refresh without those that the user engaged with before; NaN where
            the target is not available. The training losses normalise over the same items.
        has_history: [C] whether the user had any history under the protocol; the fallback ranked for the others.
        catalog: [C] number of items available at the refresh.
        listed: [C, K] universe rows of the K best of them that the user had not engaged with, the best first;
            ``PADDING`` behind where there are fewer. The target competes like any other. Ties in no particular order.
    """

    above: Int
    tied: Int
    nll: NDArray[np.float64]
    has_history: NDArray[np.bool_]
    catalog: Int
    listed: Int


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
    list_length: int = 0,
) -> Ranks:
    """Rank every case's target among all items available at its refresh.

    Rules. Candidates: items available at the refresh, without those the user engaged with
    strictly before the case (also where the history given to the model is frozen), and always the target, scored by
    its representation of that moment even if it is not available yet. Users without history are ranked by
    ``fallback``. Frozen user histories and item vectors are those at ``cutoff``. The likelihood of the target is over
    the same candidates, see :class:`Ranks`.

    Args:
        progress: called with the number of cases done since the last call.
        list_length: K of the recommended lists; 0 for none, which is quicker.

    Raises:
        ValueError: when a target was engaged with by its user before, which the case builder should have dropped;
            when a case lies before the cutoff that its protocol freezes at, so that frozen would mean the future.
        FloatingPointError: when a vector is not finite: every comparison with NaN is false, so its targets would all
            come first.
    """
    above, tied = np.zeros(len(cases), np.int64), np.zeros(len(cases), np.int64)
    nll, has_history = np.full(len(cases), np.nan), np.zeros(len(cases), np.bool_)
    catalog_size = np.zeros(len(cases), np.int64)
    listed = np.full((len(cases), list_length), PADDING, np.int64)
    as_of = cutoff if protocol.user_history is UserHistory.FROZEN else None
    frozen_at = cutoff if protocol.item_embeddings is ItemEmbeddings.FROZEN else None
    if (as_of is not None or frozen_at is not None) and (cases.timestamps < cutoff).any():
        raise ValueError(f"a case lies before the cutoff {cutoff}, and {protocol} freezes there")
    vectors: list[Tensor] = []
    for instant, rows in by_instant(cases.refresh_at):
        if frozen_at is None or not vectors:
            vectors = item_vectors_of((model, fallback), stream, instant if frozen_at is None else frozen_at)
        candidates = catalog.rows_at(instant)
        catalog_size[rows] = len(candidates)
        boards = [_Scoreboard(each, candidates, list_length) for each in vectors]
        for part in batches(len(rows), QUERIES_PER_BATCH):
            chosen = rows[part]
            batch = cases.take(chosen)
            queries = stream.queries(batch.users, batch.timestamps, max(1, model.history_length), as_of)
            known_user = queries.lengths > 0
            has_history[chosen] = known_user
            for one, board, mask in ((model, boards[0], known_user), (fallback, boards[1], ~known_user)):
                inside = np.flatnonzero(mask)
                if len(inside):
                    users = user_vectors_of(one, queries.take(inside), board.items)
                    at = chosen[inside]
                    above[at], tied[at], nll[at], listed[at] = board.rank(users, batch.take(inside), stream)
            progress(len(chosen))
    return Ranks(above, tied, nll, has_history, catalog_size, listed)


def item_vectors_of(models: tuple[Recommender, ...], stream: EngagementStream, instant: np.datetime64) -> list[Tensor]:
    """Each model's [N, D] vectors as of a refresh at ``instant``, from what came before it.

    Raises:
        FloatingPointError: when one is not finite.
    """
    known = stream.before(instant)
    return [_finite(model.item_vectors(known, instant), "item") for model in models]


def user_vectors_of(model: Recommender, queries: Queries, items: Tensor) -> Tensor:
    """[B, D] vectors of requests to one refresh, computed in order of history length.

    Raises:
        FloatingPointError: when one is not finite.
    """
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


def by_instant(refresh_at: Time) -> list[tuple[np.datetime64, Int]]:
    """Distinct instants, ascending, each with the rows that have it, in their order."""
    distinct, inverse = np.unique(refresh_at, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(distinct)))
    return list(zip(distinct, np.split(order, ends[:-1]), strict=True)) if len(distinct) else []


class _Scoreboard:
    """Item vectors of one refresh, and what the scores of a case say of its target.

    Scores are written to memory that is kept between chunks: fresh pages cost more than the matrix product.

    Args:
        items: [N, D] vectors of every item.
        candidates: [C] rows of the items available at the refresh, ascending.
        list_length: K.
    """

    def __init__(self, items: Tensor, candidates: Int, list_length: int) -> None:
        self.items = items
        self.candidates = candidates
        self.list_length = list_length
        self.eligible = items if len(candidates) == len(items) else items[torch.from_numpy(candidates)]  # [C, D]
        self.column = np.full(len(items), -1, np.int64)  # item row -> column among the candidates
        self.column[candidates] = np.arange(len(candidates))
        self.rows = max(CASES_PER_CHUNK, SCORES_PER_CHUNK // max(1, len(candidates)))
        self.scores = self.hits = items.new_empty((0, len(candidates)))

    def rank(self, users: Tensor, cases: Cases, stream: EngagementStream) -> tuple[Int, Int, NDArray[np.float64], Int]:
        """[B] candidates above the target, [B] tied with it, [B] its nll, [B, K] lists, for user vectors [B, D]."""
        if len(self.scores) < min(len(cases), self.rows):
            shape = (min(len(cases), self.rows), len(self.eligible))
            self.scores, self.hits = self.items.new_empty(shape), self.items.new_empty(shape)
        parts = [
            self._rank(users[part], cases.take(np.arange(part.start, part.stop)), stream)
            for part in batches(len(cases), self.rows)
        ]
        results = torch.cat([numbers for numbers, _ in parts], dim=1).cpu().numpy()  # [3, B]
        above, at_least = results[:2].astype(np.int64)
        return above, at_least - above, results[2].astype(np.float64), np.concatenate([listed for _, listed in parts])

    def _rank(self, users: Tensor, cases: Cases, stream: EngagementStream) -> tuple[Tensor, Int]:
        """For one chunk: [3, B] candidates above the target, those above it or tied, and its nll; [B, K] lists."""
        targets = self.items[torch.from_numpy(cases.items)]  # [B, D]
        target_score = (users * targets).sum(dim=1, keepdim=True)  # [B, 1]
        tolerance = TIE_TOLERANCE * users.norm(dim=1, keepdim=True) * targets.norm(dim=1, keepdim=True)
        scores, hits = self.scores[: len(cases)], self.hits[: len(cases)]
        torch.matmul(users, self.eligible.T, out=scores)  # [B, C]
        rows, columns = self._excluded(cases, stream)
        scores[torch.from_numpy(rows), torch.from_numpy(columns)] = -torch.inf
        nll = torch.logaddexp(self._log_normaliser(scores, hits), target_score[:, 0]) - target_score[:, 0]
        nll[torch.from_numpy(self.column[cases.items] < 0)] = torch.nan
        # Comparisons written as float 0 and 1: their float32 sum is exact up to 16.7 million candidates, and an order
        # of magnitude quicker than the sum of booleans.
        above = torch.gt(scores, target_score + tolerance, out=hits).sum(dim=1)
        at_least = torch.ge(scores, target_score - tolerance, out=hits).sum(dim=1)
        return torch.stack([above, at_least, nll]), self._lists(scores, target_score[:, 0], cases)

    def _lists(self, scores: Tensor, target_score: Tensor, cases: Cases) -> Int:
        """[B, K] item rows of the best of each row of [B, C] ``scores``, which exclude what is -inf and the target."""
        length = min(self.list_length, scores.shape[1])
        listed = np.full((len(cases), self.list_length), PADDING, np.int64)
        if not length:
            return listed
        column = torch.from_numpy(self.column[cases.items])
        held = torch.nonzero(column >= 0)[:, 0]
        scores[held, column[held]] = target_score[held]
        best, place = torch.topk(scores, length, dim=1)
        listed[:, :length] = np.where(torch.isneginf(best).cpu(), PADDING, self.candidates[place.cpu().numpy()])
        return listed

    @staticmethod
    def _log_normaliser(scores: Tensor, scratch: Tensor) -> Tensor:
        """[B] log of the summed exponentials of each row of [B, C] ``scores``; ``scratch`` is overwritten."""
        if not scores.shape[1]:
            return scores.new_full((len(scores),), -torch.inf)
        top = scores.amax(dim=1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)  # all may be excluded
        return torch.sub(scores, top, out=scratch).exp_().sum(dim=1).log_().add_(top[:, 0])

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
