"""The rules of the timeline on rows labelled by hand: right ones pass, and each mistake is found at its row."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from assets.config import SplitConfig
from assets.quality.split_tables import SplitTables, read_split_tables
from assets.quality.timeline_rules import rows_at_wrong_times, rows_not_left_out_by_rule
from tests.assets.quality.toy import set_cell, write_dataset

V, T = "2020-01-06", "2020-01-07"
ROWS = [  # user, source_timestamp, source_row, split, timestamp
    ("u1", "2020-01-01", 1, "train", "2020-01-01"),
    ("u1", "2020-01-09", 2, "validation", V),
    ("u1", "2020-01-09", 3, "test", T),
    ("u2", "2020-01-04", 4, "train", "2020-01-04"),
    ("u2", "2020-01-05", 5, "train", "2020-01-05"),
    ("u3", "2020-01-02", 9, "test", T),
    ("u3", "2020-01-01", 8, "validation", V),
    ("u3", "2019-12-31", 7, "train", "2019-12-31"),
]
BY_TIME = SplitConfig(kind="leave_one_out")
AT_RANDOM = SplitConfig(kind="leave_one_out", held_out_by="random")


@pytest.fixture
def tables(tmp_path: Path) -> SplitTables:
    rows = pd.DataFrame(ROWS, columns=["user_id", "source_timestamp", "source_row", "split", "timestamp"])
    rows = rows.astype({"source_timestamp": "datetime64[us]", "timestamp": "datetime64[us]"})
    return replace(read_split_tables(write_dataset(tmp_path), BY_TIME), interactions=rows)


def planted(tables: SplitTables, row: int, column: str, value: object) -> SplitTables:
    return replace(tables, interactions=set_cell(tables.interactions, row, column, value))


def test_right_rows_break_no_rule(tables: SplitTables) -> None:
    assert rows_at_wrong_times(tables).empty
    assert rows_not_left_out_by_rule(tables).empty


def test_times_of_other_kinds_are_the_source_s(tables: SplitTables) -> None:
    found = rows_at_wrong_times(replace(tables, split=SplitConfig()))
    assert found["source_row"].tolist() == [2, 3, 9, 8]
    assert rows_not_left_out_by_rule(replace(tables, split=SplitConfig())).empty


@pytest.mark.parametrize(("row", "instant"), [(0, "2020-01-02"), (1, "2020-01-09"), (2, V), (5, "2020-01-08")])
def test_a_row_at_a_wrong_time_is_found(tables: SplitTables, row: int, instant: str) -> None:
    found = rows_at_wrong_times(planted(tables, row, "timestamp", pd.Timestamp(instant)))
    assert found.index.tolist() == [row]


@pytest.mark.parametrize(
    ("row", "split"), [(0, "test"), (1, "train"), (2, "validation"), (4, "test"), (6, "train"), (7, "validation")]
)
def test_a_row_of_a_wrong_split_is_found(tables: SplitTables, row: int, split: str) -> None:
    found = rows_not_left_out_by_rule(planted(tables, row, "split", split))
    assert found.index.tolist() == [row]
    assert found["expected"].tolist() == [ROWS[row][3]]


def test_by_time_the_later_source_row_of_an_instant_is_last(tables: SplitTables) -> None:
    swapped = planted(planted(tables, 1, "split", "test"), 2, "split", "validation")
    assert rows_not_left_out_by_rule(swapped)["source_row"].tolist() == [2, 3]


def test_at_random_digests_of_source_rows_decide(tables: SplitTables) -> None:
    """MD5: 1 c4ca, 2 c81e, 3 eccb; 7 8f14, 8 c9f0, 9 45c4. So u1 is tested on 1, u3 on 9; 2 and 7 validate."""
    labels = ["test", "validation", "train", "train", "train", "test", "train", "validation"]
    right = replace(tables, split=AT_RANDOM, interactions=tables.interactions.assign(split=labels))
    assert rows_not_left_out_by_rule(right).empty
    assert rows_not_left_out_by_rule(replace(tables, split=AT_RANDOM))["source_row"].tolist() == [1, 3, 8, 7]
