"""Validation by slice: NDCG@50 of head, tail and cold targets, the measure of the CDN paper's Fig. 4."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assets import metrics
from assets.config import SplitConfig
from assets.ranking import Recommender, rank_cases
from assets.schema import ItemSlice
from assets.stream import DatasetTables
from assets.training.counting import CountAll, CountingRecommender
from assets.training.validation import ROLLING_REFRESHED, validator

K: Final = 50
OVERALL: Final = "overall"
SLICES: Final = (OVERALL, *(name.value for name in ItemSlice))
MAX_CASES: Final = 20_000
"""Ten times what an epoch is judged by: this is measured once per trial, and the tail is a small part of the cases."""
SAMPLES: Final = 500
SEED: Final = 0
"""Of the cases and of the bootstrap: the same for every trial, so that trials are compared on the same cases."""


def columns(name: str) -> tuple[str, str, str, str]:
    """What is measured of a slice: its NDCG@50, the ends of the 95 % interval over users, the number of cases."""
    value = f"ndcg@{K}_{name}"
    return value, f"{value}_low", f"{value}_high", f"cases_{name}"


def not_measured() -> dict[str, float]:
    """The columns of every slice where there is nothing to measure."""
    return {
        column: value for name in SLICES for column, value in zip(columns(name), (*[math.nan] * 3, 0.0), strict=True)
    }


def slices_before(past: DatasetTables, split: SplitConfig) -> NDArray[np.object_]:
    """[N] slice of every item by its engagements before the validation tail, under the split's own rule for head."""
    counts = np.bincount(past.stream.before(past.validation_start).items, minlength=past.stream.n_items)
    head = _most_frequent(past, counts, split) if split.head_rule == "pareto" else counts > split.tail_max_count
    names = [ItemSlice.COLD.value, ItemSlice.HEAD.value]
    return np.select([counts == 0, head], names, ItemSlice.TAIL.value).astype(object)


def _most_frequent(past: DatasetTables, counts: NDArray[np.int64], split: SplitConfig) -> NDArray[np.bool_]:
    """[N] the share of the items available then that has the most engagements, equal counts in order of id."""
    available = int((past.catalog.available_at < past.validation_start).sum())  # NaT is never before anything
    order = np.lexsort((past.catalog.item_ids.astype(str), -counts))
    head = np.zeros(len(counts), np.bool_)
    head[order[: max(1, int(np.floor(split.head_share * available + 0.5)))]] = True
    return head


def slice_ndcg(model: Recommender, past: DatasetTables, split: SplitConfig) -> dict[str, float]:
    """NDCG@50 on the validation tail per slice, under the columns of :func:`columns`; NaN for a slice without cases.

    Full ranking by evaluation's rules, users with history only: rolling histories, items refreshed every day.
    """
    cases = validator(past, SEED, MAX_CASES).cases
    fallback = CountingRecommender(CountAll(), 1.0, past.validation_start)  # ranks nothing: every case has history
    ranks = rank_cases(model, fallback, cases, past.stream, past.catalog, ROLLING_REFRESHED, past.validation_start)
    values = metrics.ndcg(ranks.above, ranks.tied, K)[:, None]  # [C, 1]
    own = slices_before(past, split)[cases.items]
    groups = [np.flatnonzero(own == name) if name != OVERALL else np.arange(len(cases)) for name in SLICES]
    low, high = metrics.bootstrap(values, cases.users, groups, SAMPLES, SEED)  # each [4, 1]
    measured: dict[str, float] = {}
    for name, rows, ends in zip(SLICES, groups, zip(low[:, 0], high[:, 0], strict=True), strict=True):
        mean = float(values[rows].mean()) if len(rows) else math.nan
        measured |= dict(zip(columns(name), (mean, *map(float, ends), float(len(rows))), strict=True))
    return measured
