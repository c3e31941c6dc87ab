"""Leakage rules of the timeline that is split: where engagements lie on it, and which ones leave_one_out holds out.

Like :mod:`assets.quality.leakage_rules` they recompute what the SQL made, here from the source's own times.
"""

from hashlib import md5

import numpy as np
import pandas as pd

from assets.config import SplitConfig
from assets.quality.split_tables import SplitTables
from assets.schema import Columns, Split

DAY = pd.Timedelta(1, "D")
FEWEST = 3
"""Engagements of a user that leave_one_out holds any out of."""


def rows_at_wrong_times(tables: SplitTables) -> pd.DataFrame:
    """Engagements whose time is not their source's, nor, if leave_one_out holds them out, a midnight after train."""
    rows = tables.interactions
    expected = rows[Columns.SOURCE_TIMESTAMP]
    if tables.split.kind == "leave_one_out":
        midnight = expected[rows[Columns.SPLIT] == Split.TRAIN].max().floor("D") + DAY
        expected = expected.mask(rows[Columns.SPLIT] == Split.VALIDATION, midnight)
        expected = expected.mask(rows[Columns.SPLIT] == Split.TEST, midnight + DAY)
    return rows.assign(expected=expected)[rows[Columns.TIMESTAMP] != expected]


def rows_not_left_out_by_rule(tables: SplitTables) -> pd.DataFrame:
    """Engagements whose split is not what leave_one_out makes of them; none of another kind of split."""
    rows = tables.interactions
    if tables.split.kind != "leave_one_out":
        return rows.head(0)
    users = _last_first(rows, tables.split).groupby(Columns.USER)[Columns.USER]
    place, enough = users.cumcount(), users.transform("size") >= FEWEST
    chosen = [enough & (place == 0), enough & (place == 1)]
    labels = np.select(chosen, [Split.TEST.value, Split.VALIDATION.value], Split.TRAIN.value)
    expected = pd.Series(labels, index=place.index).reindex(rows.index)
    return rows.assign(expected=expected)[rows[Columns.SPLIT] != expected]


def _last_first(rows: pd.DataFrame, split: SplitConfig) -> pd.DataFrame:
    """The engagements in the order in which a user's are held out."""
    if split.held_out_by == "time":
        return rows.sort_values([Columns.SOURCE_TIMESTAMP, Columns.SOURCE_ROW], ascending=False)
    digest = rows[Columns.SOURCE_ROW].map(lambda row: md5(str(row).encode(), usedforsecurity=False).hexdigest())
    return rows.assign(digest=digest).sort_values(["digest", Columns.SOURCE_ROW])
