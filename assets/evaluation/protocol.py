"""Full-ranking evaluation of frozen weights: cases from the warehouse's table, ranked under every protocol.

The rules, each decided here once:

- **Case**: one test engagement. A *repeat* (its user engaged with the item strictly before) is dropped and counted,
  because items seen are no candidates. Whatever else is hard to predict stays in.
- **Engagement**: what the dataset's :class:`assets.config.EngagementRule` says; the tables hold nothing else.
- **Catalog**: an item exists from its creation or, where that is unknown or later, its first engagement. Candidates of
  a case are the items that exist at the case's refresh, the start of its UTC day.
- **Off-catalog target**: its item joined after the refresh. Kept, scored by the vector it has at that refresh (an item
  nobody engaged with yet), and counted (``on_catalog``). Dropping it would hide the coldest cases.
- **Seen items**: what the user engaged with strictly before the case is excluded, under frozen histories too, since
  serving always knows it. Engagements with equal timestamps do not know of each other.
- **Ties**: averaged, as :mod:`assets.metrics` states; scores closer than :data:`assets.ranking.TIE_TOLERANCE` tie.
- **Smoothing**: counts enter logarithms as ``count + smoothing``, so an item nobody engaged with is finite and below
  every item with an engagement (:attr:`assets.config.EvaluationConfig.smoothing`).
- **Likelihood**: ``nll`` is that of the target under the softmax of the scores over the candidates that are ranked,
  seen items left out: the losses leave them out too, so it is the distribution that was trained. Off-catalog targets
  have none (NaN). Of a model trained with another loss it says how far its scores are from logits.
- **Users without history** (as of what the protocol lets the model know): ranked by decayed popularity, whatever the
  model, and reported as their own slice. ``overall`` and the item slices leave them out, ``all_users`` has them.
  Under frozen histories more users have none, so ``overall`` of two protocols holds different cases, ``all_users``
  the same.
- **Frozen and rolling, frozen and refreshed**: a user's history ends at the cutoff or just before the case; item
  vectors are made from the engagements before the cutoff or before each case's refresh. Weights never change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assets.config import Protocol
from assets.ranking import Cases, Recommender, rank_cases
from assets.schema import Columns
from assets.storage import plain_texts
from assets.stream import PADDING, DatasetTables, Int, in_order, rows_of

FULL_RANKING = "full"
"""Value of column ``protocol``: every candidate of the catalog is ranked, none is sampled."""

RUN_COLUMNS = ("dataset", "model", "seed", "protocol", "user_history", "item_embeddings")
"""What identifies one run of one protocol in the ranks and the metrics."""

CASE_COLUMNS = (
    Columns.USER,
    Columns.ITEM,
    Columns.SOURCE_ROW,
    Columns.WINDOW,
    Columns.SLICE,
    Columns.ENGAGEMENTS_SEEN,
    Columns.ON_CATALOG,
)

RANK_COLUMNS = ("has_history", "above", "tied", "nll", "catalog")
"""What ranking adds to a case, as :class:`assets.ranking.Ranks` names it."""

LISTED = "listed_"
"""Columns ``listed_0``, ``listed_1``, ... hold the universe rows of the recommended list, the best first."""

DRAW_SEED = 0
"""Of the draw of cases: the same for every model and training seed, so that they meet the same cases."""

LIST_FREQUENCY = "list_train_frequency"
"""Mean number of train engagements of the items in a case's recommended list; NaN where there is no list."""


@dataclass(frozen=True)
class CaseSet:
    """Cases to rank, in time order, and the labels they are reported by.

    Attributes:
        cases: [C] universe rows and instants.
        labels: [C] rows of :data:`CASE_COLUMNS`.
        repeats_dropped: test engagements left out, because the user had engaged with the item before.
        in_all: cases that these were drawn from; as many as there are where none was left out.
    """

    cases: Cases
    labels: pd.DataFrame
    repeats_dropped: int
    in_all: int

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def off_catalog(self) -> int:
        """Cases whose item joined the catalog after their refresh."""
        return int((~self.labels[Columns.ON_CATALOG]).sum())


