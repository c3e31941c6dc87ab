"""The figure of a contest: champion, challenger and floor per slice, with intervals. A frame in, PNG bytes out."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from assets.schema import CaseSlice
from dashboards.figures import drawing, look, png_of

SLICES: Final = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)
WIDTH: Final = 0.22
"""Between two contenders of a slice; slices are 1 apart."""


def contest_png(
    metrics: pd.DataFrame, models: Mapping[str, str], shown: Sequence[tuple[str, int]], title: str
) -> bytes:
    """Draw a panel per metric: a group of points per slice, one for each contender.

    Args:
        metrics: columns contender, slice, metric, k, value, ci_low, ci_high.
        models: contender -> model, in the order of the legend.
        shown: (metric, k) per panel.
        title: above the panels.

    Returns:
        A PNG; equal input gives equal bytes.
    """
    with drawing(5.2 * len(shown), 3.4) as figure:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for panel, (metric, k) in zip(panels, shown, strict=True):
            chosen = metrics[(metrics["metric"] == metric) & (metrics["k"] == k)]
            for place, (contender, model) in enumerate(models.items()):
                line = chosen[chosen["contender"] == contender].set_index("slice").reindex([s.value for s in SLICES])
                at = np.arange(len(SLICES)) + WIDTH * (place - (len(models) - 1) / 2)
                value = line["value"].to_numpy(dtype=np.float64)
                ends = line[["ci_low", "ci_high"]].to_numpy(dtype=np.float64).T
                color, marker = look(place)
                spread = np.abs(ends - value)
                panel.errorbar(at, value, spread, fmt=marker, color=color, capsize=3, label=f"{contender}: {model}")
            panel.set_xticks(np.arange(len(SLICES)), [each.value for each in SLICES])
            panel.set_ylim(bottom=0)
            panel.set_ylabel(f"{metric.upper()}@{k}")
        figure.suptitle(title)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(models), frameon=False)
        return png_of(figure)
