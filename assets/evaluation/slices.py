"""Slices of cases, and the tidy metrics table with an interval for every number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.evaluation.protocol import RUN_COLUMNS
from assets.metrics import Floats, bootstrap, hit_rate, ndcg, reciprocal_rank
from assets.schema import ALL_WINDOWS, METRIC_COLUMNS, CaseSlice, Columns, ItemSlice

HIT_RATE = "hr"
NDCG = "ndcg"
MRR = "mrr"
NO_K = 0
"""Value of column ``k`` for a metric over the whole ranking."""

SEEN_FEW = 10
"""``seen_1_10`` ends here."""

Metric = tuple[str, int]
"""(metric, k)."""


def slice_masks(ranks: pd.DataFrame) -> dict[CaseSlice, NDArray[np.bool_]]:
    """[C] membership in every slice. Item slices and ``seen_*`` each part ``overall`` without a rest."""
    known = ranks["has_history"].to_numpy(dtype=bool)
    item_slice = ranks[Columns.SLICE].to_numpy()
    seen = ranks[Columns.ENGAGEMENTS_SEEN].to_numpy()
    return {
        CaseSlice.OVERALL: known,
        CaseSlice.HEAD: known & (item_slice == ItemSlice.HEAD.value),
        CaseSlice.TAIL: known & (item_slice == ItemSlice.TAIL.value),
        CaseSlice.COLD: known & (item_slice == ItemSlice.COLD.value),
        CaseSlice.NO_HISTORY: ~known,
        CaseSlice.ALL_USERS: np.ones(len(ranks), dtype=bool),
        CaseSlice.SEEN_0: known & (seen == 0),
        CaseSlice.SEEN_1_10: known & (seen >= 1) & (seen <= SEEN_FEW),
        CaseSlice.SEEN_MORE: known & (seen > SEEN_FEW),
    }


def metric_values(ranks: pd.DataFrame, metrics: Sequence[Metric]) -> Floats:
    """[C, M] per-case values.

    Raises:
        KeyError: for a metric nobody defined.
    """
    above = ranks["above"].to_numpy(dtype=np.int64)
    tied = ranks["tied"].to_numpy(dtype=np.int64)
    compute: dict[str, Any] = {
        HIT_RATE: lambda k: hit_rate(above, tied, k),
        NDCG: lambda k: ndcg(above, tied, k),
        MRR: lambda _: reciprocal_rank(above, tied),
    }
    return np.stack([compute[name](k) for name, k in metrics], axis=1)


def metric_names(ks: Sequence[int]) -> list[Metric]:
    """Every metric that is reported, with its k."""
    return [*((HIT_RATE, k) for k in ks), *((NDCG, k) for k in ks), (MRR, NO_K)]


def metrics_frame(ranks: pd.DataFrame, ks: Sequence[int], samples: int, seed: int) -> pd.DataFrame:
    """The tidy table: one row per run, window (and ``all``), slice, metric and k, with a 95 % bootstrap interval.

    A slice without cases in a window has no row: there is nothing to report, and 0 or NaN would be read as a result.

    Args:
        ranks: what :func:`assets.evaluation.protocol.rank_under_protocols` returned, of any number of runs.
        ks: cut-offs of the ranking.
        samples: bootstrap draws of users.
        seed: of the draws.

    Returns:
        Columns :data:`assets.schema.METRIC_COLUMNS`.
    """
    metrics = metric_names(ks)
    frames = []
    for key, run in ranks.groupby(list(RUN_COLUMNS), sort=False, observed=True):
        identity: Any = key
        values = metric_values(run, metrics)  # [C, M]
        labels, groups = _groups(run)
        low, high = bootstrap(values, pd.factorize(run[Columns.USER])[0], groups, samples, seed)  # [G, M] each
        frames.append(
            pd.DataFrame(
                {
                    **dict(zip(RUN_COLUMNS, identity, strict=True)),
                    "window": np.repeat([window for window, _ in labels], len(metrics)),
                    "slice": np.repeat([name.value for _, name in labels], len(metrics)),
                    "metric": [name for name, _ in metrics] * len(groups),
                    "k": [k for _, k in metrics] * len(groups),
                    "value": np.concatenate([values[rows].mean(axis=0) for rows in groups]),
                    "ci_low": low.ravel(),
                    "ci_high": high.ravel(),
                    "n": np.repeat([len(rows) for rows in groups], len(metrics)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)[list(METRIC_COLUMNS)]


def _groups(run: pd.DataFrame) -> tuple[list[tuple[str, CaseSlice]], list[NDArray[np.int64]]]:
    """(window, slice) labels and case rows of every group that holds a case."""
    masks = slice_masks(run)
    windows = run[Columns.WINDOW].to_numpy(dtype=np.int64)
    in_window = {str(window): windows == window for window in np.unique(windows)}
    in_window[ALL_WINDOWS] = np.ones(len(run), dtype=bool)
    labels, groups = [], []
    for window, inside in in_window.items():
        for name, mask in masks.items():
            rows = np.flatnonzero(mask & inside)
            if len(rows):
                labels.append((window, name))
                groups.append(rows)
    return labels, groups
