"""Every leakage rule passes on right tables and finds what is planted for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from assets.config import EngagementRule, SplitConfig
from assets.quality.leakage import RULES
from assets.quality.split_tables import SplitTables, read_split_tables
from tests.assets.quality.toy import CUTOFF, set_cell, write_dataset

Plant = Callable[[SplitTables], tuple[SplitTables, set[str]]]
LATE = pd.Timestamp("2001-01-20")
I5, U3 = 5, 3
"""Their numbers: ids are numbered in their order."""
SPLIT = SplitConfig(windows=2, tail_max_count=5)
RULE = {rule.name: rule for rule in RULES}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> SplitTables:
    return read_split_tables(write_dataset(tmp_path_factory.mktemp("toy")), SPLIT)


def edit(tables: SplitTables, name: str, row: int, column: str, value: object) -> SplitTables:
    return replace(tables, **{name: set_cell(getattr(tables, name), row, column, value)})


def first_test_row(tables: SplitTables) -> int:
    return int((tables.interactions["split"] == "test").to_numpy().argmax())


def late_train_row(tables: SplitTables) -> SplitTables:
    rows = tables.interactions
    planted = rows.iloc[[-1]].assign(split="train", window=pd.array([None], dtype="Int32"))
    return replace(tables, interactions=pd.concat([rows.iloc[:-1], planted]))


def train_row_in_validation(tables: SplitTables) -> SplitTables:
    row = int((tables.interactions["split"] == "validation").to_numpy().argmax())
    return edit(tables, "interactions", row, "split", "train")


def wrong_window(tables: SplitTables) -> SplitTables:
    windows = tables.interactions["window"].tolist()
    windows[first_test_row(tables)] = 1
    return replace(tables, interactions=tables.interactions.assign(window=pd.array(windows, dtype="Int32")))


def overlapping_windows(tables: SplitTables) -> SplitTables:
    bounds = tables.split_bounds.copy()
    bounds.loc[bounds["window"] == 1, "starts_at"] -= pd.Timedelta(1, "us")
    return replace(tables, split_bounds=bounds)


def moved_row(tables: SplitTables) -> SplitTables:
    return edit(tables, "interactions", 0, "timestamp", tables.interactions["timestamp"].iloc[1])


def row_in_both(tables: SplitTables) -> SplitTables:
    return edit(tables, "interactions", first_test_row(tables), "source_row", tables.interactions["source_row"].iloc[0])


def future_in(name: str, members: str, member: int) -> Callable[[SplitTables], SplitTables]:
    def plant(tables: SplitTables) -> SplitTables:
        history = getattr(tables, name)
        entries = [[member], *([] for _ in range(len(history) - 1))]
        times = [[LATE], *([] for _ in range(len(history) - 1))]
        longer = {
            members: [[*held, *new] for held, new in zip(history[members], entries, strict=True)],
            "timestamps": [
                [*map(pd.Timestamp, held), *new] for held, new in zip(history["timestamps"], times, strict=True)
            ],
        }
        return replace(tables, **{name: history.assign(**longer)})

    return plant


def count_of_all_time(name: str, key: str) -> Callable[[SplitTables], SplitTables]:
    def plant(tables: SplitTables) -> SplitTables:
        table = getattr(tables, name)
        everything = table[key].map(tables.interactions[key].value_counts())
        return replace(tables, **{name: table.assign(train_count=everything)})

    return plant


def slice_of_all_time(tables: SplitTables) -> SplitTables:
    counts = tables.items["item_id"].map(tables.interactions["item_id"].value_counts())
    return replace(tables, items=tables.items.assign(slice=counts.gt(5).map({True: "head", False: "tail"})))


def case(column: str, value: object) -> Callable[[SplitTables], SplitTables]:
    return lambda tables: edit(tables, "test_cases", 0, column, value)


def available_too_early(tables: SplitTables) -> SplitTables:
    return edit(tables, "items", 5, "available_at", pd.Timestamp("2000-01-01"))


PLANTED: dict[str, Callable[[SplitTables], SplitTables]] = {
    "train_before_cutoff": late_train_row,
    "train_within_bounds": train_row_in_validation,
    "test_within_window": wrong_window,
    "bounds_contiguous": overlapping_windows,
    "times_as_recorded": moved_row,
    "held_out_by_rule": lambda tables: replace(tables, split=SplitConfig(kind="leave_one_out")),
    "frames_of_one_length": lambda tables: replace(tables, split=SplitConfig(kind="fraction", frame="hour")),
    "core_has_enough": lambda tables: replace(tables, engagement=EngagementRule(k_core=10)),
    "one_split_per_row": row_in_both,
    "user_histories_past": future_in("user_histories", "item_ids", I5),
    "item_histories_past": future_in("item_histories", "user_ids", U3),
    "item_counts_of_train": count_of_all_time("items", "item_id"),
    "user_counts_of_train": count_of_all_time("users", "user_id"),
    "slice_of_train_count": slice_of_all_time,
    "available_when_first_seen": available_too_early,
    "cases_count_earlier": case("engagements_seen", 56),
    "cases_repeat_earlier": lambda tables: replace(
        tables, test_cases=tables.test_cases.assign(is_repeat=~tables.test_cases["is_repeat"])
    ),
    "cases_user_in_train": case("user_in_train", False),
    "cases_slice_of_item": case("slice", "cold"),
    "cases_refresh_not_later": lambda tables: replace(
        tables, test_cases=tables.test_cases.assign(refresh_at=tables.test_cases["timestamp"])
    ),
    "cases_on_catalog_at_refresh": case("on_catalog", False),
}


@pytest.mark.parametrize("name", RULE)
def test_right_tables_break_no_rule(tables: SplitTables, name: str) -> None:
    assert RULE[name].find(tables).empty


@pytest.mark.parametrize("name", RULE)
def test_planted_leakage_is_found(tables: SplitTables, name: str) -> None:
    assert len(RULE[name].find(PLANTED[name](tables))) > 0


def test_only_the_planted_rows_are_found(tables: SplitTables) -> None:
    found = RULE["train_before_cutoff"].find(late_train_row(tables))
    assert found["source_row"].tolist() == [55]
    counts = RULE["cases_count_earlier"].find(PLANTED["cases_count_earlier"](tables))
    assert counts[["engagements_seen", "expected"]].to_numpy().tolist() == [[56, 5]]  # i1 at positions 3, 8, 13, 18, 23


def test_a_history_entry_of_the_future_under_a_past_time_is_found(tables: SplitTables) -> None:
    histories = tables.user_histories
    items = [*histories["item_ids"].iloc[0][:-1], I5]
    found = RULE["user_histories_past"].find(edit(tables, "user_histories", 0, "item_ids", items))
    assert tables.shown(found)["item_id"].tolist() == ["i5"]
    assert (found["timestamp"] < pd.Timestamp(CUTOFF)).all()


def test_lists_of_different_lengths_are_found(tables: SplitTables) -> None:
    found = RULE["user_histories_past"].find(edit(tables, "user_histories", 1, "item_ids", [1]))
    assert tables.shown(found)["user_id"].tolist() == ["u1"]


def test_equal_timestamps_are_not_strictly_earlier(tmp_path: Path) -> None:
    storage = write_dataset(tmp_path)
    tables = read_split_tables(storage, SPLIT)
    rows = tables.interactions
    twin = rows.iloc[[-1]].assign(user_id=2, source_row=99)
    cases = pd.concat([tables.test_cases, tables.test_cases.iloc[[-1]].assign(user_id=2, source_row=99)])
    both = replace(tables, interactions=pd.concat([rows, twin], ignore_index=True), test_cases=cases)
    assert RULE["cases_count_earlier"].find(both).empty


def test_head_is_the_most_frequent_share_of_what_was_available(tables: SplitTables) -> None:
    """i0..i4 are available before the cutoff, i5 is not. i0, i2, i4 have 6 engagements there, i1 and i3 have 5:
    0.7 of five are 3.5, so four, and of i1 and i3 the smaller id."""
    pareto = replace(tables, split=SplitConfig(head_rule="pareto", head_share=0.7))
    right = tables.items.assign(slice=["head", "head", "head", "tail", "head", "cold"])
    assert RULE["slice_of_train_count"].find(replace(pareto, items=right)).empty
    wider = right.assign(slice=["head", "head", "head", "head", "head", "cold"])
    found = RULE["slice_of_train_count"].find(replace(pareto, items=wider))
    assert tables.shown(found)[["item_id", "expected"]].to_numpy().tolist() == [["i3", "tail"]]
