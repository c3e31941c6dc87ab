"""How a user's top items change with the time since the last engagement: Table 2 of HRNN-meta, on the data at hand.

Weights and histories are those of the cutoff. Each user is asked for at several delays after the last engagement before
it; nothing else differs, but what follows from the instant: the time-delta, whether a session starts, and hour and
weekday of the request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from assets.config import Settings
from assets.evaluation.studies.files import write_study
from assets.evaluation.studies.relevance import Flags
from assets.evaluation.studies.requests import after_last
from assets.evaluation.studies.time_page import markdown
from assets.evaluation.studies.time_table import DELAYS, delay_table
from assets.metrics import Floats
from assets.ranking import Recommender, item_vectors_of, user_vectors_of
from assets.schema import ITEM_COLUMNS
from assets.storage import Storage
from assets.stream import Catalog, DatasetTables, Int, batches, load_tables
from assets.training.checkpoints import recommender_of
from assets.training.encoding import feature_columns
from assets.training.presets import preset
from assets.training.seeds import for_seed, seeds_of
from assets.training.train import train

NAME: Final = "time_sensitivity"
MODEL: Final = "hrnn_meta"
LENGTH: Final = 10
"""Items of a list."""

GENRE: Final = "genre"
QUARTILES: Final = (0.25, 0.5, 0.75)
SCORES_PER_CHUNK: Final = 4_000_000


@dataclass(frozen=True)
class Lists:
    """What users are shown at each delay.

    Attributes:
        users: [U] universe rows, those with an engagement before the cutoff, ascending.
        last: [U] universe rows of each one's last item.
        items: [delays, U, K] universe rows, the best first.
    """

    users: Int
    last: Int
    items: Int


def make(storage: Storage, settings: Settings, progress: Callable[[str], object]) -> pd.DataFrame:
    """Train the model with every seed, write the study's files, and return its table: a row per delay and metric."""
    tables, runs = load_tables(storage), []
    for seed in seeds_of(MODEL, settings):
        progress(f"{MODEL}, seed {seed}")
        runs.append(lists(recommender_of(train(MODEL, tables, for_seed(settings, seed)), tables), tables))
    table = delay_table([measures(run, tables) for run in runs], settings)
    examples = quartile_users(runs[0])
    text = markdown(table, runs[0].items, runs[0].users, examples, tables, compared_features(tables.catalog), settings)
    config = {"model": preset(MODEL, settings.training, settings.dataset).model_dump(mode="json"), "length": LENGTH}
    write_study(storage, settings, NAME, table, text, config=config)
    return table


@torch.no_grad()
def lists(model: Recommender, tables: DatasetTables) -> Lists:
    """The first K items for everyone with an engagement before the cutoff, at each of :data:`DELAYS`.

    Candidates are the items on the catalog at the cutoff that the user has not engaged with.

    Raises:
        ValueError: when some user has fewer than K candidates.
    """
    known = tables.stream.before(tables.cutoff)
    items = item_vectors_of((model,), tables.stream, tables.cutoff)[0]
    users, candidates = np.unique(known.users), tables.catalog.rows_at(tables.cutoff)
    shown = []
    for delay in DELAYS.values():
        queries = after_last(known, users, model.history_length, delay)
        vectors = user_vectors_of(model, queries, items)
        shown.append(_top(vectors, items, users, candidates, tables))
    last = queries.history_items[np.arange(len(users)), queries.lengths - 1]
    return Lists(users, last, np.stack(shown))


def _top(vectors: Tensor, items: Tensor, users: Int, candidates: Int, tables: DatasetTables) -> Int:
    """[U, K] the best of ``candidates`` [C] that each user has not engaged with."""
    column = np.full(len(items), -1, np.int64)
    column[candidates] = np.arange(len(candidates))
    eligible, parts = items[torch.from_numpy(candidates)].T, []  # [D, C]
    for part in batches(len(users), max(1, SCORES_PER_CHUNK // len(candidates))):
        scores = vectors[part] @ eligible
        row, item = tables.stream.seen_pairs(users[part], np.full(len(users[part]), tables.cutoff))
        inside = column[item] >= 0
        scores[torch.from_numpy(row[inside]), torch.from_numpy(column[item[inside]])] = -torch.inf
        best, place = torch.topk(scores, min(LENGTH, len(candidates)), dim=1)
        if best.shape[1] < LENGTH or torch.isneginf(best).any():
            raise ValueError(f"a user has engaged with all but fewer than {LENGTH} of {len(candidates)} items")
        parts.append(candidates[place.numpy()])
    return np.concatenate(parts)


def measures(run: Lists, tables: DatasetTables) -> Floats:
    """[U, delays, 3] of :data:`assets.evaluation.studies.time_table.METRICS`.

    Overlap with the list without delay, likeness of a list's items to the last item (see :func:`likeness`), and their
    mean share of the engagements before the cutoff.
    """
    flags, count = feature_flags(tables.catalog), tables.catalog.train_count
    found = [
        (overlap(shown, run.items[0]), likeness(flags, shown, run.last), count[shown].mean(axis=1) / count.sum())
        for shown in run.items
    ]
    return np.stack([np.stack(each, axis=1) for each in found], axis=1)


def overlap(lists: Int, others: Int) -> Floats:
    """[U] share of each list [U, K] that is in the other [U, K], in whatever order."""
    return (lists[:, :, None] == others[:, None, :]).any(axis=2).mean(axis=1)


def likeness(flags: Flags, lists: Int, last: Int) -> Floats:
    """[U] mean Jaccard similarity of the values of each list's items [U, K] and the last item [U]; 0 without values.

    Args:
        flags: [N, F] whether an item has a value.
    """
    own, other = flags[lists], flags[last][:, None]  # [U, K, F], [U, 1, F]
    both, either = (own & other).sum(axis=2), (own | other).sum(axis=2)
    return (both / np.maximum(either, 1)).mean(axis=1)


def feature_flags(catalog: Catalog) -> Flags:
    """[N, F] which values of :func:`compared_features` each item has."""
    parts = [
        pd.get_dummies(catalog.frame[name].reset_index(drop=True).explode()).groupby(level=0).any().to_numpy(np.bool_)
        for name in compared_features(catalog)
    ]
    return np.concatenate([np.zeros((len(catalog), 0), np.bool_), *parts], axis=1)


def compared_features(catalog: Catalog) -> list[str]:
    """Genre where items have one, as the paper's table; else every feature."""
    names = feature_columns(catalog.frame, ITEM_COLUMNS)
    return [GENRE] if GENRE in names else names


def quartile_users(run: Lists) -> Sequence[int]:
    """Rows of the users at the quartiles of overlap between the shortest and the longest delay, low to high.

    So one whose list changes much, one in the middle, one whose list changes little; of equal ones the first.
    """
    order = np.argsort(overlap(run.items[-1], run.items[0]), kind="stable")
    return [int(order[round(share * (len(order) - 1))]) for share in QUARTILES]
