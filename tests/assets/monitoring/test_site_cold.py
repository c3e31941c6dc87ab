"""Items by age and the time to a first hit, by hand."""

import numpy as np
import pandas as pd
import pytest

from assets.monitoring.site.cold import (
    AGES,
    FirstHits,
    Ranked,
    age_buckets,
    by_age,
    engaged,
    first_hits,
    first_table,
    found_curve,
)
from assets.stream import PADDING

DAY0 = np.datetime64("2024-01-01", "us")
AVAILABLE = DAY0 + np.array([0, 10, 12], "timedelta64[D]").astype("timedelta64[us]")
CUTOFF = DAY0 + np.timedelta64(10, "D")


def ranked(rows: list[tuple[int, int, float, int]], listed: list[list[int]]) -> Ranked:
    """Cases of (user, item, day, above)."""
    users, items, days, above = map(np.array, zip(*rows, strict=True))
    at = DAY0 + (days * 86_400_000_000).astype(np.int64).astype("timedelta64[us]")
    none = np.zeros(len(rows), np.int64)
    return Ranked(
        "m", users.astype(np.int64), items.astype(np.int64), at, above.astype(np.int64), none, np.array(listed)
    )


CASES = ranked(
    [(0, 1, 10.5, 20), (1, 1, 13.0, 3), (0, 2, 12.5, 0), (1, 0, 14.0, 9), (2, 2, 20.0, 50)],
    [[0, 1], [0, PADDING], [1, 2], [0, 1], [PADDING, PADDING]],
)


def test_an_age_on_an_edge_is_of_the_older_bucket() -> None:
    assert age_buckets(np.array([-1.0, 0.99, 1.0, 7.0, 30.0, 90.0, np.nan])).tolist() == [0, 0, 1, 2, 3, 4, -1]


def test_hit_rates_and_impressions_by_age() -> None:
    table = by_age(CASES, AVAILABLE, 10, 0).set_index(["what", "age"])["value"]
    # Ages of the targets: 0.5, 3, 0.5, 14, 8 days; hits: no, yes, yes, yes, no.
    assert table["hit_rate"].to_dict() == {AGES[0]: 0.5, AGES[1]: 1.0, AGES[2]: 0.5}
    # Filled slots: item 0 at 10.5, 13, 14 days; item 1 at 0.5, 2.5, 4; item 2 at 0.5.
    assert table["impressions"].to_dict() == pytest.approx(
        {AGES[0]: 2 / 7, AGES[1]: 2 / 7, AGES[2]: 3 / 7, AGES[3]: 0.0, AGES[4]: 0.0}
    )


def test_engagements_are_beside_the_lists() -> None:
    shares = engaged(CASES, AVAILABLE).set_index("age")["value"]
    assert shares.tolist() == pytest.approx([0.4, 0.2, 0.4, 0.0, 0.0])


def test_without_lists_there_are_no_impressions() -> None:
    bare = ranked([(0, 1, 10.5, 20)], [[PADDING, PADDING]])
    assert set(by_age(bare, AVAILABLE, 10, 0)["what"]) == {"hit_rate"}


def test_time_to_the_first_hit() -> None:
    hits = first_hits(CASES, AVAILABLE, CUTOFF)
    assert (hits.days.tolist(), hits.found.tolist()) == ([3.0, 0.5], [True, True])  # item 0 is old
    missed = ranked([(0, 1, 10.5, 20), (0, 2, 12.5, 99), (1, 0, 15.0, 0)], [[0], [0], [0]])
    hits = first_hits(missed, AVAILABLE, CUTOFF)
    assert (hits.days.tolist(), hits.found.tolist()) == ([5.0, 3.0], [False, False])  # followed to the last case


def test_no_new_item_is_no_row() -> None:
    old = ranked([(0, 0, 10.5, 0)], [[0]])
    hits = {"m": first_hits(old, AVAILABLE, CUTOFF)}
    assert (len(first_table(hits)), len(found_curve(hits))) == (0, 0)


def test_shares_are_kaplan_and_meiers() -> None:
    hits = FirstHits(np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False]))
    # Of 4 one is found at day 1; one leaves; of the 2 left one is found at day 3: 1 - 3/4 * 1/2.
    assert hits.shares(np.array([0.5, 1.0, 2.5, 3.0, 9.0])).tolist() == [0.0, 0.25, 0.25, 0.625, 0.625]
    assert hits.median == 3.0
    never = FirstHits(np.array([1.0, 2.0]), np.array([False, False]))
    assert np.isnan(never.median)
    row = first_table({"m": hits, "n": never}).set_index("model")
    assert row.loc["m", ["items", "found", "within_1", "within_7"]].tolist() == [4, 2, 0.25, 0.625]
    curve = found_curve({"m": hits})
    assert curve["day"].max() == 3.0  # nobody was followed for five days
    assert isinstance(curve, pd.DataFrame)


def test_a_hit_and_an_end_at_the_same_instant() -> None:
    hits = FirstHits(np.array([1.0, 1.0]), np.array([False, True]))
    assert hits.shares(np.array([1.0])).tolist() == [0.5]  # both were still followed when the hit came
