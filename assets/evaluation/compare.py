"""Comparisons that respect their pairing: two models on the same cases, and a window against the first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.evaluation.slices import Metric, metric_values, slice_masks
from assets.metrics import bootstrap_means
from assets.schema import CaseSlice, Columns

LEVEL = 0.95
TAILS = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Difference:
    """Mean difference of a metric, model minus reference, with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float

    @property
    def verdict(self) -> str:
        """``beats``, ``loses to`` or ``not distinguishable from``: does the interval lie on one side of 0."""
        if self.ci_low > 0:
            return "beats"
        return "loses to" if self.ci_high < 0 else "not distinguishable from"


def paired_difference(
    ranks: pd.DataFrame, reference: pd.DataFrame, metric: Metric, samples: int, seed: int
) -> Difference:
    """Difference on the same cases (those with some user history), users drawn again with replacement.

    Both models meet the same users and items, so what makes a case hard cancels out: far sharper than looking whether
    two intervals overlap.

    Args:
        ranks: one run of the model.
        reference: one run of the model it is compared with, under the same protocol.

    Raises:
        ValueError: when the two do not hold the same cases.
    """
    case = [Columns.SOURCE_ROW, Columns.USER, Columns.ITEM]
    left, right = (frame.sort_values(case, ignore_index=True) for frame in (ranks, reference))
    if not left[[*case, "has_history"]].equals(right[[*case, "has_history"]]):
        raise ValueError("the two models were not ranked on the same cases: evaluate both on the current tables")
    rows = np.flatnonzero(slice_masks(left)[CaseSlice.OVERALL])
    difference = metric_values(left, [metric]) - metric_values(right, [metric])
    draws = bootstrap_means(difference, pd.factorize(left[Columns.USER])[0], [rows], samples, seed)[0, :, 0]
    low, high = np.nanpercentile(draws, TAILS)
    return Difference(float(difference[rows].mean()), float(low), float(high))


def relative_to_first_window(ranks: pd.DataFrame, metrics: Sequence[Metric], samples: int, seed: int) -> pd.DataFrame:
    """Each window's metric over the first window's (cases with some user history), with its 95 % interval.

    Both sides of the ratio come from the same draw of users, so an interval accounts for users active in both.

    Args:
        ranks: one run of one model.

    Returns:
        Columns metric, k, window, ratio, ci_low, ci_high; the first window's ratio is 1. A metric that is 0 in the
        first window has no ratio and no rows.
    """
    windows = ranks[Columns.WINDOW].to_numpy(dtype=np.int64)
    overall = slice_masks(ranks)[CaseSlice.OVERALL]
    names = [window for window in np.unique(windows) if (overall & (windows == window)).any()]
    groups = [np.flatnonzero(overall & (windows == window)) for window in names]
    values = metric_values(ranks, metrics)
    draws = bootstrap_means(values, pd.factorize(ranks[Columns.USER])[0], groups, samples, seed)  # [W, S, M]
    rows = []
    for index, (metric, k) in enumerate(metrics):
        means = np.array([values[group, index].mean() for group in groups])
        if not len(means) or means[0] == 0:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = draws[:, :, index] / draws[:1, :, index]  # [W, S]
        ratios[~np.isfinite(ratios)] = np.nan
        low, high = np.nanpercentile(ratios, TAILS, axis=1)
        rows += [
            (metric, k, str(window), means[place] / means[0], low[place], high[place])
            for place, window in enumerate(names)
        ]
    return pd.DataFrame(rows, columns=["metric", "k", "window", "ratio", "ci_low", "ci_high"])