def build_cases(test_cases: pd.DataFrame, tables: DatasetTables) -> CaseSet:
    """Cases of the exported ``test_cases`` table.

    Raises:
        KeyError: naming a user or item that has no row in its own table.
        ValueError: when no case is left to rank.
    """
    kept = test_cases[~test_cases[Columns.IS_REPEAT].to_numpy(dtype=bool)]
    kept = in_order(kept).reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"none of {len(test_cases)} test engagements is a case: is the test period empty?")
    cases = Cases(
        users=rows_of(kept[Columns.USER], tables.users[Columns.USER], "test_cases"),
        items=rows_of(kept[Columns.ITEM], tables.catalog.frame[Columns.ITEM], "test_cases"),
        timestamps=kept[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]"),
        refresh_at=kept[Columns.REFRESH_AT].to_numpy(dtype="datetime64[us]"),
    )
    return CaseSet(cases, kept[list(CASE_COLUMNS)], len(test_cases) - len(kept), len(kept))


def drawn(case_set: CaseSet, most: int, seed: int = DRAW_SEED) -> CaseSet:
    """At most ``most`` of the cases, each as likely as any other, in their order; the same for the same seed.

    Every mean over the drawn cases estimates that over all of them, and the bootstrap's interval is that of what was
    drawn: fewer cases make it wider, not wrong.
    """
    if len(case_set) <= most:
        return case_set
    return taken(case_set, drawn_rows(len(case_set), most, seed))


def drawn_rows(cases: int, most: int, seed: int = DRAW_SEED) -> Int:
    """[``most``] rows of ``cases``, ascending, that a draw takes."""
    return np.sort(np.random.default_rng(seed).choice(cases, most, replace=False))


def taken(case_set: CaseSet, rows: Int) -> CaseSet:
    """The cases at ``rows`` [C], in that order."""
    return replace(case_set, cases=case_set.cases.take(rows), labels=case_set.labels.iloc[rows].reset_index(drop=True))


def rank_under_protocols(
    model: Recommender,
    fallback: Recommender,
    case_set: CaseSet,
    tables: DatasetTables,
    protocols: Sequence[Protocol],
    identity: dict[str, str | int],
    progress: Callable[[int], None] = lambda _: None,
    list_length: int = 0,
) -> pd.DataFrame:
    """Rank every case under every protocol.

    Args:
        fallback: ranks for users without history.
        identity: ``dataset``, ``model`` and ``seed``, written on every row.
        progress: called with the number of cases done since the last call; in all, cases times protocols.
        list_length: items in a case's recommended list, under the first protocol, the headline.

    Returns:
        One row per protocol and case: :data:`RUN_COLUMNS`, :data:`CASE_COLUMNS`, :data:`RANK_COLUMNS`; with lists also
        their columns (``PADDING`` where there is no item or no list) and :data:`LIST_FREQUENCY`.
    """
    runs = []
    for place, protocol in enumerate(protocols):
        ranks = rank_cases(
            model,
            fallback,
            case_set.cases,
            tables.stream,
            tables.catalog,
            protocol,
            tables.cutoff,
            progress,
            list_length if place == 0 else 0,
        )
        run = plain_texts(case_set.labels).assign(
            **identity,
            protocol=FULL_RANKING,
            user_history=protocol.user_history.value,
            item_embeddings=protocol.item_embeddings.value,
            **{column: getattr(ranks, column) for column in RANK_COLUMNS},
        )
        lists = _list_frame(ranks.listed, list_length, tables.catalog.train_count)
        runs.append(pd.concat([run[[*RUN_COLUMNS, *CASE_COLUMNS, *RANK_COLUMNS]], lists], axis=1))
    return pd.concat(runs, ignore_index=True)


def _list_frame(listed: Int, length: int, train_count: Int) -> pd.DataFrame:
    """[C] rows of ``length`` list columns and the mean train count; no columns for length 0.

    Args:
        listed: [C, length] universe rows, or [C, 0] where no lists were made.
    """
    if not length:
        return pd.DataFrame(index=range(len(listed)))
    held = listed if listed.shape[1] else np.full((len(listed), length), PADDING, np.int64)
    filled = held != PADDING
    with np.errstate(invalid="ignore"):
        frequency = (train_count[held] * filled).sum(axis=1) / filled.sum(axis=1)  # NaN for an empty list
    columns = {f"{LISTED}{place}": held[:, place].astype(np.int32) for place in range(length)}
    return pd.DataFrame({**columns, LIST_FREQUENCY: frequency})


def of_protocol(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Rows of a ranks or metrics frame that belong to one protocol of full ranking."""
    return frame[
        (frame["protocol"] == FULL_RANKING)
        & (frame["user_history"] == protocol.user_history.value)
        & (frame["item_embeddings"] == protocol.item_embeddings.value)
    ]
