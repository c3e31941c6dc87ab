"""Names from data in Evidently's reports: text that people read, never a part of the page's code."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evidently.presets import DataDriftPreset

from assets.schema import Columns
from assets.storage import write_text
from dashboards.drift_features import engagement_features, train_side, window_side
from dashboards.drift_page import DriftSubject
from dashboards.engagement_drift import compare, drift_report
from dashboards.inert import inert, inert_sides
from dashboards.partition_drift import Calibration, distance, judge
from dashboards.partition_features import (
    ACTIVITY,
    AGE_DAYS,
    CATEGORY,
    KNOWN,
    PARTITION,
    POPULARITY,
    SLICE,
    UNIT,
)
from dashboards.partition_page import PartitionSubject, partition_page
from tests.browser import chromium_page

EVIL = (
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "</head><body onload=window.pwned=1>",
    "<!--<script>",
    '<a href="javascript:window.pwned=1">drama</a>',
    "&lt;script&gt;window.pwned=1&lt;/script&gt;",
)
PLAIN = ("a", "b", "c", "d", "e", "f")


class Elements(HTMLParser):
    """How many scripts a page has, and the handlers on its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts = 0
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def window_report(names: tuple[str, ...], feature: str = "genre") -> str:
    """A window's report of a dataset whose items are of ``names``, from its tables."""
    random, rows, items, users = np.random.default_rng(0), 300, 24, 20
    ids, people = ([f"{letter}{place}" for place in range(count)] for letter, count in (("i", items), ("u", users)))
    at = pd.Timestamp("2024-01-02") + pd.to_timedelta(np.sort(random.integers(0, 20 * 86_400, rows)), "s")
    interactions = pd.DataFrame(
        {
            "user_id": random.choice(people, rows),
            "item_id": random.choice(ids, rows),
            "timestamp": at,
            "value": random.random(rows),
            "split": ["train"] * 200 + ["test"] * 100,
            "window": [pd.NA] * 200 + [0] * 100,
        }
    )
    first = pd.Timestamp("2024-01-01")
    catalog = pd.DataFrame({"item_id": ids, "title": "t", "created_at": first, "available_at": first})
    catalog = catalog.assign(first_engaged_at=first, train_count=5, slice="head")
    catalog[feature] = [[names[place % len(names)]] for place in range(items)]
    features = engagement_features(interactions, catalog, pd.DataFrame({"user_id": people, "train_count": 3}))
    subject = DriftSubject("toy", 0, at[200], at[-1], at[0], at[200], 200, 200, 100, 100, 0, feature)
    return drift_report(train_side(features), window_side(features, 0), subject).html


def partition_side(rows: int, names: tuple[str, ...]) -> pd.DataFrame:
    random = np.random.default_rng(rows)
    numbers = {name: random.random(rows) for name in (POPULARITY, ACTIVITY, AGE_DAYS, Columns.VALUE)}
    told = {CATEGORY: random.choice(names, rows), SLICE: random.choice(["head", "tail"], rows), KNOWN: "yes"}
    return pd.DataFrame({**numbers, **told, UNIT: np.arange(rows), PARTITION: pd.Timestamp("2024-01-01")})


def partition_report(names: tuple[str, ...], feature: str = "genre") -> str:
    reference, current = partition_side(300, names), partition_side(100, names)
    subject = PartitionSubject(
        dataset="toy",
        name="2024-01-02",
        reason="none drifted",
        reference_starts_at="2024-01-01",
        cutoff="2024-01-02",
        reference_rows=300,
        reference_total=300,
        current_rows=100,
        current_total=100,
        seed=0,
        category=feature,
    )
    return partition_page(reference, current, judge(current, Calibration(reference, 0)), subject)


@pytest.mark.parametrize("report", [window_report, partition_report])
def test_categories_make_no_element_of_a_report(report) -> None:
    evil, plain = Elements(report(EVIL, EVIL[0])), Elements(report(PLAIN))
    assert evil.scripts == plain.scripts > 0
    assert evil.handlers == plain.handlers == []


@pytest.mark.browser
@pytest.mark.parametrize("names", [EVIL, (EVIL[0], "a")])  # among others, a comment may hide the end of a script
@pytest.mark.parametrize("report", [window_report, partition_report])
def test_categories_do_nothing_in_a_browser(tmp_path: Path, report, names: tuple[str, ...]) -> None:
    path = write_text(tmp_path / "report.html", report(names, EVIL[0]))
    with chromium_page() as browsing:
        browsing.page.goto(path.as_uri())
        browsing.page.get_by_text("Dataset Drift", exact=True).wait_for()
        browsing.page.locator(".js-plotly-plot .main-svg").first.wait_for()
        assert browsing.page.title().startswith("Drift of toy, ")
        assert browsing.page.evaluate("window.pwned") is None
        assert browsing.page.locator("img, [onload], [onerror]").count() == 0
        assert (browsing.blocked, browsing.errors) == ([], [])


def test_a_name_stays_readable_and_one_without_marks_as_it_is() -> None:
    assert inert(["R&D <new>", "drama"]) == {"R&D <new>": "R\uff06D \u2039new\u203a", "drama": "drama"}


def test_distinct_names_stay_distinct() -> None:
    names = ["a<", "a\u2039", "a\u2039 (2)", "b"]
    shown = inert(names)
    assert shown == {"a\u2039": "a\u2039", "a\u2039 (2)": "a\u2039 (2)", "b": "b", "a<": "a\u2039 (3)"}
    assert len(set(shown.values())) == len(names)


def test_the_distance_is_that_of_the_names_that_were_there() -> None:
    random, names = np.random.default_rng(0), ["a<", "a\u2039", "a&", "b"]
    sides = [
        pd.DataFrame({"category": random.choice(names, 500, p=shares), "value": random.random(500)})
        for shares in ([0.1, 0.4, 0.4, 0.1], [0.4, 0.1, 0.2, 0.3])
    ]
    drift = DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")
    found = compare(*sides, ["value"], ["category"], drift).dict()["metrics"]
    (score,) = [
        metric["value"]
        for metric in found
        if "ValueDrift" in metric["config"]["type"] and metric["config"]["column"] == "category"
    ]
    assert score == pytest.approx(distance(*(side["category"] for side in sides), "category"), rel=1e-6)


def test_both_sides_have_one_name_for_one_name_and_keep_what_is_no_text() -> None:
    first = pd.DataFrame({"category": ["a\u2039", None, "b"], "value": [1.0, np.nan, 2.0]}, index=[4, 5, 6])
    second = pd.DataFrame({"category": ["a<"], "value": [3.0]})
    reference, current = inert_sides(first, second)
    pd.testing.assert_frame_equal(reference, first)
    assert current["category"].tolist() == ["a\u2039 (2)"]


def test_a_column_whose_name_comes_from_data_is_refused() -> None:
    frame = pd.DataFrame({"<b>": [1.0]})
    with pytest.raises(ValueError, match="a name in a report has no '<'"):
        inert_sides(frame, frame)
