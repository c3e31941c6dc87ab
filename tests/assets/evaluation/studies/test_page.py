"""The page of a dataset's studies."""

from pathlib import Path

import pandas as pd

from assets.evaluation.studies.files import StudyResults
from assets.evaluation.studies.page import PageOrigin, Section, page
from assets.evaluation.studies.registry import Step, Study

FIRST = Study("first", "The first", (Step(["studies", "first"]),))
SECOND = Study("second", "The second", (Step(["studies", "second"]),))
ORIGIN = PageOrigin("thaw studies --dataset toy", "abc", [("users", "7")], {"A third": "not made yet"})


def results(name: str, text: str) -> StudyResults:
    account = {"seeds": [0, 1], "git_revision": "0123456789abcdef"}
    return StudyResults(name, pd.DataFrame(), text, Path("/somewhere") / f"{name}.png", account)


def test_sections_stand_in_order_with_what_they_rest_on() -> None:
    sections = [
        Section(FIRST, results("first", "numbers\n\n![figure](first.png)\n"), "median", "toy-hrnn-first.png"),
        Section(SECOND, results("second", "others\n"), "frames of a week"),
    ]
    text = page("toy", sections, ORIGIN)
    lines = text.splitlines()
    assert lines[0].startswith("# toy: ")
    assert [line for line in lines if line.startswith("## ")] == [
        "## The first",
        "## The second",
        "## Not on this page",
    ]
    assert "![figure](toy-hrnn-first.png)" in lines
    assert "*Split: median. Seeds: 0, 1. Made at 0123456789ab.*" in lines
    assert "*Split: frames of a week. Seeds: 0, 1. Made at 0123456789ab.*" in lines
    assert lines[-1] == "- A third: not made yet"
    assert "`thaw studies --dataset toy`" in text
    assert "/somewhere" not in text


def test_where_nothing_is_missing_nothing_is_said() -> None:
    origin = PageOrigin("c", "abc", [], {})
    assert "Not on this page" not in page("toy", [Section(FIRST, results("first", "text"), "median")], origin)
