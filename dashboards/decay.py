"""The decay figure: quality of frozen weights from window to window, with intervals. A frame in, PNG bytes out."""

import io
from collections.abc import Collection, Sequence
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from assets.schema import ALL_WINDOWS, CaseSlice

SLICES: Final = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)

COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which people with any kind of colour blindness can tell apart."""
MARKERS: Final = "osD^vPX"

STYLE: Final[dict[Any, Any]] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # matplotlib's own, so the picture is the same everywhere
    "font.size": 9,
    "grid.alpha": 0.25,
}


def decay_png(
    metrics: pd.DataFrame,
    models: Sequence[str],
    floors: Collection[str],
    shown: Sequence[tuple[str, int]],
    min_cases: int,
    title: str,
) -> bytes:
    """Draw a metric per window and model: a row per metric, a column per slice, 95 % intervals as bands.

    Args:
        metrics: tidy metrics of one dataset, seed and protocol; rows of window ``all`` are not drawn.
        models: in the order of the legend.
        floors: models drawn with dashed lines.
        shown: (metric, k) per row of panels.
        min_cases: a point of fewer cases is hollow.
        title: above the panels.

    Returns:
        A PNG; equal input gives equal bytes.

    Raises:
        ValueError: when there is nothing to draw.
    """
    points = metrics[(metrics["window"] != ALL_WINDOWS) & metrics["model"].isin(list(models))]
    if points.empty:
        raise ValueError("no metric of any window to draw: is metrics.parquet of this dataset and roster?")
    points = points.assign(window=points["window"].astype(int)).sort_values("window")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 3.1 * len(shown) + 0.9), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(shown), len(SLICES), squeeze=False, sharex=True)
        for row, (metric, k) in zip(panels, shown, strict=True):
            of_metric = points[(points["metric"] == metric) & (points["k"] == k)]
            for panel, name in zip(row, SLICES, strict=True):
                _draw_panel(panel, of_metric[of_metric["slice"] == name.value], models, floors, min_cases)
            row[0].set_ylabel(f"{metric.upper()}@{k}")
        for panel, name in zip(panels[0], SLICES, strict=True):
            panel.set_title(name.value)
        for panel in panels[-1]:
            panel.set_xlabel("test window")
            panel.set_xticks(sorted(points["window"].unique()))
        figure.suptitle(f"{title}\n95 % bands over users; dashed: floors; hollow: fewer than {min_cases} cases")
        handles = {line.get_label(): line for panel in panels.flat for line in panel.get_lines()}
        known = [model for model in models if model in handles]
        figure.legend(
            [handles[model] for model in known], known, loc="outside lower center", ncols=len(COLORS), frameon=False
        )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_panel(
    panel: Axes, points: pd.DataFrame, models: Sequence[str], floors: Collection[str], min_cases: int
) -> None:
    for index, model in enumerate(models):
        line = points[points["model"] == model]
        if line.empty:
            continue
        color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        panel.fill_between(line["window"], line["ci_low"], line["ci_high"], color=color, alpha=0.13, linewidth=0)
        style = "--" if model in floors else "-"
        panel.plot(line["window"], line["value"], style, color=color, marker=marker, markersize=4.5, label=model)
        few = line[line["n"] < min_cases]
        panel.scatter(few["window"], few["value"], s=20, marker=marker, facecolors="white", edgecolors=color, zorder=3)
    if points.empty:
        panel.text(0.5, 0.5, "no cases", ha="center", va="center", transform=panel.transAxes, color="0.4")
    panel.set_ylim(bottom=0)
