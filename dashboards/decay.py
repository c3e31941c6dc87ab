"""The decay figure: quality of frozen weights from window to window, with intervals. A frame in, PNG bytes out."""

from collections.abc import Collection, Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from assets.schema import ALL_WINDOWS, CaseSlice
from dashboards.figures import COLORS, drawing, look, png_of
from dashboards.spread import spread

SLICES: Final = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)

MOST_TICKS: Final = 10


def decay_png(
    metrics: pd.DataFrame,
    models: Sequence[str],
    floors: Collection[str],
    shown: Sequence[tuple[str, int]],
    min_cases: int,
    title: str,
    ratios_of: pd.DataFrame | None = None,
) -> bytes:
    """Draw a metric per window and model: a row per metric, a column per slice, 95 % intervals as bands.

    Args:
        metrics: tidy metrics of one dataset, seed and protocol; rows of window ``all`` are not drawn.
        models: in the order of the legend.
        floors: models drawn with dashed lines.
        shown: (metric, k) per row of panels.
        min_cases: a point of fewer cases is hollow.
        title: above the panels.
        ratios_of: where ``metrics`` are ratios to the first window, what they are the ratios of: a model that has a
            value there and no ratio was at 0 in the first window, and the panel says so.

    Returns:
        A PNG; equal input gives equal bytes.

    Raises:
        ValueError: when there is nothing to draw.
    """
    points = _of_windows(metrics, models)
    measured = points if ratios_of is None else _of_windows(ratios_of, models)
    if measured.empty:
        raise ValueError("no metric of any window to draw: is metrics.parquet of this dataset and roster?")
    with drawing(13, 3.1 * len(shown) + 0.9) as figure:
        panels = figure.subplots(len(shown), len(SLICES), squeeze=False, sharex=True)
        for row, (metric, k) in zip(panels, shown, strict=True):
            for panel, name in zip(row, SLICES, strict=True):
                drawn = _chosen(points, metric, k, name)
                _draw_panel(panel, drawn, models, floors, min_cases)
                _say_what_is_missing(panel, drawn, _chosen(measured, metric, k, name), models)
            row[0].set_ylabel(f"{metric.upper()}@{k}")
        for panel, name in zip(panels[0], SLICES, strict=True):
            panel.set_title(name.value)
        for panel in panels[-1]:
            panel.set_xlabel("test window")
            panel.set_xticks(spread(sorted(measured["window"].unique()), MOST_TICKS))
        figure.suptitle(f"{title}\n95 % bands over users; dashed: floors; hollow: fewer than {min_cases} cases")
        handles = {line.get_label(): line for panel in panels.flat for line in panel.get_lines()}
        known = [model for model in models if model in handles]
        figure.legend(
            [handles[model] for model in known], known, loc="outside lower center", ncols=len(COLORS), frameon=False
        )
        return png_of(figure)


def _of_windows(metrics: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    chosen = metrics[(metrics["window"] != ALL_WINDOWS) & metrics["model"].isin(list(models))]
    return chosen.assign(window=chosen["window"].astype(int)).sort_values("window")


def _chosen(metrics: pd.DataFrame, metric: str, k: int, name: CaseSlice) -> pd.DataFrame:
    return metrics[(metrics["metric"] == metric) & (metrics["k"] == k) & (metrics["slice"] == name.value)]


def _draw_panel(
    panel: Axes, points: pd.DataFrame, models: Sequence[str], floors: Collection[str], min_cases: int
) -> None:
    for index, model in enumerate(models):
        line = points[points["model"] == model]
        if line.empty:
            continue
        color, marker = look(index)
        panel.fill_between(line["window"], line["ci_low"], line["ci_high"], color=color, alpha=0.13, linewidth=0)
        style = "--" if model in floors else "-"
        panel.plot(line["window"], line["value"], style, color=color, marker=marker, markersize=4.5, label=model)
        few = line[line["n"] < min_cases]
        panel.scatter(few["window"], few["value"], s=20, marker=marker, facecolors="white", edgecolors=color, zorder=3)
    panel.set_ylim(bottom=0)


def _say_what_is_missing(panel: Axes, points: pd.DataFrame, measured: pd.DataFrame, models: Sequence[str]) -> None:
    """In a panel of ratios, name the models that have none; in any, say where there is nothing at all."""
    without = [model for model in models if model in set(measured["model"]) - set(points["model"])]
    said = "\n".join(["no ratio, 0 in the first window:", *without]) if without else "no cases"
    if points.empty:
        panel.text(0.5, 0.5, said, ha="center", va="center", transform=panel.transAxes, color="0.4")
    elif without:
        panel.text(0.02, 0.02, said, ha="left", va="bottom", transform=panel.transAxes, color="0.4", fontsize=6)
