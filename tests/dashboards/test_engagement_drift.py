"""Drift reports: scores against distances computed here, self-contained pages, and columns without values."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from dashboards.drift_page import DriftSubject, with_summary
from dashboards.engagement_drift import DriftReport, build_report, compared_columns, drift_report, drift_scores

MEBIBYTE = 2**20
SUBJECT = DriftSubject(
    dataset="toy <&>",
    window=3,
    starts_at=pd.Timestamp("2001-02-01"),
    ends_at=pd.Timestamp("2001-03-01"),
    reference_starts_at=pd.Timestamp("2000-01-01"),
    cutoff=pd.Timestamp("2001-01-01"),
    reference_rows=400,
    reference_total=12345,
    current_rows=300,
    current_total=300,
    seed=0,
    category="genre",
)


def side(rows: int, seed: int, activity: float, known: float) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "item_popularity": random.normal(2, 1, rows),
            "user_activity": random.normal(activity, 1, rows),
            "item_age_days": random.exponential(10, rows),
            "value": np.nan,
            "category": random.choice(["drama", "war"], rows),
            "item_slice": "head",
            "user_in_train": np.where(random.random(rows) < known, "yes", "no"),
            "hour_of_day": random.choice(["05", "23"], rows),
            "weekday": random.choice(["1 Mon", "2 Tue"], rows),
        }
    )


@pytest.fixture(scope="module")
def sides() -> tuple[pd.DataFrame, pd.DataFrame]:
    return side(400, 0, activity=1, known=1.0), side(300, 1, activity=3, known=0.2)


@pytest.fixture(scope="module")
def report(sides: tuple[pd.DataFrame, pd.DataFrame]) -> DriftReport:
    return drift_report(*sides, SUBJECT)


def test_columns_that_changed_drifted_and_the_others_did_not(report: DriftReport) -> None:
    drifted = report.scores.set_index("column")["drifted"]
    assert drifted["user_activity"]
    assert drifted["user_in_train"]
    assert not drifted[["category", "item_slice"]].any()


def test_scores_are_the_distances_they_name(report: DriftReport, sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    reference, current = sides
    score = report.scores.set_index("column")["score"]
    spread = reference["user_activity"].std(ddof=0)
    distance = wasserstein_distance(reference["user_activity"], current["user_activity"]) / spread
    assert score["user_activity"] == pytest.approx(distance, rel=1e-2)
    shares = [[(frame["user_in_train"] == answer).mean() for answer in ("yes", "no")] for frame in sides]
    assert score["user_in_train"] == pytest.approx(jensenshannon(*shares), rel=1e-6)


def test_scores_agree_with_evidentlys_own_count(sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    snapshot = build_report(*sides)
    (count,) = [
        metric["value"] for metric in snapshot.dict()["metrics"] if "DriftedColumnsCount" in metric["config"]["type"]
    ]
    scores = drift_scores(snapshot)
    assert (count["count"], count["share"]) == (scores["drifted"].sum(), pytest.approx(scores["drifted"].mean()))


def test_the_same_samples_give_the_same_scores(report: DriftReport, sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    pd.testing.assert_frame_equal(drift_scores(build_report(*sides)), report.scores)


def test_the_page_says_what_it_compares(report: DriftReport) -> None:
    opening = report.html[report.html.index("<body>") :][:8000]
    for words in ("toy &lt;&amp;&gt;", "window 3", "400 of 12,345", "300 of 300", "2001-02-01 00:00:00", "first genre"):
        assert words in opening
    assert "Left out, without values on one side: value." in opening


def test_the_page_fetches_nothing_and_is_small(report: DriftReport) -> None:
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", report.html)
    assert len(report.html.encode()) <= 5 * MEBIBYTE


def test_columns_without_values_on_a_side_are_not_compared(sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    reference, current = sides
    assert "value" not in compared_columns(reference, current)
    assert "value" not in compared_columns(reference.assign(value=1.0), current)
    assert "value" in compared_columns(reference.assign(value=1.0), current.assign(value=1.0))


def test_nothing_to_compare_is_an_error(sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    with pytest.raises(ValueError, match="nothing to compare: 400 reference rows, 0 current rows"):
        build_report(sides[0], sides[1].head(0))


def test_a_page_of_another_layout_is_refused(report: DriftReport) -> None:
    with pytest.raises(ValueError, match="no <body>"):
        with_summary("<p>", SUBJECT, report.scores)
