"""What a page of the static site is made of: sections with sentences, figures and tables. Plain data, no HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from dashboards.spread import spread

MOST_ROWS: Final = 400
"""Rows that a table on a page shows: the newest."""


class State(StrEnum):
    """How something is; UNKNOWN where it was not measured, which is never good."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Topic:
    """One subject's state, the reason in a sentence, and the page that says more."""

    name: str
    state: State
    reason: str
    href: str


class Cell(NamedTuple):
    """A cell's text; ``href`` makes it a link, ``state`` colours it, ``strong`` makes it bold."""

    text: str
    href: str = ""
    state: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a caption. The first column heads its rows; the columns ``numbers`` are aligned to the right.

    One that is ``folded`` is shown on request.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[str] = frozenset()
    folded: bool = False


class LineStyle(NamedTuple):
    """A line's colour, one of the palette's places, and dash."""

    slot: int
    dash: Literal["solid", "dash", "dot"] = "solid"


@dataclass(frozen=True)
class Figure:
    """Panels of lines or bars over a common x, and the same numbers as a table.

    Attributes:
        name: unique on its page; letters and hyphens.
        summary: what it shows and says, in words.
        frame: tidy, columns ``panel``, ``line``, ``x``, ``value``, ``low``, ``high`` (NaN without an interval).
        panels: title per panel in order, with the label of its y axis.
        lines: style per line, in the order of the legend.
        x_title: label of the x axis.
        kind: ``line``, ``bar`` (beside each other) or ``stack``.
        time: whether x holds instants.
        marks: instants at which something happened, with a word each; drawn as vertical lines.
        bounds: y per line drawn across every panel, with a word each.
    """

    name: str
    summary: str
    frame: pd.DataFrame
    panels: Mapping[str, str]
    lines: Mapping[str, LineStyle]
    x_title: str
    kind: Literal["line", "bar", "stack"] = "line"
    time: bool = False
    marks: Sequence[tuple[Any, str]] = ()
    bounds: Sequence[tuple[float, str]] = ()
    log: bool = False


@dataclass(frozen=True)
class Link:
    """A page, relative to the one it stands on, and what it holds."""

    href: str
    title: str
    about: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order: sentences, figures, tables, notes, links."""

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class Page:
    """A page of the site: its file, its name in the navigation, a leading sentence, its sections."""

    file: str
    name: str
    lead: str
    sections: Sequence[Section] = ()
    topics: Sequence[Topic] = field(default_factory=tuple)


def missing(title: str, how: str) -> Section:
    """A section that says that there is nothing yet, and what makes it."""
    return Section(title, text=[f"Not measured yet: {how}"])


def styles(solid: Sequence[str], dashed: Sequence[str] = ()) -> dict[str, LineStyle]:
    """A style per name: the palette's colours in turn, dotted from the second round on; ``dashed`` after them."""
    places = {name: LineStyle(place, "solid" if place < PALETTE else "dot") for place, name in enumerate(solid)}
    return places | {name: LineStyle(len(solid) + place, "dash") for place, name in enumerate(dashed)}


PALETTE: Final = 8
"""Colours of the palette; every page's style has one value for light and one for dark."""


def thinned(frame: pd.DataFrame, lines: int, most: int = 400, budget: int = 8_000) -> pd.DataFrame:
    """Rows of at most ``most`` values of x, evenly spread, the first and the last among them.

    Args:
        frame: a figure's.
        lines: how many lines all its panels have together: with many, fewer points each, ``budget`` in all, so that
            pages stay small.
        most: points per line.
        budget: points of the figure.
    """
    kept = spread(sorted(frame["x"].unique()), max(2, min(most, budget // max(1, lines))))
    return frame[frame["x"].isin(kept)]


def number(value: Any, digits: int = 3) -> str:
    """A number for a reader: ``digits`` behind the point, whole ones with separators, nothing where there is none."""
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    return f"{float(value):,.{digits}f}"


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A value with its interval in brackets, where it has one."""
    text = number(value, digits)
    return text if pd.isna(low) or pd.isna(high) else f"{text} [{number(low, digits)}, {number(high, digits)}]"


def instant(value: Any) -> str:
    """An instant to the minute, UTC: a datetime64, or microseconds since 1970; empty where there is none."""
    if value is None or pd.isna(value):
        return ""
    stamp = pd.Timestamp(int(value), unit="us") if isinstance(value, int | float | np.number) else pd.Timestamp(value)
    return stamp.strftime("%Y-%m-%d %H:%M")


def partition_start(name: str) -> str:
    """A partition's first instant, to the minute: ``2013-08-19`` is a day, ``2013-08-19-05`` the hour from 05:00."""
    return f"{name[:10]} {name[11:]}:00" if name.count("-") == 3 else f"{name} 00:00"


def numbers_table(figure: Figure) -> Table:
    """Every number of a figure: a row per x, a column per panel and line."""
    frame = figure.frame
    texts = [
        with_interval(value, low, high)
        for value, low, high in zip(frame["value"], frame["low"], frame["high"], strict=True)
    ]
    alone = len(figure.panels) == 1
    names = [line if alone else f"{line}, {panel}" for line, panel in zip(frame["line"], frame["panel"], strict=True)]
    cells = dict(zip(zip(frame["x"], names, strict=True), texts, strict=True))
    columns, xs = list(dict.fromkeys(names)), list(dict.fromkeys(frame["x"]))
    rows = [[Cell(_x(x, figure.time)), *(Cell(cells.get((x, name), "")) for name in columns)] for x in xs]
    return Table(figure.summary, [figure.x_title, *columns], rows, frozenset(columns))


def _x(value: Any, time: bool) -> str:
    return instant(value) if time else str(value)
