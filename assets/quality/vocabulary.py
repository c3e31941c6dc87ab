"""The vocabulary of the suites: expectations that several tables share, each with its meaning in words."""

from dataclasses import dataclass

import pandas as pd
from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from assets.quality import frames
from assets.schema import ItemSlice, Split

EARLIEST = pd.Timestamp("1971-01-01")
"""Engagements before it are parsing mistakes: zeros, and seconds read as milliseconds (which land in January 1970)."""

WARNING = FailureSeverity.WARNING


@dataclass(frozen=True)
class Limits:
    """What expectations are measured against: the time of the run (naive UTC) and the configured split."""

    now: pd.Timestamp
    windows: int
    history_length: int


def identifier(column: str) -> list[Expectation]:
    return [
        gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"{column} is never missing"),
        gxe.ExpectColumnValuesToBeOfType(column=column, type_="str", description=f"{column} is text"),
        gxe.ExpectColumnValueLengthsToBeBetween(column=column, min_value=1, description=f"{column} is not empty"),
    ]


def unique(column: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeUnique(column=column, description=f"one row per {column}")


def instant(column: str, limits: Limits, earliest: pd.Timestamp | None = EARLIEST) -> list[Expectation]:
    """A time that is not in the future and, where ``earliest`` is given, not before it."""
    first = f"between {earliest:%Y-%m-%d} and now" if earliest is not None else "not in the future"
    return [
        gxe.ExpectColumnValuesToBeOfType(column=column, type_="datetime64", description=f"{column} is a timestamp"),
        gxe.ExpectColumnValuesToBeBetween(
            column=column,
            min_value=None if earliest is None else earliest.to_pydatetime(),
            max_value=limits.now.to_pydatetime(),
            description=f"{column} is {first}",
        ),
    ]


def present(column: str) -> Expectation:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"{column} is never missing")


def count(column: str) -> list[Expectation]:
    return [
        present(column),
        gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, description=f"{column} is a count"),
    ]


def label(column: str, values: type[Split] | type[ItemSlice]) -> list[Expectation]:
    names = [value.value for value in values]
    words = f"{column} is one of {', '.join(names)}"
    return [present(column), gxe.ExpectColumnValuesToBeInSet(column=column, value_set=names, description=words)]


def true(column: str, words: str, severity: FailureSeverity = FailureSeverity.CRITICAL) -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[True], description=words, severity=severity)


def rows(minimum: int, words: str, severity: FailureSeverity = FailureSeverity.CRITICAL) -> Expectation:
    return gxe.ExpectTableRowCountToBeBetween(min_value=minimum, description=words, severity=severity)


def references(severity: FailureSeverity = FailureSeverity.CRITICAL) -> list[Expectation]:
    return [
        true(frames.USER_KNOWN, "every user_id is in the users table", severity),
        true(frames.ITEM_KNOWN, "every item_id is in the items table", severity),
    ]


def features() -> Expectation:
    return true(frames.LISTS, "every feature is a list of values, empty where nothing is known")
