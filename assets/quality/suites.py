"""Great Expectations suites, one per table. Importing this module takes seconds: glue imports it inside its functions.

DuckDB through SQLAlchemy does not work in this release, so suites validate pandas frames, and heavy aggregates are
dbt tests. An expectation of severity ``warning`` is reported and does not fail its check.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.row_conditions import Column

from assets.quality import frames, large_frames
from assets.quality.large import Reader
from assets.quality.vocabulary import (
    WARNING,
    Limits,
    count,
    features,
    identifier,
    instant,
    label,
    present,
    references,
    rows,
    source_instant,
    timeline_instant,
    true,
    unique,
    window,
)
from assets.schema import Columns, ItemSlice, Split
from assets.storage import Storage


@dataclass(frozen=True)
class Suite:
    """How to read a table's frame, what to expect of it, and how to read the table where it is large."""

    frame: Callable[[Storage], pd.DataFrame]
    expectations: Callable[[Limits], list[Expectation]]
    large: Reader | None = None


def _engagements(limits: Limits) -> list[Expectation]:
    """What raw and exported interactions share."""
    finite, windows = sys.float_info.max, limits.windows or 1
    return [
        rows(2 * windows, f"rows enough for a train half and {windows} windows"),
        *identifier(Columns.USER),
        *identifier(Columns.ITEM),
        present(Columns.TIMESTAMP),
        present(Columns.EVENT_TYPE),
        gxe.ExpectColumnValuesToBeBetween(
            column=Columns.VALUE, min_value=-finite, max_value=finite, description="value is finite or missing"
        ),
        *count(Columns.SOURCE_ROW),
        unique(Columns.SOURCE_ROW),
    ]


def raw_interactions(limits: Limits) -> list[Expectation]:
    same = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT_TYPE, Columns.VALUE]
    return [
        *_engagements(limits),
        *source_instant(Columns.TIMESTAMP, limits),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=same, description="no engagement is recorded twice", severity=WARNING
        ),
        *references(WARNING),
    ]


def raw_items(_: Limits) -> list[Expectation]:
    return [
        rows(1, "some items are described", WARNING),
        *identifier(Columns.ITEM),
        unique(Columns.ITEM),
        gxe.ExpectColumnToExist(column=Columns.TITLE, description="there is a title column"),
        instant(Columns.CREATED_AT),
        features(),
    ]


def raw_users(_: Limits) -> list[Expectation]:
    return [
        rows(1, "some users are described", WARNING),
        *identifier(Columns.USER),
        unique(Columns.USER),
        features(),
    ]


def interactions(limits: Limits) -> list[Expectation]:
    in_test = Column(Columns.SPLIT) == Split.TEST.value
    in_train = Column(Columns.SPLIT) != Split.TEST.value
    return [
        *_engagements(limits),
        *timeline_instant(Columns.TIMESTAMP, limits),
        present(Columns.SOURCE_TIMESTAMP),
        *source_instant(Columns.SOURCE_TIMESTAMP, limits),
        *label(Columns.SPLIT, Split),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column=Columns.SPLIT, value_set=[split.value for split in Split], description="every split has engagements"
        ),
        window(limits),
        gxe.ExpectColumnValuesToNotBeNull(
            column=Columns.WINDOW, row_condition=in_test, description="every test engagement has a window"
        ),
        gxe.ExpectColumnValuesToBeNull(
            column=Columns.WINDOW, row_condition=in_train, description="no train engagement has a window"
        ),
        *references(),
        true(frames.IN_ORDER, "rows are in order of timestamp and source_row"),
    ]


def split_bounds(limits: Limits) -> list[Expectation]:
    return [
        *_number_of_bounds(limits),
        *label(Columns.SPLIT, Split),
        present(Columns.STARTS_AT),
        present(Columns.ENDS_AT),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=Columns.ENDS_AT, column_B=Columns.STARTS_AT, description="every interval ends after it starts"
        ),
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="engagements", column_B=frames.RECOUNTED, description="engagements are those labelled so"
        ),
    ]


