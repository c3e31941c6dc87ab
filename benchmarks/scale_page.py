"""The page of :mod:`benchmarks.scale`: a table of stations over sizes, and a plot."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from tabulate import tabulate

from assets.config import PROJECT_ROOT
from assets.storage import write_bytes
from benchmarks.marked import replace_marked
from dashboards.figures import drawing, look, png_of

PAGE: Final = PROJECT_ROOT / "docs" / "benchmarks.md"
FIGURE: Final = PROJECT_ROOT / "docs" / "images" / "scale.png"
MILLION: Final = 1_000_000
WALL_BAR, MEMORY_BAR, FLAT_BAR = 45 * 60, 12.0, 2.0
SHOWN_FROM: Final = 0.05
"""Seconds at which the logarithmic axis begins."""

STATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "ingestion (made and read)": ("ingest",),
    "quality checks": ("ingestion__*_raw_*", "transforms__tables_*"),
    "transforms (dbt, all models and tests)": ("dbt_models",),
    "export of tables": ("transforms__tables",),
    "drift": ("monitoring__engagement_drift",),
    "training": ("training__*",),
    "ranking of cases": ("evaluation__*_ranks",),
    "no rank sees its future": ("evaluation__*_sees_no_future",),
    "metrics, comparisons, leaderboard": ("evaluation__*",),
    "index, its store and self-checks": ("serving__*",),
    "pages": ("quality__*", "monitoring__*"),
}
"""Station -> its steps' names; a step belongs to the first station that it fits."""


def station_of(step: str) -> str:
    """The station of a step.

    Raises:
        KeyError: for a step of none.
    """
    for name, patterns in STATIONS.items():
        if any(fnmatchcase(step, pattern) for pattern in patterns):
            return name
    raise KeyError(f"step {step} belongs to no station: name it in STATIONS")


def by_station(measured: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Station -> seconds of its steps together, and the most memory in GiB held during one of them."""
    found: dict[str, tuple[float, float]] = {}
    for step in measured["steps"]:
        station = station_of(step["name"])
        seconds, peak = found.get(station, (0.0, 0.0))
        found[station] = seconds + step["seconds"], max(peak, step["peak_gib"])
    return {station: found[station] for station in STATIONS if station in found}


def per_million(measured: Mapping[str, Any]) -> float:
    """Seconds of the whole run per million engagements."""
    return float(measured["wall"]) / measured["engagements"] * MILLION


def station_table(record: Mapping[str, Any]) -> str:
    """Markdown: a row per station, seconds and peak memory per size."""
    sizes = list(record.values())
    columns = [by_station(measured) for measured in sizes]
    rows = []
    for station in STATIONS:
        cells = [column.get(station) for column in columns]
        rows.append([station, *(f"{cell[0]:,.1f} s, {cell[1]:.1f} GiB" if cell else "" for cell in cells)])
    rows.append(["**whole run, wall**", *(f"**{one['wall']:,.0f} s, {one['peak_gib']:.1f} GiB**" for one in sizes)])
    rows.append(["seconds per million engagements", *(f"{per_million(one):,.0f}" for one in sizes)])
    heads = [f"{one['engagements']:,} engagements, {one['users']:,} users, {one['items']:,} items" for one in sizes]
    return tabulate(rows, ["station", *heads], tablefmt="github", disable_numparse=True)


def slowest_table(measured: Mapping[str, Any], count: int = 10) -> str:
    """Markdown: the slowest steps of one size."""
    slowest = sorted(measured["steps"], key=lambda step: -step["seconds"])[:count]
    rows = [[step["name"].replace("__", "/"), f"{step['seconds']:,.1f}", f"{step['peak_gib']:.1f}"] for step in slowest]
    return tabulate(rows, ["step", "seconds", "GiB"], tablefmt="github", disable_numparse=True)


def verdicts(record: Mapping[str, Any]) -> list[str]:
    """What the bars say of the largest size, and of cost per engagement."""
    largest = list(record.values())[-1]
    lines = [
        f"{largest['engagements']:,} engagements take {largest['wall'] / 60:.1f} minutes (bar 45 for 10,000,000) and "
        f"{largest['peak_gib']:.1f} GiB at most (bar 12): "
        f"{_said(largest['wall'] < WALL_BAR and largest['peak_gib'] < MEMORY_BAR)}."
    ]
    if len(record) > 1:
        costs = [per_million(one) for one in record.values()]
        growth = max(later / earlier for place, earlier in enumerate(costs) for later in costs[place + 1 :])
        lines.append(
            f"An engagement of a larger size costs at most {growth:.2f} times one of a smaller (bar 2, nothing "
            f"quadratic): {_said(growth <= FLAT_BAR)}."
        )
    return lines


def _said(met: bool) -> str:
    return "met" if met else "**missed**"


def figure(record: Mapping[str, Any]) -> bytes:
    """PNG: seconds of every station over size, both logarithmic, and a line of constant cost per engagement."""
    sizes = [one["engagements"] for one in record.values()]
    stations = [by_station(one) for one in record.values()]
    walls = [one["wall"] for one in record.values()]
    with drawing(8.4, 5.2) as canvas:
        axes = canvas.subplots()
        for place, station in enumerate(STATIONS):
            seconds = [max(held.get(station, (0.0, 0.0))[0], SHOWN_FROM) for held in stations]
            color, marker = look(place)
            axes.plot(sizes, seconds, color=color, marker=marker, label=station, linewidth=1.2)
        axes.plot(sizes, walls, color="black", linewidth=2.2, label="whole run")
        axes.plot(sizes, [walls[-1] * size / sizes[-1] for size in sizes], "k:", label="same cost for each engagement")
        axes.set(xscale="log", yscale="log", xlabel="engagements", ylabel="seconds", title="The whole graph")
        axes.legend(fontsize=7, loc="upper left")
        return png_of(canvas)


def section(record: Mapping[str, Any]) -> str:
    """The part of the page that this benchmark writes."""
    largest = list(record.values())[-1]
    return "\n\n".join(
        [
            "\n".join(f"- {line}" for line in verdicts(record)),
            "![Seconds of every station over the number of engagements](images/scale.png)",
            station_table(record),
            f"The ten slowest steps of {largest['engagements']:,} engagements:",
            slowest_table(largest),
            f"Measured on {'; '.join(sorted({one['machine'] for one in record.values()}))} (load of other work when a "
            "run began).",
        ]
    )


def write_page(record: Mapping[str, Any], page: Path = PAGE, image: Path = FIGURE) -> None:
    """Put the section between its marks on the page, the rest of which is written by hand, and draw the figure.

    Raises:
        ValueError: when the page lacks the marks.
    """
    replace_marked(page, "scale", section(record))
    write_bytes(image, figure(record))
