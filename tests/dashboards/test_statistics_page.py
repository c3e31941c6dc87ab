import pandas as pd
import pytest

from dashboards.statistics_page import Described, statistics_markdown, statistics_png, written


def _described(name: str, slope: float) -> Described:
    facts = pd.DataFrame(
        [
            ("size", "engagements", 12_345.0, "count"),
            ("popularity of items", "slope", slope, "number"),
            ("popularity of items", "top", 0.1234, "share"),
        ],
        columns=["section", "statistic", "value", "unit"],
    )
    curves = pd.DataFrame(
        [
            (curve, x, slope * -1 / x)
            for curve in ("popularity", "activity", "pauses", "age")
            for x in (1.0, 10.0, 90.0)
        ],
        columns=["curve", "x", "y"],
    )
    return Described(name, facts, curves, f"options of {name}")


def test_datasets_stand_beside_each_other() -> None:
    page = statistics_markdown(
        [_described("one", -0.5), _described("other", float("nan"))], "thaw it", "f.png", ["a note"]
    )
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    assert [cell.strip() for cell in lines["slope"].split("|")[2:4]] == ["-0.50", "n/a"]
    assert [cell.strip() for cell in lines["top"].split("|")[2:4]] == ["12.3%", "12.3%"]
    for expected in (
        "one, other",
        "`thaw it`",
        "](f.png)",
        "## Popularity of items",
        "- a note",
        "- `one`: options of one",
    ):
        assert expected in page


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (float("nan"), "share", "n/a"),
        (1234.4, "count", "1,234"),
        (45.0, "seconds", "45 s"),
        (90.0, "seconds", "1.5 min"),
        (5_400.0, "seconds", "1.5 h"),
        (172_800.0, "seconds", "2.0 days"),
        (1_413.9, "days", "1,413.9 days"),
        (0.5, "number", "0.50"),
    ],
)
def test_a_figure_has_its_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


def test_the_figure_is_the_same_every_time_and_follows_its_data() -> None:
    first = statistics_png([_described("one", -0.5)])
    assert first.startswith(b"\x89PNG")
    assert statistics_png([_described("one", -0.5)]) == first
    assert statistics_png([_described("one", -0.9)]) != first
