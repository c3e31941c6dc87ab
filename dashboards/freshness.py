"""The freshness figure: seconds per hop and partition, and what they add up to. A frame in, PNG bytes out."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from dashboards.figures import COLORS, drawing, png_of

SHOWN: Final = 60
"""Partitions drawn: the latest ones."""


def freshness_png(table: pd.DataFrame, hops: Sequence[str], total: str, bound: float, title: str) -> bytes:
    """Draw mean seconds of ``hops`` as stacked bars, and the quantiles of ``total`` as lines, per group.

    Args:
        table: group, hop, mean, p50, p95, p99 (seconds).
        hops: in the order of their happening.
        total: the hop whose quantiles are drawn.
        bound: seconds, drawn as a dashed line.
        title: above the panels.

    Returns:
        A PNG; equal input gives equal bytes.

    Raises:
        ValueError: when there is no group to draw.
    """
    groups = list(dict.fromkeys(table["group"]))[-SHOWN:]
    if not groups:
        raise ValueError("no partition to draw: nothing landed yet")
    of = table.set_index(["hop", "group"])
    at = np.arange(len(groups))
    with drawing(11, 6.4) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for color, (name, style) in zip(COLORS, {"p50": "o-", "p95": "s-", "p99": "^-"}.items(), strict=False):
            upper.plot(at, of.loc[total][name].reindex(groups), style, color=color, label=name, markersize=4)
        upper.axhline(bound, color="black", linestyle="--", linewidth=1, label=f"bound on p95: {bound:g} s")
        upper.set_yscale("symlog", linthresh=1)
        upper.set_ylabel(f"{total}, seconds")
        below = np.zeros(len(groups))
        for color, hop in zip(COLORS, hops, strict=False):
            height = of.loc[hop]["mean"].reindex(groups).fillna(0.0).to_numpy(np.float64)
            lower.bar(at, height, bottom=below, color=color, label=hop, width=0.8)
            below = below + height
        lower.set_ylabel("mean seconds per hop")
        step = max(1, len(groups) // 15)
        lower.set_xticks(at[::step], groups[::step], rotation=45, ha="right")
        for panel in (upper, lower):
            panel.legend(fontsize=8, ncols=4)
        figure.suptitle(title)
        return png_of(figure)
