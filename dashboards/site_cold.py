"""The cold-start page: what items get recommended and found at which age, and how soon a new one is found first."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from dashboards.site_parts import Cell, Figure, LineStyle, Page, Section, Table, missing, number, styles

FILE = "cold.html"
ENGAGEMENTS: Final = "engagements"
"""Line of what users themselves engaged with, beside the models' lists."""


def cold_page(
    ages: pd.DataFrame | None,
    first: pd.DataFrame | None,
    curve: pd.DataFrame | None,
    floors: frozenset[str],
    notes: tuple[str, ...] = (),
) -> Page:
    """The page.

    Args:
        ages: line (a model, or :data:`ENGAGEMENTS`), age, what (``impressions`` or ``hit_rate``), value, low, high.
        first: a row per model: model, items, found, within_1, within_7, within_30, median_days.
        curve: model, day, found: share of new items found within so many days of their availability.
        floors: counting models, drawn dashed.
        notes: how it was computed.
    """
    lead = "New items: from their first day, do lists show them and do users find them?"
    if ages is None or ages.empty:
        return Page(FILE, "Cold start", lead, [missing("Items by age", "thaw run ranks every test engagement.")])
    models = [name for name in dict.fromkeys(ages["line"]) if name != ENGAGEMENTS]
    nets, counts = [name for name in models if name not in floors], [name for name in models if name in floors]
    lines = styles([*nets], [*counts, ENGAGEMENTS])
    sections = [_ages(ages, lines), _first(first, curve, styles(nets, counts))]
    return Page(FILE, "Cold start", lead, [*(one for one in sections if one), Section("How", notes=notes)])


def _ages(ages: pd.DataFrame, lines: Mapping[str, LineStyle]) -> Section:
    titles = {"impressions": "Share of impressions", "hit_rate": "HR@10"}
    figures = []
    for what, title in titles.items():
        rows = ages[ages["what"] == what]
        if rows.empty:
            continue
        frame = rows.assign(panel=title).rename(columns={"age": "x"})
        held = {name: style for name, style in lines.items() if name in set(frame["line"])}
        youngest = frame[frame["x"] == frame["x"].iloc[0]]
        best = youngest[(youngest["line"] != ENGAGEMENTS) & (youngest["value"] > 0)].nlargest(1, "value")
        words = "".join(f" Youngest items: most with {row.line}, {number(row.value)}." for row in best.itertuples())
        about = "of slots in recommended lists, by the item's age" if what == "impressions" else "by the target's age"
        figures.append(
            Figure(
                f"age-{what.replace('_', '-')}",
                f"{title} {about}.{words}",
                frame,
                {title: title},
                held,
                "age of the item",
            )
        )
    text = "Age is the time since the item was available. Engagements (dashed) are what users chose themselves."
    return Section("Items by age", text=[text], figures=figures)


def _first(first: pd.DataFrame | None, curve: pd.DataFrame | None, lines: Mapping[str, LineStyle]) -> Section | None:
    if first is None or first.empty or curve is None:
        return missing("Time to the first hit", "no item became available after the cutoff.")
    frame = curve.rename(columns={"model": "line", "day": "x", "found": "value"})
    frame = frame.assign(panel="found", low=float("nan"), high=float("nan"), x=[f"{day:g}" for day in frame["x"]])
    best = first.nlargest(1, "within_7").iloc[0]
    summary = (
        f"Share of {int(first['items'].max()):,} new items that were in a user's top 10 when that user engaged with"
        f" them, by days since they were available. Within a week most with {best['model']}: {best['within_7']:.1%}."
    )
    figure = Figure("first-hit", summary, frame, {"found": "share found"}, lines, "days since available")
    columns = ["model", "items", "found", "within a day", "within 7 days", "within 30 days", "median days"]
    rows = [
        [
            Cell(row["model"]),
            Cell(number(int(row["items"]))),
            Cell(number(int(row["found"]))),
            *(Cell(f"{share:.1%}") for share in (row["within_1"], row["within_7"], row["within_30"])),
            Cell(number(row["median_days"], 1) or "never half"),
        ]
        for row in first.to_dict("records")
    ]
    table = Table("Time to the first hit of new items", columns, rows, frozenset(columns[1:]))
    return Section("Time to the first hit", figures=[figure], tables=[table])
