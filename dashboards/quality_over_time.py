"""Champion and floor from partition to partition, as a figure. A frame in, PNG bytes out."""

from typing import Final

import matplotlib as mpl
import matplotlib.dates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dashboards.figures import COLORS, MARKERS, drawing, png_of

SHOWN: Final = (("hr", "HR"), ("ndcg", "NDCG"))
MOST_PARTITIONS: Final = 120
"""Drawn are the latest ones."""

Interval = tuple[np.datetime64, np.datetime64]


def quality_png(quality: pd.DataFrame, k: int, days: dict[str, Interval], min_cases: int, title: str) -> bytes:
    """Draw HR@k and NDCG@k on all cases with history per partition: champions solid, the floor dashed, 95 % bands.

    Args:
        quality: columns checkpoint, model, contender, starts_at, slice, metric, k, value, ci_low, ci_high, n.
        k: of the metrics.
        days: name -> [starts, ends) of event time, shaded: what a decay alert compares.
        min_cases: a point of fewer cases is hollow.
        title: above the panels.

    Returns:
        A PNG; equal input gives equal bytes.

    Raises:
        ValueError: when there is nothing to draw.
    """
    points = quality[(quality["slice"] == "overall") & (quality["k"] == k)].sort_values("starts_at", kind="stable")
    latest = np.sort(points["starts_at"].unique())[-MOST_PARTITIONS:]
    if not len(latest):
        raise ValueError(f"no HR@{k} or NDCG@{k} of users with history to draw: was any partition measured?")
    points = points[points["starts_at"] >= latest[0]]
    with drawing(10, 6.2) as figure:
        panels = figure.subplots(len(SHOWN), 1, sharex=True)
        for panel, (metric, name) in zip(panels, SHOWN, strict=True):
            _shade(panel, days)
            _draw(panel, points[points["metric"] == metric], min_cases)
            panel.set_ylabel(f"{name}@{k}")
        panels[-1].tick_params(axis="x", rotation=30)
        panels[-1].set_xlim(latest[0] - np.timedelta64(12, "h"), points["starts_at"].max() + pd.Timedelta(hours=12))
        panels[0].legend(fontsize=8, ncols=4)
        figure.suptitle(f"{title}\n95 % bands over users; dashed: floor; hollow: fewer than {min_cases} cases")
        return png_of(figure)


def _draw(panel: Axes, points: pd.DataFrame, min_cases: int) -> None:
    for place, ((contender, checkpoint), line) in enumerate(points.groupby(["contender", "checkpoint"], sort=False)):
        floor = contender == "floor"
        color, marker = ("0.45", "x") if floor else (COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)])
        at = line["starts_at"].to_numpy()
        label = "floor" if floor else f"{line['model'].iloc[0]} {checkpoint}"
        known = {text.get_label() for text in panel.get_lines()}
        panel.fill_between(at, line["ci_low"], line["ci_high"], color=color, alpha=0.13, linewidth=0)
        panel.plot(
            at,
            line["value"],
            "--" if floor else "-",
            color=color,
            marker=marker,
            markersize=4,
            label="_" if label in known else label,
        )
        few = (line["n"] < min_cases).to_numpy()
        if not floor:
            panel.scatter(at[few], line["value"][few], s=18, facecolors="white", edgecolors=color, zorder=3)
    panel.set_ylim(bottom=0)


def _shade(panel: Axes, days: dict[str, Interval]) -> None:
    for color, (name, (starts_at, ends_at)) in zip((COLORS[5], COLORS[4]), days.items(), strict=False):
        if starts_at < ends_at:
            first, end = mpl.dates.date2num([starts_at, ends_at])
            panel.axvspan(first, end, color=color, alpha=0.12, linewidth=0, label=f"{name} days")
