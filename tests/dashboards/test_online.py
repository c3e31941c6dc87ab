"""The figure of retraining: deterministic bytes that depend on what is drawn."""

import io

import matplotlib.image
import pandas as pd
import pytest

from dashboards.online import online_png

NAMES = ["online", "recent"]
SHOWN = ["hr", "perplexity"]


def points() -> pd.DataFrame:
    rows = [
        (
            pd.Timestamp("2020-01-01") + pd.Timedelta(day, "D"),
            name,
            metric,
            k,
            value + day,
            value,
            value + 2 * day + 1,
            50,
        )
        for day in range(4)
        for metric, k, value in (("hr", 10, 1.0), ("perplexity", 0, 100.0))
        for name in NAMES
    ]
    columns = ["starts_at", "contender", "metric", "k", "value", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, columns=columns)


def png(frame: pd.DataFrame, floors: tuple[str, ...] = ("recent",)) -> bytes:
    return online_png(frame, NAMES, floors, SHOWN, 1, "toy")


def test_equal_input_gives_equal_bytes_of_a_picture_whatever_its_order() -> None:
    base = png(points())
    assert base == png(points().iloc[::-1])
    assert matplotlib.image.imread(io.BytesIO(base)).shape[:2] == (737, 1100)


def test_values_bands_gaps_floors_and_few_cases_show() -> None:
    moved = points().assign(value=points()["value"] * 1.2)
    wider = points().assign(ci_high=points()["ci_high"] * 1.5)
    holed = points().assign(value=points()["value"].where(points().index != 2))
    pictures = [
        png(points()),
        png(moved),
        png(wider),
        png(holed),
        png(points(), floors=()),
        png(points().assign(n=0)),
    ]
    assert len(set(pictures)) == len(pictures)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame to draw: materialize"):
        png(points().iloc[:0])
