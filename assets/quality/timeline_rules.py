"""Leakage rules of the timeline that is split: where engagements lie on it, and which ones are held out.

Like :mod:`assets.quality.leakage_rules` they recompute what the SQL made, here from the source's own times.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import md5
from typing import Final

import numpy as np
import pandas as pd

from assets.config import SplitConfig
from assets.quality.split_tables import SplitTables
from assets.schema import Columns, Split

DAY = pd.Timedelta(1, "D")
FEWEST = 3
"""Engagements of a user that leave_one_out holds any out of."""


MIDNIGHTS: Final[Mapping[str, Mapping[Split, int]]] = {
    "leave_one_out": {Split.VALIDATION: 1, Split.TEST: 2},
    "held_out_items": {Split.TEST: 1},
}
"""Kind of split -> split that it holds out -> how many midnights after the last engagement of train its own lie."""

BY_USER: Final = "held_out_users"
"""The kind of split that moves what it holds out by whole days instead."""

FRAMES: Final = {"hour": pd.Timedelta(1, "h"), "day": DAY, "week": 7 * DAY}


def rows_at_wrong_times(tables: SplitTables) -> pd.DataFrame:
    """Engagements whose time is not their source's nor, if they are held out, where their kind of split puts them."""
    rows = tables.interactions
    expected = _by_days(rows) if tables.split.kind == BY_USER else _at_midnights(rows, tables.split.kind)
    wrong = rows[Columns.TIMESTAMP] != expected
    return rows[wrong].assign(expected=expected[wrong])


def _at_midnights(rows: pd.DataFrame, kind: str) -> pd.Series:
    """Times of a kind that puts all of a split to one midnight after train, or moves nothing."""
    held_out, expected = MIDNIGHTS.get(kind, {}), rows[Columns.SOURCE_TIMESTAMP]
    last_day = expected[~rows[Columns.SPLIT].isin(list(held_out))].max().floor("D")
    for split, midnights in held_out.items():
        expected = expected.mask(rows[Columns.SPLIT] == split, last_day + midnights * DAY)
    return expected


def _by_days(rows: pd.DataFrame) -> pd.Series:
    """Times of held_out_users: test is moved by whole days, its first day to the one after the last day of train."""
    source, tested = rows[Columns.SOURCE_TIMESTAMP], rows[Columns.SPLIT] == Split.TEST
    moved = source + (source[~tested].max().floor("D") + DAY - source[tested].min().floor("D"))
    return source.mask(tested, moved)


def frames_of_wrong_length(tables: SplitTables) -> pd.DataFrame:
    """Test windows of fraction that are not a frame long or not where the one before ends; none of another kind.

    The last one ends a microsecond after the last engagement, within a frame of its start.
    """
    windows = tables.windows
    if tables.split.kind != "fraction":
        return windows.head(0)
    frame, end = FRAMES[tables.split.frame], tables.interactions[Columns.TIMESTAMP].max() + pd.Timedelta(1, "us")
    starts = pd.Series([tables.cutoff + place * frame for place in range(len(windows))], windows.index)
    ends = starts.shift(-1).fillna(end)
    right = (windows[Columns.STARTS_AT] == starts) & (windows[Columns.ENDS_AT] == ends) & (ends <= starts + frame)
    return windows.assign(expected_start=starts, expected_end=ends)[~right]


def rows_not_held_out_by_rule(tables: SplitTables) -> pd.DataFrame:
    """Engagements whose split is not what the kind of split makes of them; none of a kind that holds nothing out."""
    rows = tables.interactions
    if tables.split.kind not in EXPECTED:
        return rows.head(0)
    expected = EXPECTED[tables.split.kind](rows, tables.split)
    return rows.assign(expected=expected)[rows[Columns.SPLIT] != expected]


def _leave_one_out(rows: pd.DataFrame, split: SplitConfig) -> pd.Series:
    """Of every user with enough engagements the last tests and the second last validates; the rest trains."""
    users = _last_first(rows, split).groupby(Columns.USER)[Columns.USER]
    place, enough = users.cumcount(), users.transform("size") >= FEWEST
    chosen = [enough & (place == 0), enough & (place == 1)]
    labels = np.select(chosen, [Split.TEST.value, Split.VALIDATION.value], Split.TRAIN.value)
    return pd.Series(labels, index=place.index).reindex(rows.index)


def _held_out_ids(column: str, rows: pd.DataFrame, split: SplitConfig) -> pd.Series:
    """Engagements of the share of ids with the smallest digests test; the others' label is only not to be that."""
    ids = sorted(set(rows[column]), key=lambda one: (_digest(f"{split.held_out_seed}:{one}"), one))
    chosen = ids[: math.floor(split.share_held_out * len(ids) + 0.5)]
    labels = rows[Columns.SPLIT].mask(rows[Columns.SPLIT] == Split.TEST, Split.TRAIN.value)
    return labels.mask(rows[column].isin(chosen), Split.TEST.value)


def _last_first(rows: pd.DataFrame, split: SplitConfig) -> pd.DataFrame:
    """The engagements in the order in which a user's are held out."""
    if split.held_out_by == "time":
        return rows.sort_values([Columns.SOURCE_TIMESTAMP, Columns.SOURCE_ROW], ascending=False)
    digest = rows[Columns.SOURCE_ROW].map(lambda row: _digest(str(row)))
    return rows.assign(digest=digest).sort_values(["digest", Columns.SOURCE_ROW])


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


EXPECTED: Final[Mapping[str, Callable[[pd.DataFrame, SplitConfig], pd.Series]]] = {
    "leave_one_out": _leave_one_out,
    "held_out_items": partial(_held_out_ids, Columns.ITEM),
    BY_USER: partial(_held_out_ids, Columns.USER),
}
"""Kinds of split that hold engagements out -> the split that each engagement should have."""
