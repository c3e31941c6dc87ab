"""The task of the cold-items study (HRNN-meta, section 4.4): rank items that nobody has engaged with yet.

A case is a user with history who engaged with held-out items. The candidates are the held-out items alone, relevant are
those the user engaged with. A request is made at the user's last known engagement, not at the instant at which the
split's timeline puts the test: held-out engagements happened among the others, and a request months after the last one
would be another task, with another time-delta than nearly all of training has.

What a net is fitted with can be chosen without the test: :func:`held_out_again` makes the same task of train time.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from assets.evaluation.studies.relevance import Flags, Ranking
from assets.evaluation.studies.requests import after_last
from assets.metrics import Floats
from assets.ranking import Recommender, item_vectors_of, user_vectors_of
from assets.schema import Columns, ItemSlice
from assets.stream import Catalog, DatasetTables, EngagementStream, Int, batches, start_of_day
from assets.training.past import before_cutoff

METRICS: Final = ("MRR", "P@5", "P@25", "NDCG@5", "NDCG@25")
"""The paper's Table 7."""

SCORES_PER_CHUNK: Final = 1_000_000


@dataclass(frozen=True)
class ColdCases:
    """Users, and what of the held-out items is relevant to them.

    Attributes:
        users: [U] universe rows, ascending; each had history and engaged with a held-out item.
        items: [N] universe rows of the held-out items, ascending.
        rows: [P] with ``columns``: the relevant (user, item) pairs, ascending by user, each once.
        columns: [P].
        left_out: users who engaged with held-out items and had no history.
    """

    users: Int
    items: Int
    rows: Int
    columns: Int
    left_out: int

    def __len__(self) -> int:
        return len(self.users)

    def relevant(self, part: slice) -> Flags:
        """[part, N]."""
        begin, end = np.searchsorted(self.rows, [part.start, part.stop])
        flags = np.zeros((part.stop - part.start, len(self.items)), np.bool_)
        flags[self.rows[begin:end] - part.start, self.columns[begin:end]] = True
        return flags


def cold_cases(tables: DatasetTables) -> ColdCases:
    """The cases behind the cutoff.

    Raises:
        ValueError: when an item engaged with from the cutoff on was engaged with before, so is not cold; when there is
            no such item, or no user with history engaged with any.
    """
    known, test = tables.stream.before(tables.cutoff), tables.stream.since(tables.cutoff)
    items, column = np.unique(test.items, return_inverse=True)
    if (warm := np.intersect1d(items, known.items)).size:
        raise ValueError(
            f"item {tables.catalog.item_ids[warm[0]]!r} is tested and was engaged with before the cutoff: these are not"
            " the tables of split.kind held_out_items"
        )
    users = np.unique(test.users)
    served = np.intersect1d(users, known.users)
    if not len(served):
        raise ValueError(f"none of {len(users)} users who engaged with held-out items had history: nothing to rank")
    inside = np.isin(test.users, served)
    pairs = np.unique(np.searchsorted(served, test.users[inside]) * len(items) + column[inside])
    return ColdCases(served, items, pairs // len(items), pairs % len(items), len(users) - len(served))


@torch.no_grad()
def cold_metrics(model: Recommender, tables: DatasetTables, cases: ColdCases) -> Floats:
    """[U, 5] of :data:`METRICS`, ties averaged. Items are as of the cutoff: known by their features alone."""
    known = tables.stream.before(tables.cutoff)
    items = item_vectors_of((model,), tables.stream, tables.cutoff)[0]
    users = user_vectors_of(model, after_last(known, cases.users, model.history_length), items)
    # Equal vectors have to tie, and a product may round one column otherwise than the next: each is scored once.
    distinct, places = torch.unique(items[torch.from_numpy(cases.items)], dim=0, return_inverse=True)  # [V, D], [N]
    return np.concatenate(
        [
            _metrics((users[part] @ distinct.T)[:, places].double().numpy(), cases.relevant(part))
            for part in _parts(cases)
        ]
    )


def random_metrics(cases: ColdCases) -> Floats:
    """[U, 5] expected of random choice, exactly: of scores that are all equal."""
    parts = [cases.relevant(part) for part in _parts(cases)]
    return np.concatenate([_metrics(np.zeros(flags.shape), flags) for flags in parts])


def _parts(cases: ColdCases) -> list[slice]:
    return list(batches(len(cases), max(1, SCORES_PER_CHUNK // len(cases.items))))


def _metrics(scores: Floats, relevant: Flags) -> Floats:
    ranking = Ranking(scores, relevant)
    return np.stack(
        [
            ranking.reciprocal_rank(),
            ranking.precision(5),
            ranking.precision(25),
            ranking.ndcg(5),
            ranking.ndcg(25),
        ],
        axis=1,
    )


def held_out_again(tables: DatasetTables, share: float, validation_fraction: float, seed: int) -> DatasetTables:
    """The same task made of train time alone: of its items, ``share`` are held out once more.

    As split.kind held_out_items has it: their engagements go to the midnight behind what is left, which is the new
    cutoff; they join the catalog there, and nothing was known of them before.

    Args:
        validation_fraction: of what is left, the latest, that form the validation tail.
        seed: which items.
    """
    past = before_cutoff(tables)
    engaged = np.unique(past.stream.items)
    drawn = np.random.default_rng(seed).choice(engaged, round(share * len(engaged)), replace=False)
    held = np.zeros(len(past.catalog), np.bool_)
    held[drawn] = True
    tested = held[past.stream.items]
    left = past.stream.timestamps[~tested]
    midnight = (start_of_day(left[-1:]) + np.timedelta64(1, "D"))[0]
    interactions = past.interactions.assign(
        **{Columns.TIMESTAMP: np.where(tested, midnight, past.stream.timestamps)}
    ).sort_values([Columns.TIMESTAMP, Columns.SOURCE_ROW], kind="stable", ignore_index=True)
    items = _joining(past.catalog.frame, held, midnight)
    return replace(
        past,
        stream=EngagementStream.from_tables(interactions, past.users, items),
        catalog=Catalog.from_table(items),
        interactions=interactions,
        cutoff=midnight,
        validation_start=left[int(len(left) * (1 - validation_fraction))],
    )


def _joining(items: pd.DataFrame, held: Flags, instant: np.datetime64) -> pd.DataFrame:
    """The items table with those of ``held`` [N] unknown until ``instant``."""
    joined: dict[str, Any] = {
        Columns.AVAILABLE_AT: instant,
        Columns.FIRST_ENGAGED_AT: instant,
        Columns.TRAIN_COUNT: 0,
        Columns.SLICE: ItemSlice.COLD.value,
    }
    changed = items.copy()
    for name, value in joined.items():
        changed.loc[held, name] = value
    return changed
