"""The figure of retraining (HRNN-meta paper, Fig. 5): quality per frame. A frame in, PNG bytes out."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from dashboards.figures import drawing, look, png_of


def online_png(
    points: pd.DataFrame,
    names: Sequence[str],
    floors: Collection[str],
    shown: Sequence[str],
    min_cases: int,
    title: str,
) -> bytes:
    """Draw metrics over time, a panel each, 95 % intervals as bands.

    Args:
        points: columns ``starts_at`` (of the frame), ``contender``, ``metric``, ``k``, ``value``, ``ci_low``,
            ``ci_high``, ``n``.
        names: contenders in the order of the legend.
        floors: contenders drawn with dashed lines.
        shown: metrics, from top to bottom; ``perplexity`` has a logarithmic scale, the others begin at 0.
        min_cases: a point of fewer cases is hollow.
        title: above the panels.

    Returns:
        A PNG; equal input gives equal bytes.

    Raises:
        ValueError: when there is nothing to draw.
    """
    if points.empty:
        raise ValueError("no frame to draw: materialize the partitions of studies/online_frames")
    points = points.sort_values("starts_at")
    with drawing(10, 2.7 * len(shown) + 1.3) as figure:
        panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
        for panel, metric in zip(panels, shown, strict=True):
            _draw_panel(panel, points[points["metric"] == metric], metric, names, floors, min_cases)
        panels[-1].set_xlabel("start of the frame, UTC")
        locator = AutoDateLocator()
        panels[-1].xaxis.set_major_locator(locator)
        panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
        figure.suptitle(f"{title}\n95 % bands over users; dashed: floors; hollow: fewer than {min_cases} cases")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        return png_of(figure)


def _draw_panel(
    panel: Axes, points: pd.DataFrame, metric: str, names: Sequence[str], floors: Collection[str], min_cases: int
) -> None:
    for index, name in enumerate(names):
        line = points[points["contender"] == name]
        at = line["starts_at"].to_numpy()
        color, marker = look(index)
        panel.fill_between(at, line["ci_low"], line["ci_high"], color=color, alpha=0.1, linewidth=0)
        style = "--" if name in floors else "-"
        panel.plot(at, line["value"], style, color=color, marker=marker, markersize=4.5, label=name)
        few = (line["n"] < min_cases).to_numpy(dtype=bool)
        panel.scatter(at[few], line["value"][few], s=20, marker=marker, facecolors="white", edgecolors=color, zorder=3)
    ks = [int(k) for k in np.unique(points["k"]) if k]
    panel.set_ylabel(f"{metric.upper()}@{ks[0]}" if ks else metric)
    if metric == "perplexity":
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
