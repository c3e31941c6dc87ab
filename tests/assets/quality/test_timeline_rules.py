"""The rules of the timeline on rows labelled by hand: right ones pass, and each mistake is found at its row."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from assets.config import SplitConfig
from assets.quality.leakage_rules import items_with_wrong_availability
from assets.quality.split_tables import SplitTables, read_split_tables
from assets.quality.timeline_rules import frames_of_wrong_length, rows_at_wrong_times, rows_not_held_out_by_rule
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
    assert rows_not_held_out_by_rule(tables).empty


def test_times_of_other_kinds_are_the_source_s(tables: SplitTables) -> None:
    found = rows_at_wrong_times(replace(tables, split=SplitConfig()))
    assert found["source_row"].tolist() == [2, 3, 9, 8]
    assert rows_not_held_out_by_rule(replace(tables, split=SplitConfig())).empty


@pytest.mark.parametrize(("row", "instant"), [(0, "2020-01-02"), (1, "2020-01-09"), (2, V), (5, "2020-01-08")])
def test_a_row_at_a_wrong_time_is_found(tables: SplitTables, row: int, instant: str) -> None:
    found = rows_at_wrong_times(planted(tables, row, "timestamp", pd.Timestamp(instant)))
    assert found.index.tolist() == [row]


@pytest.mark.parametrize(
    ("row", "split"), [(0, "test"), (1, "train"), (2, "validation"), (4, "test"), (6, "train"), (7, "validation")]
)
def test_a_row_of_a_wrong_split_is_found(tables: SplitTables, row: int, split: str) -> None:
    found = rows_not_held_out_by_rule(planted(tables, row, "split", split))
    assert found.index.tolist() == [row]
    assert found["expected"].tolist() == [ROWS[row][3]]


def test_by_time_the_later_source_row_of_an_instant_is_last(tables: SplitTables) -> None:
    swapped = planted(planted(tables, 1, "split", "test"), 2, "split", "validation")
    assert rows_not_held_out_by_rule(swapped)["source_row"].tolist() == [2, 3]


def test_at_random_digests_of_source_rows_decide(tables: SplitTables) -> None:
    """MD5: 1 c4ca, 2 c81e, 3 eccb; 7 8f14, 8 c9f0, 9 45c4. So u1 is tested on 1, u3 on 9; 2 and 7 validate."""
    labels = ["test", "validation", "train", "train", "train", "test", "train", "validation"]
    right = replace(tables, split=AT_RANDOM, interactions=tables.interactions.assign(split=labels))
    assert rows_not_held_out_by_rule(right).empty
    assert rows_not_held_out_by_rule(replace(tables, split=AT_RANDOM))["source_row"].tolist() == [1, 3, 8, 7]


BY_ITEM = SplitConfig(kind="held_out_items", held_out_share=0.3, held_out_seed=7)
ITEM_ROWS = [  # user, item, source_timestamp, source_row, split, timestamp
    ("u1", "i1", "2020-01-01", 1, "test", V),
    ("u1", "i2", "2020-01-02", 2, "train", "2020-01-02"),
    ("u1", "i5", "2020-01-05", 3, "validation", "2020-01-05"),
    ("u2", "i1", "2020-01-09", 4, "test", V),
    ("u2", "i3", "2020-01-03", 5, "test", V),
    ("u3", "i4", "2020-01-04", 6, "train", "2020-01-04"),
    ("u3", "i3", "2020-01-04", 7, "test", V),
]


@pytest.fixture
def by_item(tables: SplitTables) -> SplitTables:
    """MD5 of 7:i1 .. 7:i5: 03, 56, 2e, 3c, a3; 0.3 of five, rounded half up, are two, so i1 and i3 are held out."""
    columns = ["user_id", "item_id", "source_timestamp", "source_row", "split", "timestamp"]
    rows = pd.DataFrame(ITEM_ROWS, columns=columns)
    rows = rows.astype({"source_timestamp": "datetime64[us]", "timestamp": "datetime64[us]"})
    bounds = pd.DataFrame({"split": ["test"], "window": [0], "starts_at": [pd.Timestamp(V)]})
    first = [V, "2020-01-02", V, "2020-01-04", "2020-01-05"]
    items = pd.DataFrame({"item_id": ["i1", "i2", "i3", "i4", "i5"], "first_engaged_at": pd.to_datetime(first)})
    items = items.assign(created_at=pd.Timestamp("2019-01-01"))
    held_out = items["item_id"].isin(["i1", "i3"])
    items["available_at"] = items["created_at"].mask(held_out, items["first_engaged_at"])
    return replace(tables, interactions=rows, split_bounds=bounds, items=items, split=BY_ITEM)


def test_right_items_are_held_out(by_item: SplitTables) -> None:
    assert rows_at_wrong_times(by_item).empty
    assert rows_not_held_out_by_rule(by_item).empty
    assert items_with_wrong_availability(by_item).empty


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"held_out_seed": 0}, [1, 2, 4, 5, 6, 7]),  # 20 is i4's, 31 i2's: those two, not i1 and i3
        ({"held_out_share": 0.29}, [5, 7]),  # 1.45 items: i1 alone
        ({"held_out_share": 0.5}, [6]),  # 2.5 items: i4 too
    ],
)
def test_items_held_out_by_other_settings_are_found(
    by_item: SplitTables, change: dict[str, float], found: list[int]
) -> None:
    other = replace(by_item, split=BY_ITEM.model_copy(update=change))
    assert rows_not_held_out_by_rule(other)["source_row"].tolist() == found


def test_an_engagement_of_a_held_out_item_in_train_is_found(by_item: SplitTables) -> None:
    for row, split in ((0, "train"), (3, "validation"), (1, "test")):
        assert rows_not_held_out_by_rule(planted(by_item, row, "split", split)).index.tolist() == [row]


def test_a_held_out_engagement_at_its_own_time_is_found(by_item: SplitTables) -> None:
    for row, instant in ((0, "2020-01-01"), (3, "2020-01-09"), (4, T), (1, "2020-01-03"), (2, V)):
        assert rows_at_wrong_times(planted(by_item, row, "timestamp", pd.Timestamp(instant))).index.tolist() == [row]


def test_a_held_out_item_that_is_there_before_the_test_is_found(by_item: SplitTables) -> None:
    items = set_cell(by_item.items, 2, "available_at", pd.Timestamp("2019-01-01"))
    items = set_cell(items, 1, "available_at", pd.Timestamp("2020-01-02"))  # a train item is, from its creation on
    assert items_with_wrong_availability(replace(by_item, items=items))["item_id"].tolist() == ["i2", "i3"]


BY_USER = SplitConfig(kind="held_out_users", held_out_share=0.4, held_out_seed=7)
USER_ROWS = [  # user, source_timestamp, source_row, split, timestamp; all of u1 moves by four days
    ("u1", "2020-01-02 10:00", 1, "test", "2020-01-06 10:00"),
    ("u2", "2020-01-05 23:00", 2, "validation", "2020-01-05 23:00"),
    ("u3", "2020-01-01 10:00", 3, "train", "2020-01-01 10:00"),
    ("u1", "2020-01-09 00:30", 4, "test", "2020-01-13 00:30"),
]


@pytest.fixture
def by_user(tables: SplitTables) -> SplitTables:
    """MD5 of 7:u1 .. 7:u3: 9e, fa, d1; 0.4 of three are 1.2, so u1 alone is held out."""
    rows = pd.DataFrame(USER_ROWS, columns=["user_id", "source_timestamp", "source_row", "split", "timestamp"])
    rows = rows.astype({"source_timestamp": "datetime64[us]", "timestamp": "datetime64[us]"})
    return replace(tables, interactions=rows, split=BY_USER)


def test_right_users_are_held_out(by_user: SplitTables) -> None:
    assert rows_at_wrong_times(by_user).empty
    assert rows_not_held_out_by_rule(by_user).empty


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"held_out_seed": 6}, [1, 3, 4]),  # 54 is u3's
        ({"held_out_share": 0.1}, [1, 4]),  # 0.3 users: nobody
        ({"held_out_share": 0.5}, [3]),  # 1.5 users: u3 too
    ],
)
def test_users_held_out_by_other_settings_are_found(
    by_user: SplitTables, change: dict[str, float], found: list[int]
) -> None:
    other = replace(by_user, split=BY_USER.model_copy(update=change))
    assert rows_not_held_out_by_rule(other)["source_row"].tolist() == found


@pytest.mark.parametrize(("row", "split"), [(0, "train"), (3, "validation"), (2, "test")])
def test_an_engagement_of_a_held_out_user_in_train_is_found(by_user: SplitTables, row: int, split: str) -> None:
    assert rows_not_held_out_by_rule(planted(by_user, row, "split", split)).index.tolist() == [row]


@pytest.mark.parametrize(
    ("row", "instant"),
    [
        (0, "2020-01-02 10:00"),  # where its source has it, in train time
        (3, "2020-01-06 00:30"),  # behind train, but the pause is another
        (3, "2020-01-09 00:30"),
        (1, "2020-01-09 23:00"),  # of a user who trains
    ],
)
def test_a_held_out_user_s_engagement_elsewhere_is_found(by_user: SplitTables, row: int, instant: str) -> None:
    assert rows_at_wrong_times(planted(by_user, row, "timestamp", pd.Timestamp(instant))).index.tolist() == [row]


def frames(tables: SplitTables, frame: str, edges: list[str]) -> SplitTables:
    """Test windows between ``edges``, the last of which is a microsecond after the last engagement."""
    instants = pd.DatetimeIndex([pd.Timestamp(edge) for edge in edges])
    bounds = pd.DataFrame({"split": "test", "window": range(len(edges) - 1)})
    bounds = bounds.assign(starts_at=instants[:-1], ends_at=instants[1:])
    rows = tables.interactions.assign(timestamp=instants[-1] - pd.Timedelta(1, "us"))
    return replace(tables, split=SplitConfig(kind="fraction", frame=frame), split_bounds=bounds, interactions=rows)


@pytest.mark.parametrize(
    ("frame", "edges"),
    [
        ("hour", ["2020-01-01 10:30", "2020-01-01 11:30", "2020-01-01 12:30"]),
        ("day", ["2020-01-01 10:30", "2020-01-02 10:30", "2020-01-02 10:30:00.000001"]),
        ("week", ["2020-01-01 10:30", "2020-01-08 10:30", "2020-01-10"]),
        ("week", ["2020-01-01 10:30", "2020-01-01 10:31"]),
    ],
)
def test_frames_follow_each_other_to_the_end(tables: SplitTables, frame: str, edges: list[str]) -> None:
    assert frames_of_wrong_length(frames(tables, frame, edges)).empty


@pytest.mark.parametrize(
    ("frame", "edges", "found"),
    [
        ("hour", ["2020-01-01 10:30", "2020-01-01 11:00", "2020-01-01 12:00"], [0, 1]),
        ("day", ["2020-01-01", "2020-01-02", "2020-01-04"], [1]),
        ("week", ["2020-01-01", "2020-01-08", "2020-01-16", "2020-01-17"], [1, 2]),
    ],
)
def test_a_frame_of_another_length_is_found(
    tables: SplitTables, frame: str, edges: list[str], found: list[int]
) -> None:
    planted_frames = frames(tables, frame, edges)
    assert frames_of_wrong_length(planted_frames)["window"].tolist() == found
    assert frames_of_wrong_length(replace(planted_frames, split=SplitConfig())).empty


def test_frames_that_end_before_the_data_are_found(tables: SplitTables) -> None:
    right = frames(tables, "day", ["2020-01-01", "2020-01-02", "2020-01-02 12:00"])
    late = right.interactions.assign(timestamp=pd.Timestamp("2020-01-02 13:00"))
    assert frames_of_wrong_length(replace(right, interactions=late))["window"].tolist() == [1]
