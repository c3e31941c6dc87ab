"""Columns in which one day or hour of engagements can be compared with the weeks before the champion's cutoff.

Hour and weekday are left out: a day is one weekday, an hour one hour. What grows for ever (a user's engagements so far,
an item's age) is cut to a stretch of fixed length. Items and users are measured by one ruler on both sides: what was
known when the reference began, so that neither side counts its own engagements.
"""

from typing import Final

import numpy as np
import pandas as pd

from assets.schema import Columns, ItemSlice
from dashboards.drift_features import NONE

POPULARITY: Final = "item_popularity"
ACTIVITY: Final = "user_activity"
AGE_DAYS: Final = "item_age_days"
CATEGORY: Final = "category"
SLICE: Final = "item_slice"
KNOWN: Final = "user_known"

NUMERICAL: Final = (POPULARITY, ACTIVITY, AGE_DAYS, Columns.VALUE)
CATEGORICAL: Final = (CATEGORY, SLICE, KNOWN)

UNIT: Final = "unit"
"""Rows of one user in one partition: they come together, so they are drawn together."""
PARTITION: Final = "partition"

AGE_LIMIT_DAYS: Final = 28
ACTIVITY_DAYS: Final = 7

MEANING: Final[dict[str, str]] = {
    POPULARITY: "log(1 + engagements of the item before the reference began)",
    ACTIVITY: f"log(1 + engagements of the user in the {ACTIVITY_DAYS} days before the partition that the row is of)",
    AGE_DAYS: f"days since the item was first available, at most {AGE_LIMIT_DAYS}",
    Columns.VALUE: "value of the engagement, as the source gave it",
    CATEGORY: "first category of the item; the most frequent ones of train time, others together",
    SLICE: "slice of the item by engagements before the reference began",
    KNOWN: "whether the user engaged with anything before the reference began",
}
"""Every column, in the order in which reasons name them."""

COUNT: Final = "ruler_count"
"""Of an item: its engagements before the reference began."""
ENGAGED_BEFORE: Final = "engaged_before"
"""Of a row: engagements of its user in the :data:`ACTIVITY_DAYS` days before its partition."""


def partition_features(rows: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """One row per engagement: the columns of :data:`MEANING`, ``unit`` and ``partition``.

    Args:
        rows: user_id, item_id, timestamp, value, partition (its first instant, missing where only a part of it is
            there), unit, user_known (bool), engaged_before.
        items: item_id, ruler_count, available_at, category, item_slice; items that are not in it count as new: never
            engaged with, cold, without category, available since their first row here, as one that is engaged with
            before its time (announced for later) is.
    """
    at = items.set_index(Columns.ITEM).reindex(rows[Columns.ITEM])
    instants = rows[Columns.TIMESTAMP].to_numpy("datetime64[us]")
    available = at[Columns.AVAILABLE_AT].to_numpy("datetime64[us]")
    first = rows.groupby(Columns.ITEM)[Columns.TIMESTAMP].transform("min").to_numpy("datetime64[us]")
    days = (instants - np.fmin(available, first)) / np.timedelta64(1, "D")
    return pd.DataFrame(
        {
            POPULARITY: np.log1p(at[COUNT].fillna(0).to_numpy(np.float64)),
            ACTIVITY: np.log1p(rows[ENGAGED_BEFORE].to_numpy(np.float64)),
            AGE_DAYS: np.clip(days, 0, AGE_LIMIT_DAYS),
            Columns.VALUE: rows[Columns.VALUE].to_numpy(np.float64),
            CATEGORY: at[CATEGORY].fillna(NONE).to_numpy(object),
            SLICE: at[SLICE].fillna(ItemSlice.COLD.value).to_numpy(object),
            KNOWN: np.where(rows[KNOWN].to_numpy(bool), "yes", "no"),
            UNIT: rows[UNIT].to_numpy(),
            PARTITION: rows[PARTITION].to_numpy(),
        }
    )
