"""Every model against every other on the same cases: per slice, per window, and from the first window on. Pure."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, Final

import numpy as np
import pandas as pd
from tabulate import tabulate

from assets.evaluation.compare import Difference, ModelDraws
from assets.evaluation.slices import LOWER_IS_BETTER, NLL, Metric, check_same_cases
from assets.metrics import Floats, percentile_interval
from assets.schema import ALL_WINDOWS, CaseSlice

PAIR_COLUMNS: Final = (
    *("model", "reference", "window", "slice", "metric", "k", "value", "reference_value"),
    *("difference", "ci_low", "ci_high", "ratio", "ratio_low", "ratio_high"),
    *("change", "change_low", "change_high", "n", "verdict"),
)

SHOWN_SLICES: Final = (
    CaseSlice.OVERALL,
    CaseSlice.HEAD,
    CaseSlice.TAIL,
    CaseSlice.COLD,
    CaseSlice.TAIL_AND_COLD,
)


def pair_table(drawn: Mapping[str, ModelDraws], metrics: Sequence[Metric]) -> pd.DataFrame:
    """Paired differences of every ordered pair of models, with 95 % intervals over draws of users.

    Args:
        drawn: per model, its draws of ``metrics`` with equal ``samples`` and ``seed``, under one protocol.

    Returns:
        Columns :data:`PAIR_COLUMNS`, a row per pair, window (and ``all``), slice and metric:

        - ``difference``: value minus reference value; ``verdict`` says whether its interval leaves out 0, and for whom.
        - ``ratio``: value over reference value; of perplexities where the metric is the likelihood. NaN over 0,
          with its ends. A draw of users without a hit of the reference counts as infinite: a ratio to few hits has no
          upper end.
        - ``change``: the difference in this window minus the difference in the slice's first window: above 0, the
          model's lead grew since then (for the likelihood, lower is better: below 0). NaN for ``all``.

    Raises:
        ValueError: when two models were not ranked on the same cases.
    """
    frames = [_pair(left, right, drawn[left], drawn[right], metrics) for left, right in permutations(drawn, 2)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(PAIR_COLUMNS))


def _pair(model: str, reference: str, left: ModelDraws, right: ModelDraws, metrics: Sequence[Metric]) -> pd.DataFrame:
    check_same_cases(left.cases, right.cases)
    difference, spread = left.means - right.means, left.draws - right.draws  # [G, M], [G, S, M]
    ratio, ratio_spread = _ratio(left.means, right.means, metrics), _ratio(left.draws, right.draws, metrics)
    none = ~np.isfinite(ratio)  # [G, M]
    ratio[none] = np.nan
    change, change_spread = difference - difference[left.firsts], spread - spread[left.firsts]
    everywhere = np.array([window == ALL_WINDOWS for window, _ in left.groups])
    change[everywhere], change_spread[everywhere] = np.nan, np.nan
    low, high = percentile_interval(spread)
    ratio_low, ratio_high = (np.where(none, np.nan, end) for end in percentile_interval(ratio_spread))
    change_low, change_high = percentile_interval(change_spread)
    size = len(metrics)
    table = pd.DataFrame(
        {
            "model": model,
            "reference": reference,
            "window": np.repeat([window for window, _ in left.groups], size),
            "slice": np.repeat([name.value for _, name in left.groups], size),
            "metric": [name for name, _ in metrics] * len(left.groups),
            "k": [k for _, k in metrics] * len(left.groups),
            "value": left.means.ravel(),
            "reference_value": right.means.ravel(),
            "difference": difference.ravel(),
            "ci_low": low.ravel(),
            "ci_high": high.ravel(),
            "ratio": ratio.ravel(),
            "ratio_low": ratio_low.ravel(),
            "ratio_high": ratio_high.ravel(),
            "change": change.ravel(),
            "change_low": change_low.ravel(),
            "change_high": change_high.ravel(),
            "n": left.counts.ravel(),
        }
    )
    table["verdict"] = [
        Difference(value, ci_low, ci_high, metric in LOWER_IS_BETTER).verdict
        for metric, value, ci_low, ci_high in zip(
            table["metric"], table["difference"], table["ci_low"], table["ci_high"], strict=True
        )
    ]
    return table.loc[table["n"] > 0, list(PAIR_COLUMNS)]


def _ratio(left: Floats, right: Floats, metrics: Sequence[Metric]) -> Floats:
    """``left / right`` along the last axis, one entry per metric; NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = left / right
    for place, (metric, _) in enumerate(metrics):
        if metric == NLL:
            ratio[..., place] = np.exp(left[..., place] - right[..., place])
    return ratio


def ratio_text(row: Mapping[Any, Any]) -> str:
    """``0.950 [0.940, 0.960]`` of a row of :func:`pair_table`; nothing where there is no ratio."""
    value, low, high = (float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    return "" if np.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]".replace("inf", "∞")


def pairs_markdown(table: pd.DataFrame, reference: str, metric: Metric) -> str:
    """Every model against one, all windows together: a row per model, a column per slice."""
    chosen = table[table["window"] == ALL_WINDOWS]
    return _markdown(chosen, reference, metric, ("difference", "ci_low", "ci_high"), "every window")


def changes_markdown(table: pd.DataFrame, reference: str, metric: Metric) -> str:
    """How every model's difference to one changed from a slice's first window to the last: a row per model."""
    windows = table.loc[table["window"] != ALL_WINDOWS, "window"]
    last = max(windows, key=int) if len(windows) else ""
    chosen = table[table["window"] == last]
    return _markdown(
        chosen, reference, metric, ("change", "change_low", "change_high"), f"change from the first window to {last}"
    )


def _markdown(table: pd.DataFrame, reference: str, metric: Metric, numbers: tuple[str, str, str], title: str) -> str:
    """A row per model against ``reference``, a column per slice, cells with their interval."""
    name, k = metric
    chosen = table[(table["reference"] == reference) & (table["metric"] == name) & (table["k"] == k)]
    cells = {
        (model, held): f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"
        for model, held, value, low, high in chosen[["model", "slice", *numbers]].itertuples(index=False)
    }
    slices = [each.value for each in SHOWN_SLICES if (chosen["slice"] == each.value).any()]
    rows = [[model, *(cells.get((model, each), "") for each in slices)] for model in chosen["model"].unique()]
    label = f"{name.upper()}@{k}" if k else name
    return tabulate(rows, [f"{label} minus {reference}, {title}", *slices], tablefmt="github", disable_numparse=True)
