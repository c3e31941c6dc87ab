"""Thresholds of landed partitions: quiet where nothing changes, loud where something does, and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from dashboards.partition_drift import DRAWS, MARGIN, THRESHOLD, Calibration, distance, judge, reason_of
from dashboards.partition_features import partition_features
from tests.assets.monitoring.partitions.worlds import days_of, scale

WORLDS, DAYS, ROWS = 4, 50, 400
MOST_FALSE_ALARMS = 3


def alarms(seed: int, count: int, shift_day: int | None = None, shift_size: float = 0.5) -> list[bool]:
    days = days_of(scale(seed, ROWS, shift_day, shift_size), count)
    calibration = Calibration(days.reference, seed)
    return [bool(judge(day, calibration)["drifted"].any()) for day in days.days]


def test_of_two_hundred_days_on_which_nothing_changes_at_most_three_alarm() -> None:
    found = [alarm for seed in range(WORLDS) for alarm in alarms(seed, DAYS)]
    assert len(found) == WORLDS * DAYS == 200
    assert sum(found) <= MOST_FALSE_ALARMS
    upper = beta.ppf(0.975, sum(found) + 1, len(found) - sum(found))  # Clopper and Pearson, two-sided 95 %
    assert upper < 0.05


def test_a_shift_of_half_the_users_and_items_alarms_from_its_first_day_on() -> None:
    found = alarms(9, 20, shift_day=56 + 10)
    assert not any(found[:10])
    assert sum(found[10:]) >= 9


def test_distances_by_hand() -> None:
    numbers = distance(pd.Series([0.0, 2.0, None]), pd.Series([3.0, 5.0]), "item_popularity")
    assert numbers == pytest.approx(3.0)  # moved by 3; the reference's standard deviation is 1
    same = distance(pd.Series(["a", "b"]), pd.Series(["b", "a", None]), "category")
    assert same == 0
    apart = distance(pd.Series(["a"]), pd.Series(["b"]), "category")
    assert apart == pytest.approx(np.sqrt(np.log(2)))
    constant = distance(pd.Series([1.0, 1.0]), pd.Series([1.0]), "value")
    assert constant == 0


def reference(rows: int, copies: int = 1) -> pd.DataFrame:
    """Rows in units of ``copies`` equal ones, ten units a day."""
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(rows // copies), copies)
    value = rng.normal(size=rows // copies)[units]
    category = rng.choice(["a", "b", "c"], rows // copies)[units]
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(units // 10, "D")
    return pd.DataFrame({"value": value, "category": category, "unit": units, "partition": day})


def test_small_partitions_and_rows_that_come_together_are_given_more_room() -> None:
    by_size = [Calibration(reference(2000), 0).thresholds(rows) for rows in (50, 500, 50_000)]
    for column in ("value", "category"):
        assert by_size[0][column] > by_size[1][column] >= by_size[2][column] >= THRESHOLD
    together = Calibration(reference(2000, copies=10), 0).thresholds(500)
    assert together["value"] > 1.5 * by_size[1]["value"]


def test_a_threshold_is_the_largest_chance_distance_with_its_margin() -> None:
    frame = reference(2000).assign(partition=pd.NaT)  # no own partitions: chance alone
    calibration, rng, n = Calibration(frame, 0), np.random.default_rng(1), 100
    draws = [
        distance(
            frame["value"].sample(2000, replace=True, random_state=rng),
            frame["value"].sample(n, replace=True, random_state=rng),
            "value",
        )
        for _ in range(DRAWS)
    ]
    assert calibration.thresholds(n)["value"] == pytest.approx(MARGIN * max(draws), rel=0.35)


def test_a_restless_reference_gives_more_room() -> None:
    days = np.arange(2000) // 100
    calm = reference(2000).assign(partition=pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D"))
    restless = calm.assign(value=calm["value"] + np.where(days % 2, 3.0, 0.0))
    thresholds = [Calibration(frame, 0).thresholds(5000)["value"] for frame in (calm, restless)]
    assert thresholds[1] > thresholds[0] + 0.3


def test_the_verdict_names_columns_by_how_far_they_exceed() -> None:
    calibration = Calibration(reference(2000), 0)
    current = reference(2000).assign(value=lambda frame: frame["value"] + 1.0, category="a")
    scores = judge(current, calibration)
    assert scores["drifted"].all()
    said = reason_of(scores)
    assert said.startswith(f"2 of 2 columns drifted: {scores['column'][0]} ")
    assert "value 1.00 (threshold 0." in said
    assert reason_of(judge(reference(2000), calibration)) == "none of 2 columns drifted"


def test_columns_without_values_on_a_side_are_left_out() -> None:
    calibration = Calibration(reference(500).assign(value=np.nan), 0)
    assert judge(reference(500), calibration)["column"].tolist() == ["category"]


def test_features_of_a_new_item_count_from_its_first_row() -> None:
    items = pd.DataFrame(
        {
            "item_id": ["x", "y"],
            "ruler_count": [9, 0],
            "available_at": pd.to_datetime(["2023-01-01", "2024-01-01"]),
            "category": ["a", None],
            "item_slice": ["tail", "cold"],
        }
    )
    rows = pd.DataFrame(
        {
            "user_id": ["u", "u", "v", "v"],
            "item_id": ["x", "y", "new", "new"],
            "timestamp": pd.Timestamp("2024-01-02") + pd.to_timedelta([0, 12, 0, 24], "h"),
            "value": [1.0, None, 2.0, 3.0],
            "partition": pd.Timestamp("2024-01-02"),
            "unit": [1, 1, 2, 2],
            "user_known": [True, True, False, False],
            "engaged_before": [4, 4, 0, 0],
        }
    )
    features = partition_features(rows, items)
    assert np.expm1(features["item_popularity"]).round(9).tolist() == [9, 0, 0, 0]
    assert np.expm1(features["user_activity"]).round(9).tolist() == [4, 4, 0, 0]
    assert features["item_age_days"].tolist() == [28, 1.5, 0, 1]  # 366 days are cut to 28
    assert features["category"].tolist() == ["a", "(none)", "(none)", "(none)"]
    assert features["item_slice"].tolist() == ["tail", "cold", "cold", "cold"]
    assert features["user_known"].tolist() == ["yes", "yes", "no", "no"]
    announced = items.assign(available_at=pd.Timestamp("2999-01-01"))  # and engaged with all the same
    assert partition_features(rows, announced)["item_age_days"].tolist() == [0, 0, 0, 1]
    later = rows.assign(item_id="y")
    assert partition_features(later, announced)["item_age_days"].tolist() == [0, 0.5, 0, 1]
