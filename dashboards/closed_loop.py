"""The figure of the closed loop: quality of what served against what would have been, drift, and what the loop did."""

from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
import matplotlib.dates
import numpy as np
import pandas as pd

from dashboards.figures import COLORS, MARKERS, drawing, png_of

SIGNS: Final = {"alert": ("v", "#E69F00"), "challenger won": ("*", "#009E73"), "challenger lost": ("X", "#7f7f7f")}
"""Marker and color of what the loop did."""


def closed_loop_png(
    quality: pd.DataFrame, drifted: Sequence[float], marks: Mapping[str, Sequence[pd.Timestamp]], shift: pd.Timestamp
) -> bytes:
    """Draw NDCG@10 by step, under it the share of partitions whose drift report raised the alarm.

    Args:
        quality: starts_at, and a column per line.
        drifted: share of each step's partitions.
        marks: instants of what the loop did, by name, see :data:`SIGNS`.
        shift: when the world changed.

    Returns:
        A PNG; equal input gives equal bytes.
    """
    with drawing(11, 6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        instants = quality["starts_at"]
        for place, name in enumerate(column for column in quality if column != "starts_at"):
            style, width = ("-", 2.2) if name == "champion" else ("--", 1.2)
            label = "what served" if name == "champion" else str(name)
            upper.plot(
                instants, quality[name], style, color=COLORS[place], marker=MARKERS[place], linewidth=width, label=label
            )
        top = float(quality.drop(columns="starts_at").to_numpy(np.float64).max()) * 1.12
        for name, (marker, color) in SIGNS.items():
            if marks.get(name):
                upper.plot(list(marks[name]), [top] * len(marks[name]), marker, color=color, markersize=10, label=name)
        upper.set_ylabel("NDCG@10")
        upper.set_ylim(bottom=0)
        lower.bar(list(instants), list(drifted), width=1.4, color=COLORS[0], align="edge")
        lower.set_ylabel("share of days\nwith drift alarm")
        lower.set_ylim(0, 1.05)
        for panel in (upper, lower):
            panel.axvline(mpl.dates.date2num(shift), color="black", linewidth=1, linestyle=":")
        upper.annotate("tastes change", (mpl.dates.date2num(shift), 0), xytext=(4, 4), textcoords="offset points")
        figure.legend(fontsize=8, ncols=4, loc="outside upper center", frameon=False)
        lower.set_xlabel("day that landed")
        return png_of(figure)