def _number_of_bounds(limits: Limits) -> list[Expectation]:
    """How many bounds there are, and which may be empty: frames follow each other whether or not anything happens."""
    if limits.windows is None:
        before = Column(Columns.SPLIT) != Split.TEST.value
        return [
            rows(3, "train, validation and a frame"),
            gxe.ExpectColumnValuesToBeBetween(
                column="engagements",
                min_value=1,
                row_condition=before,
                description="train and validation are not empty",
            ),
        ]
    return [
        gxe.ExpectTableRowCountToEqual(
            value=limits.windows + 2, description=f"train, validation and {limits.windows} windows"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="engagements",
            min_value=1,
            description="no split or window is empty (if a window is: fewer windows, or split.cut_by: count)",
        ),
    ]


def items(limits: Limits) -> list[Expectation]:
    return [
        rows(1, "there are items"),
        *identifier(Columns.ITEM),
        unique(Columns.ITEM),
        instant(Columns.CREATED_AT),
        instant(Columns.AVAILABLE_AT),
        # Of an announced item it lies behind everything, as long as nobody engaged with it.
        gxe.ExpectColumnValuesToBeBetween(
            column=Columns.AVAILABLE_AT,
            max_value=limits.timeline_end.to_pydatetime(),
            row_condition=Column(Columns.FIRST_ENGAGED_AT).is_not_null(),
            description="available_at of an engaged item is not behind the end of the timeline",
        ),
        *timeline_instant(Columns.FIRST_ENGAGED_AT, limits),
        *count(Columns.TRAIN_COUNT),
        *label(Columns.SLICE, ItemSlice),
        features(),
    ]


def users(_: Limits) -> list[Expectation]:
    return [
        rows(1, "there are users"),
        *identifier(Columns.USER),
        unique(Columns.USER),
        *count(Columns.TRAIN_COUNT),
        features(),
    ]


def test_cases(limits: Limits) -> list[Expectation]:
    return [
        true(frames.HAS_CASE, "every test engagement has a case"),
        *identifier(Columns.USER),
        *identifier(Columns.ITEM),
        unique(Columns.SOURCE_ROW),
        *timeline_instant(Columns.TIMESTAMP, limits),
        present(Columns.WINDOW),
        window(limits),
        *label(Columns.SLICE, ItemSlice),
        present(Columns.REFRESH_AT),
        *count(Columns.ENGAGEMENTS_SEEN),
        *(present(column) for column in (Columns.ON_CATALOG, Columns.IS_REPEAT, Columns.USER_IN_TRAIN)),
        *references(),
        true(frames.OF_TEST_ROW, "every case is a test engagement, with its user, item, time and window"),
    ]


def user_histories(limits: Limits) -> list[Expectation]:
    return [*_histories(Columns.USER, limits), true(frames.USER_KNOWN, "every user_id is in the users table")]


def item_histories(limits: Limits) -> list[Expectation]:
    return [*_histories(Columns.ITEM, limits), true(frames.ITEM_KNOWN, "every item_id is in the items table")]


def _histories(owner: str, limits: Limits) -> list[Expectation]:
    return [
        *identifier(owner),
        unique(owner),
        gxe.ExpectColumnValuesToBeBetween(
            column=frames.LENGTH,
            min_value=0,
            max_value=limits.history_length,
            description=f"at most the latest {limits.history_length} engagements",
        ),
        true(frames.EVEN, "one timestamp for every entry"),
        true(frames.OLDEST_FIRST, "entries are oldest first"),
    ]


SUITES: dict[str, Suite] = {
    "raw_interactions": Suite(frames.raw_interactions, raw_interactions, large_frames.raw_interactions),
    "raw_items": Suite(frames.raw_items, raw_items),
    "raw_users": Suite(frames.raw_users, raw_users),
    "interactions": Suite(frames.interactions, interactions, large_frames.interactions),
    "split_bounds": Suite(frames.split_bounds, split_bounds),
    "items": Suite(frames.items, items),
    "users": Suite(frames.users, users),
    "test_cases": Suite(frames.test_cases, test_cases, large_frames.test_cases),
    "user_histories": Suite(frames.user_histories, user_histories),
    "item_histories": Suite(frames.item_histories, item_histories),
}
