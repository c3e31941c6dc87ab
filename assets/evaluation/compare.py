"""Comparisons that respect their pairing: two models on the same cases, and a window against the first.

Everything rests on draws of users that are the same for every model (:func:`assets.metrics.bootstrap_means`): what a
draw says of one model or window can be subtracted from, or divided by, what it says of another, and the spread over
the draws is that of the difference or ratio, whatever both have in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.evaluation.slices import (
    LOWER_IS_BETTER,
    Group,
    Metric,
    check_same_cases,
    group_means,
    group_rows,
    mean_over_seeds,
)
from assets.metrics import Floats, bootstrap_means, percentile_interval
from assets.schema import ALL_WINDOWS, CaseSlice, Columns

SLICES_COMPARED: Final = (
    CaseSlice.OVERALL,
    CaseSlice.HEAD,
    CaseSlice.TAIL,
    CaseSlice.COLD,
    CaseSlice.TAIL_AND_COLD,
    CaseSlice.ALL_USERS,
)
"""Slices that models and windows are compared on."""

RELATIVE_COLUMNS: Final = ("slice", "metric", "k", "window", "ratio", "ci_low", "ci_high", "n")


@dataclass(frozen=True)
class Difference:
    """Mean difference of a metric, model minus reference, with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float
    lower_is_better: bool = False

    @property
    def verdict(self) -> str:
        """``beats``, ``loses to`` or ``not distinguishable from``: does the interval lie on one side of 0."""
        if self.ci_low > 0:
            return "loses to" if self.lower_is_better else "beats"
        if self.ci_high < 0:
            return "beats" if self.lower_is_better else "loses to"
        return "not distinguishable from"


@dataclass(frozen=True)
class ModelDraws:
    """One model's means per group of cases, averaged over its seeds, and the same in every draw of users.

    Attributes:
        cases: [C] the cases, in the order of :data:`assets.evaluation.slices.CASE_KEY`.
        groups: G (window, slice) that hold a case, each of :data:`SLICES_COMPARED`.
        means: [G, M]; NaN where the metric is not defined for any case of the group.
        counts: [G, M] cases behind each.
        draws: [G, S, M].
    """

    cases: pd.DataFrame
    groups: list[Group]
    means: Floats
    counts: NDArray[np.int64]
    draws: Floats

    @cached_property
    def place(self) -> dict[Group, int]:
        """Position of every group."""
        return {group: place for place, group in enumerate(self.groups)}

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """[G] place of the same slice's first window that holds a case."""
        first: dict[CaseSlice, int] = {}
        for place, (window, name) in enumerate(self.groups):
            if window != ALL_WINDOWS:
                held = first.setdefault(name, place)
                if int(window) < int(self.groups[held][0]):
                    first[name] = place
        return np.array([first[name] for _, name in self.groups], dtype=np.int64)


def model_draws(
    ranks: pd.DataFrame,
    metrics: Sequence[Metric],
    samples: int,
    seed: int,
    slices: Sequence[CaseSlice] = SLICES_COMPARED,
) -> ModelDraws:
    """Means and draws of one model under one protocol.

    Args:
        ranks: one run per seed.
        metrics: M of them.
        samples: draws.
        seed: of the draws; equal for models that are compared.
    """
    cases, values = mean_over_seeds(ranks, metrics)
    held = {group: rows for group, rows in group_rows(cases).items() if group[1] in slices}
    rows = list(held.values())
    means, counts = group_means(values, rows)
    draws = bootstrap_means(values, pd.factorize(cases[Columns.USER])[0], rows, samples, seed)
    return ModelDraws(cases, list(held), means, counts, draws)


def paired_difference(
    ranks: pd.DataFrame, reference: pd.DataFrame, metric: Metric, samples: int, seed: int
) -> Difference:
    """Difference on the same cases (those with some user history), users drawn again with replacement.

    Both models meet the same users and items, so what makes a case hard cancels out: far sharper than looking whether
    two intervals overlap. A model of several seeds counts with its per-case means over them.

    Args:
        ranks: the model's runs under one protocol, one per seed.
        reference: those of the model it is compared with.

    Raises:
        ValueError: when the two do not hold the same cases, or none is of a user with history.
    """
    left, right = (
        model_draws(each, [metric], samples, seed, slices=[CaseSlice.OVERALL]) for each in (ranks, reference)
    )
    check_same_cases(left.cases, right.cases)
    at = (ALL_WINDOWS, CaseSlice.OVERALL)
    if at not in left.place:
        raise ValueError("no case is of a user with history under this protocol: there is nothing to compare models by")
    group = left.place[at]
    low, high = percentile_interval(left.draws[[group]] - right.draws[[group]])
    value = left.means[group, 0] - right.means[group, 0]
    return Difference(float(value), float(low[0, 0]), float(high[0, 0]), metric[0] in LOWER_IS_BETTER)


def relative_to_first_window(ranks: pd.DataFrame, metrics: Sequence[Metric], samples: int, seed: int) -> pd.DataFrame:
    """Each window's metric over the first window's, per slice, with its 95 % interval.

    Both sides of the ratio come from the same draw of users, so an interval accounts for users active in both. The
    first window of a slice is the first in which it has a case.

    Args:
        ranks: one model's runs under one protocol, one per seed; per-case means over them count.

    Returns:
        Columns :data:`RELATIVE_COLUMNS`; the first window's ratio is 1. A metric that is 0 in the first window has no
        ratio and no rows. The ends are NaN where no draw holds both windows, or where the upper one is infinite: too
        many draws have no hit in the first window.
    """
    drawn = model_draws(ranks, metrics, samples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = drawn.means / drawn.means[drawn.firsts]  # [G, M]
        spread = drawn.draws / drawn.draws[drawn.firsts]  # [G, S, M]
    low, high = percentile_interval(spread)
    low, high = (np.where(np.isinf(high), np.nan, end) for end in (low, high))
    rows = [
        (name.value, metric, k, window, ratios[g, m], low[g, m], high[g, m], drawn.counts[g, m])
        for m, (metric, k) in enumerate(metrics)
        for g, (window, name) in enumerate(drawn.groups)
        if window != ALL_WINDOWS and np.isfinite(ratios[g, m]) and drawn.means[drawn.firsts[g], m] > 0
    ]
    return pd.DataFrame(rows, columns=list(RELATIVE_COLUMNS))
