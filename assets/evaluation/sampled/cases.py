"""Which cases the sampled protocols rank, and against which negatives.

The rules of ``sampled``, each decided here once:

- **Bucket**: the head, or every other item (slice ``tail_and_cold``; the papers say tail), by the slices of the tables.
- **Case**: a case of full ranking (:mod:`assets.evaluation.protocol`); of every user, window and bucket the first.
- **Negatives**: distinct items, drawn uniformly from the target's bucket among those that exist at the case's refresh.
  Never the target, never an item that the user engaged with before the case. Where fewer exist, all of them: counted.
- **Same draw for all**: negatives depend on the seed of the draws and the case's source row, on nothing else, so models
  and training seeds meet the same ones.

The rules of ``sampled_legacy``, which mimics the reference code behind the published tables (flaws included) and is for
comparison with those tables only:

- Users and items with fewer than 5 engagements are left out, counted over all of the dataset, **test period included**;
  one pass, as in that code. Cutoff and windows stay ours.
- Buckets, and with them the slices reported, by engagements before the cutoff among those left: more than
  ``tail_max_count`` is head.
- Negatives: drawn **with replacement** from every item of the bucket that anybody engages with in **any test window,
  the future included**; the target **may be among them**. Items of the user before the cutoff are passed over, later
  ones are not.
- A copy of the target among its negatives has the target's score. That code puts the target first among equals, so a
  copy beats nobody: it is no competitor here. Ties with *other* items are averaged as everywhere here; that code
  counts them for the target.
- Users without history get an empty history instead of the fallback, and are in ``overall`` and the item slices:
  ``has_history`` is true of everybody.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.config import Protocol
from assets.evaluation.protocol import CaseSet, taken
from assets.evaluation.sampled.draws import case_keys, draw_items
from assets.ranking import Cases, by_instant
from assets.schema import Columns, ItemEmbeddings, ItemSlice, UserHistory
from assets.stream import PADDING, DatasetTables, Int

SAMPLED = "sampled"
LEGACY = "sampled_legacy"
"""Values of column ``protocol``."""

LEGACY_PROTOCOLS = tuple(Protocol(user_history=UserHistory.FROZEN, item_embeddings=items) for items in ItemEmbeddings)
"""That code freezes histories at the cutoff; its item histories run up to the case, as ours do when refreshed."""

LEGACY_CORE = 5
"""Users and items with fewer engagements than this are left out of ``sampled_legacy``."""


@dataclass(frozen=True)
class SampledCases:
    """Cases with their negatives.

    Attributes:
        protocol: :data:`SAMPLED` or :data:`LEGACY`.
        cases: [C] in time order.
        labels: [C] rows of :data:`assets.evaluation.protocol.CASE_COLUMNS`.
        negatives: [C, M] universe rows of items, :data:`assets.stream.PADDING` behind where fewer exist.
    """

    protocol: str
    cases: Cases
    labels: pd.DataFrame
    negatives: Int

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def drawn(self) -> Int:
        """[C] negatives of each case."""
        return (self.negatives != PADDING).sum(axis=1)

    @property
    def copies(self) -> Int:
        """[C] how often the target is among its own negatives; 0 under ``sampled``."""
        return (self.negatives == self.cases.items[:, None]).sum(axis=1)

    @property
    def short(self) -> int:
        """Cases with fewer negatives than asked for."""
        return int((self.drawn < self.negatives.shape[1]).sum())


def sampled_cases(case_set: CaseSet, tables: DatasetTables, negatives: int, seed: int) -> SampledCases:
    """Cases and negatives of ``sampled``.

    Args:
        negatives: wanted per case.
        seed: of the draws.
    """
    in_head = tables.catalog.slices == ItemSlice.HEAD.value  # [N]
    kept = first_per_bucket(case_set, in_head)
    cases, labels = kept.cases, kept.labels
    keys = case_keys(labels[Columns.SOURCE_ROW].to_numpy(np.int64), seed)
    drawn = np.full((len(cases), negatives), PADDING, dtype=np.int64)
    for instant, rows_then in by_instant(cases.refresh_at):
        available = tables.catalog.rows_at(instant)
        for head in (True, False):
            rows = rows_then[in_head[cases.items[rows_then]] == head]
            pool = available[in_head[available] == head]
            drawn[rows] = draw_items(keys[rows], pool, _seen_and_target(cases.take(rows), tables), negatives, True)
    return SampledCases(SAMPLED, cases, labels, drawn)


def _seen_and_target(cases: Cases, tables: DatasetTables) -> tuple[Int, Int]:
    """(case, item) pairs: what its user engaged with strictly before it, and its target."""
    rows, items = tables.stream.seen_pairs(cases.users, cases.timestamps)
    return np.concatenate([rows, np.arange(len(cases))]), np.concatenate([items, cases.items])


def legacy_cases(
    case_set: CaseSet, tables: DatasetTables, negatives: int, seed: int, tail_max_count: int
) -> SampledCases:
    """Cases and negatives of ``sampled_legacy``.

    Args:
        tail_max_count: items with more engagements before the cutoff are head.
    """
    stream = tables.stream
    core = _Core.of(tables)
    in_head = core.train_count > tail_max_count  # [N]
    inside = core.users[case_set.cases.users] & core.items[case_set.cases.items]
    kept = first_per_bucket(taken(case_set, np.flatnonzero(inside)), in_head)
    cases = kept.cases
    keys = case_keys(kept.labels[Columns.SOURCE_ROW].to_numpy(np.int64), seed)
    drawn = np.full((len(cases), negatives), PADDING, dtype=np.int64)
    for head in (True, False):
        rows = np.flatnonzero(in_head[cases.items] == head)
        banned = stream.seen_pairs(cases.users[rows], np.full(len(rows), tables.cutoff))
        pool = np.flatnonzero((core.test_count > 0) & (in_head == head))
        drawn[rows] = draw_items(keys[rows], pool, banned, negatives, False)
    count = core.train_count[cases.items]
    names = np.select([count > tail_max_count, count > 0], [ItemSlice.HEAD, ItemSlice.TAIL], ItemSlice.COLD)
    return SampledCases(LEGACY, cases, kept.labels.assign(**{Columns.SLICE: names}), drawn)


@dataclass(frozen=True)
class _Core:
    """What the reference code's filter leaves.

    Attributes:
        users: [U] whether a user is left.
        items: [N] whether an item is left.
        train_count: [N] engagements before the cutoff, among what is left.
        test_count: [N] engagements from the cutoff on, among what is left.
    """

    users: NDArray[np.bool_]
    items: NDArray[np.bool_]
    train_count: Int
    test_count: Int

    @classmethod
    def of(cls, tables: DatasetTables) -> "_Core":
        stream = tables.stream
        users = np.bincount(stream.users, minlength=stream.n_users) >= LEGACY_CORE
        items = np.bincount(stream.items, minlength=stream.n_items) >= LEGACY_CORE
        left = users[stream.users] & items[stream.items]
        tested = stream.timestamps >= tables.cutoff
        train, test = (np.bincount(stream.items[left & part], minlength=stream.n_items) for part in (~tested, tested))
        return cls(users, items, train, test)


def first_per_bucket(case_set: CaseSet, in_head: NDArray[np.bool_]) -> CaseSet:
    """The first case, in time order, of every user, window and bucket.

    Args:
        in_head: [N] items of the head.
    """
    groups = pd.DataFrame(
        {
            "user": case_set.cases.users,
            "window": case_set.labels[Columns.WINDOW].to_numpy(),
            "head": in_head[case_set.cases.items],
        }
    )
    return taken(case_set, np.flatnonzero(~groups.duplicated().to_numpy()))
