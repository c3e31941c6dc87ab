"""Leakage rules of the timeline that is split: where engagements lie on it, and which ones are held out.

Like :mod:`assets.quality.leakage_rules` they recompute what the SQL made, here from the source's own times.
"""

import math
from collections.abc import Callable, Mapping
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

FRAMES: Final = {"hour": pd.Timedelta(1, "h"), "day": DAY, "week": 7 * DAY}


def rows_at_wrong_times(tables: SplitTables) -> pd.DataFrame:
    """Engagements whose time is not their source's nor, if they are held out, a midnight after train."""
    rows, held_out = tables.interactions, MIDNIGHTS.get(tables.split.kind, {})
    expected = rows[Columns.SOURCE_TIMESTAMP]
    last_day = expected[~rows[Columns.SPLIT].isin(list(held_out))].max().floor("D")
    for split, midnights in held_out.items():
        expected = expected.mask(rows[Columns.SPLIT] == split, last_day + midnights * DAY)
    return rows.assign(expected=expected)[rows[Columns.TIMESTAMP] != expected]


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


def _held_out_items(rows: pd.DataFrame, split: SplitConfig) -> pd.Series:
    """Engagements on the share of items with the smallest digests test; the others' label is only not to be that."""
    items = sorted(set(rows[Columns.ITEM]), key=lambda item: (_digest(f"{split.held_out_seed}:{item}"), item))
    chosen = items[: math.floor(split.held_out_share * len(items) + 0.5)]
    labels = rows[Columns.SPLIT].mask(rows[Columns.SPLIT] == Split.TEST, Split.TRAIN.value)
    return labels.mask(rows[Columns.ITEM].isin(chosen), Split.TEST.value)


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
    "held_out_items": _held_out_items,
}
"""Kinds of split that hold engagements out -> the split that each engagement should have."""
