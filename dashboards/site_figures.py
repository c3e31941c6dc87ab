"""Plotly figures of the static site, as JSON that the page's script draws.

Colours are names of the page's style, ``var(--c0)`` or with an opacity ``var(--c0, 0.2)``; the script puts in what they
are in the reader's scheme, dark or light.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from dashboards.site_parts import PALETTE, Figure, LineStyle

SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "cross", "triangle-down", "star")
MOST_MARKERS: Final = 60
"""Points of a line that are marked; a longer one is only a line."""


def panel_json(figure: Figure, panel: str) -> str:
    """One panel of a figure as Plotly's JSON: ``data`` and ``layout``."""
    frame = figure.frame[figure.frame["panel"] == panel]
    traces: list[BaseTraceType] = []
    for line, style in figure.lines.items():
        points = frame[(frame["line"] == line) & np.isfinite(frame["value"].to_numpy(np.float64))]
        if len(points):
            traces += _line(line, points, style) if figure.kind == "line" else [_bars(line, points, style)]
    text: str = go.Figure(traces, _layout(figure, panel)).to_json()
    return text


def _line(name: str, points: pd.DataFrame, style: LineStyle) -> Iterator[BaseTraceType]:
    colour, x = style.slot % PALETTE, _xs(points)
    framed = points[["low", "high"]].notna().all(axis=1).to_numpy()
    if framed.any():
        inside = points[framed]
        ahead = _xs(inside)
        yield go.Scatter(
            x=[*ahead, *reversed(ahead)],
            y=[*_rounded(inside["high"]), *reversed(_rounded(inside["low"]))],
            name=name,
            fill="toself",
            fillcolor=f"var(--c{colour}, 0.16)",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
    yield go.Scatter(
        x=x,
        y=_rounded(points["value"]),
        name=name,
        mode="lines+markers" if len(points) <= MOST_MARKERS else "lines",
        line={"color": f"var(--c{colour})", "dash": style.dash, "width": 2},
        marker={"symbol": SYMBOLS[style.slot % len(SYMBOLS)], "size": 7},
    )


def _bars(name: str, points: pd.DataFrame, style: LineStyle) -> BaseTraceType:
    colour = f"var(--c{style.slot % PALETTE})"
    return go.Bar(x=_xs(points), y=_rounded(points["value"]), name=name, marker={"color": colour})


def _layout(figure: Figure, panel: str) -> dict[str, Any]:
    grid = {"gridcolor": "var(--line)", "zerolinecolor": "var(--line)", "automargin": True, "fixedrange": True}
    scale: dict[str, Any] = {"type": "log", "dtick": "D2"} if figure.log else {"rangemode": "tozero"}
    return {
        "template": "none",
        "showlegend": False,
        "dragmode": False,  # a finger on the figure scrolls the page
        "hovermode": "closest",
        "barmode": "stack" if figure.kind == "stack" else "group",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--ink)", "family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"bgcolor": "var(--panel)", "bordercolor": "var(--line)", "font": {"color": "var(--ink)"}},
        "xaxis": {
            **grid,
            "title": {"text": figure.x_title},
            "type": "date" if figure.time else "category",
            "nticks": 6,
        },
        "yaxis": {**grid, "title": {"text": figure.panels[panel], "standoff": 10}, **scale},
        "shapes": [*(_across(value) for value, _ in figure.bounds), *(_upright(at) for at, _ in figure.marks)],
        "annotations": [_word(value, word, figure.log) for value, word in figure.bounds],
    }


def _across(value: float) -> dict[str, Any]:
    ends = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value}
    return {**ends, "line": {"color": "var(--quiet)", "dash": "dash", "width": 1}}


def _upright(at: Any) -> dict[str, Any]:
    ends = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": _stamp(at), "x1": _stamp(at)}
    return {**ends, "line": {"color": "var(--quiet)", "dash": "dot", "width": 1}}


def _word(value: float, word: str, log: bool) -> dict[str, Any]:
    at = float(np.log10(value)) if log else value  # an annotation on a logarithmic axis is placed by its exponent
    place = {"xref": "paper", "x": 1, "xanchor": "right", "y": at, "yanchor": "bottom", "showarrow": False}
    return {**place, "text": word, "font": {"size": 11, "color": "var(--quiet)"}}


def _xs(points: pd.DataFrame) -> list[str]:
    if pd.api.types.is_datetime64_any_dtype(points["x"]):
        return [_stamp(value) for value in points["x"]]
    return [str(value) for value in points["x"]]


def _stamp(value: Any) -> str:
    return pd.Timestamp(value).strftime("%Y-%m-%d %H:%M")


def _rounded(values: pd.Series) -> list[float]:
    """To six digits, which no screen shows: less to load."""
    return [float(f"{value:.6g}") for value in values]
