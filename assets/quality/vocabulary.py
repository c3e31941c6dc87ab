"""The vocabulary of the suites: expectations that several tables share, each with its meaning in words."""

from dataclasses import dataclass
from typing import Self

import pandas as pd
from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from assets import instants
from assets.config import SplitConfig
from assets.quality import frames
from assets.quality.timeline_rules import BY_USER, DAY, MIDNIGHTS
from assets.schema import Columns, ItemSlice, Split

EARLIEST = pd.Timestamp(instants.EARLIEST, unit="us")

TEXT = "CategoricalDtypeType"
"""What Great Expectations sees of a column of texts: see :func:`assets.quality.validation.looked_at`."""

WARNING = FailureSeverity.WARNING


@dataclass(frozen=True)
class Limits:
    """What expectations are measured against: the time of the run (naive UTC) and the configured split.

    Attributes:
        now: no source may have an engagement later than that.
        timeline_end: no engagement of the timeline that is split may be later.
        windows: of test time; None where the data decide how many, and may leave some empty.
        history_length: entries kept per history.
    """

    now: pd.Timestamp
    timeline_end: pd.Timestamp
    windows: int | None
    history_length: int

    @classmethod
    def of(cls, split: SplitConfig, now: pd.Timestamp) -> Self:
        """Limits at ``now``: what is held out is tested behind the last day of train."""
        return cls(now, _timeline_end(split.kind, now), split.test_windows, split.history_length)


def _timeline_end(kind: str, now: pd.Timestamp) -> pd.Timestamp:
    """At a midnight after train; of held_out_users, as long after it as their engagements can reach."""
    if kind == BY_USER:
        return now.floor("D") + DAY + (now - EARLIEST)
    held_out = MIDNIGHTS.get(kind)
    return now.floor("D") + max(held_out.values()) * DAY if held_out else now


def identifier(column: str) -> list[Expectation]:
    return [
        gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"{column} is never missing"),
        gxe.ExpectColumnValuesToBeOfType(column=column, type_=TEXT, description=f"{column} is text"),
        gxe.ExpectColumnValuesToNotBeInSet(column=column, value_set=[""], description=f"{column} is not empty"),
    ]


def unique(column: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeUnique(column=column, description=f"one row per {column}")


def instant(column: str) -> Expectation:
    """Any time: items are older than their engagements, and announced ones lie in the future."""
    return gxe.ExpectColumnValuesToBeOfType(column=column, type_="datetime64", description=f"{column} is a timestamp")


def source_instant(column: str, limits: Limits) -> list[Expectation]:
    """A time of an engagement as the source has it: not in the future, nor before :data:`EARLIEST`."""
    return _engaged_at(column, limits.now, f"between {EARLIEST:%Y-%m-%d} and now")


def timeline_instant(column: str, limits: Limits) -> list[Expectation]:
    """A time of an engagement on the timeline that is split: not behind its end, nor before :data:`EARLIEST`."""
    return _engaged_at(column, limits.timeline_end, "not behind the end of the timeline, nor before 1971")


def _engaged_at(column: str, latest: pd.Timestamp, words: str) -> list[Expectation]:
    return [
        instant(column),
        gxe.ExpectColumnValuesToBeBetween(
            column=column,
            min_value=EARLIEST.to_pydatetime(),
            max_value=latest.to_pydatetime(),
            description=f"{column} is {words}",
        ),
    ]


def present(column: str) -> Expectation:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"{column} is never missing")


def count(column: str) -> list[Expectation]:
    return [
        present(column),
        gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, description=f"{column} is a count"),
    ]


def window(limits: Limits) -> Expectation:
    last = None if limits.windows is None else limits.windows - 1
    words = "window is 0 or more" if last is None else f"window is one of 0 to {last}"
    return gxe.ExpectColumnValuesToBeBetween(column=Columns.WINDOW, min_value=0, max_value=last, description=words)


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
