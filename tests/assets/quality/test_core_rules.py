"""The rule of the k-core filter on rows by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from assets.config import EngagementRule, SplitConfig
from assets.quality.core_rules import rows_outside_the_core
from assets.quality.split_tables import SplitTables, read_split_tables
from tests.assets.quality.toy import write_dataset

ROWS = [  # user, item, day, source_row; the cutoff is day 10
    ("u1", "i1", 1, 1),
    ("u1", "i2", 2, 2),
    ("u2", "i1", 3, 3),
    ("u2", "i2", 4, 4),
    ("u1", "i9", 11, 5),  # i9 and u9 are of test time only
    ("u9", "i1", 12, 6),
]
BEFORE = EngagementRule(k_core=2)
AHEAD = EngagementRule(k_core=2, k_core_counts="all_looking_ahead")


@pytest.fixture
def tables(tmp_path: Path) -> SplitTables:
    rows = pd.DataFrame(ROWS, columns=["user_id", "item_id", "day", "source_row"])
    rows["timestamp"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rows.pop("day") - 1, unit="D")
    bounds = pd.DataFrame({"split": ["test"], "window": [0], "starts_at": [pd.Timestamp("2020-01-10")]})
    written = read_split_tables(write_dataset(tmp_path), SplitConfig(), BEFORE)
    return replace(written, interactions=rows, split_bounds=bounds)


def test_who_comes_after_the_cutoff_may_have_few(tables: SplitTables) -> None:
    assert rows_outside_the_core(tables).empty


def test_a_filter_that_looks_ahead_judges_them_too(tables: SplitTables) -> None:
    found = rows_outside_the_core(replace(tables, engagement=AHEAD))
    assert found["source_row"].tolist() == [5, 6]
    assert found[["of_user", "of_item"]].to_numpy().tolist() == [[3, 1], [1, 3]]


def test_what_falls_short_once_something_is_left_out_is_found(tables: SplitTables) -> None:
    """Without row 4, which the filter would have to have kept, u2 and i2 have one each."""
    broken = replace(tables, interactions=tables.interactions.drop(index=3))
    assert rows_outside_the_core(broken)["source_row"].tolist() == [2, 3]


@pytest.mark.parametrize("rule", [EngagementRule(), EngagementRule(k_core=2, k_core_passes=1)])
def test_nothing_is_asked_without_a_core_or_of_one_ended_earlier(tables: SplitTables, rule: EngagementRule) -> None:
    broken = replace(tables, interactions=tables.interactions.drop(index=3), engagement=rule)
    assert rows_outside_the_core(broken).empty
