"""Drift of the latest landed partitions as a picture: score over threshold per column."""

from typing import Final

import pandas as pd

from assets.schema import Columns
from dashboards.figures import DPI, png_of

SHOWN: Final = 90
"""Partitions, the latest, that a picture has room for."""


def partition_figure(scores: pd.DataFrame, dataset: str) -> bytes:
    """PNG: a line per column; 1 is the threshold, at and above it a column has drifted.

    Args:
        scores: starts_at, column, score, threshold; a row per partition and column.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - for the few runs that draw

    table = scores.assign(ratio=scores["score"] / scores["threshold"]).pivot_table(
        index=Columns.STARTS_AT, columns="column", values="ratio", aggfunc="last"
    )
    table = table.sort_index().tail(SHOWN)
    figure = Figure(figsize=(9, 4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for column in table.columns:
        axes.plot(table.index, table[column], marker=".", label=str(column))
    axes.axhline(1.0, color="black", linestyle="--", linewidth=1, label="threshold")
    axes.set(title=f"{dataset}: drift of landed partitions", ylabel="score / threshold")
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return png_of(figure)
