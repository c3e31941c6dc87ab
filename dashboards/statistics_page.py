"""A page that puts the statistics of several engagement logs beside each other: frames in, Markdown and a PNG out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
from tabulate import tabulate

from dashboards.figures import drawing, look, png_of

PANELS: Final = (
    ("popularity", "Popularity", "rank of the item", "share of all engagements"),
    ("activity", "Activity", "engagements", "share of users with so many or more"),
    ("pauses", "Pauses of a user", "seconds (six bins a decade)", "share of pauses"),
    ("age", "Age of the item", "days since its first engagement", "share of engagements at most so old"),
)
"""(curve, title, x, y)."""

LINEAR: Final = ("pauses", "age")
"""Curves whose y is not logarithmic."""

UNKNOWN: Final = "n/a"


@dataclass(frozen=True)
class Described:
    """One dataset of the page.

    Attributes:
        name: of the dataset.
        facts: section, statistic, value, unit.
        curves: curve, x, y.
        made_of: in words: options, version.
    """

    name: str
    facts: pd.DataFrame
    curves: pd.DataFrame
    made_of: str


def statistics_markdown(datasets: Sequence[Described], command: str, figure: str, notes: Sequence[str]) -> str:
    """The page: a table per section, a column per dataset.

    Args:
        command: what makes the page, as typed.
        figure: file name beside the page.
        notes: how the figures are to be read.
    """
    names = [one.name for one in datasets]
    parts = [
        f"# What engagement logs are like: {', '.join(names)}",
        f"Made by `{command}`. Simulated data is never evidence about real data: the page says how far it is from it.",
        f"![Popularity, activity, pauses, age of items]({figure})",
    ]
    values = [
        {(section, name): written(value, unit) for section, name, value, unit in one.facts.itertuples(index=False)}
        for one in datasets
    ]
    for section, rows in datasets[0].facts.groupby("section", sort=False):
        table = [[name, *(found[section, name] for found in values)] for name in rows["statistic"]]
        parts.append(f"## {str(section).capitalize()}")
        parts.append(tabulate(table, headers=["", *names], tablefmt="github", disable_numparse=True))
    parts.append("## How to read this")
    parts.append("\n".join(f"- {note}" for note in notes))
    parts.append("\n".join(f"- `{one.name}`: {one.made_of}" for one in datasets))
    return "\n\n".join(parts) + "\n"


def written(value: float, unit: str) -> str:
    """A figure with its unit: 1,234; 12.3 %; 4.5 min; 2.1 days."""
    if math.isnan(value):
        return UNKNOWN
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "days":
        return f"{value:,.1f} days"
    return _duration(value) if unit == "seconds" else f"{value:.2f}"


def _duration(seconds: float) -> str:
    for length, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:,.1f} {name}"
    return f"{seconds:.0f} s"


def statistics_png(datasets: Sequence[Described]) -> bytes:
    """Four panels, a line per dataset; equal input gives equal bytes."""
    with drawing(11, 7.5) as figure:
        for panel, (curve, title, x, y) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            for index, one in enumerate(datasets):
                points = one.curves[one.curves["curve"] == curve]
                panel.plot(points["x"], points["y"], color=look(index)[0], label=one.name)
            panel.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="linear" if curve in LINEAR else "log")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(datasets), frameon=False)
        return png_of(figure)
