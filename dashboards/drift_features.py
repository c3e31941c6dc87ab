"""What an engagement looks like, as columns whose distributions can be compared between train time and a window.

Nothing here looks past an engagement except ``train_count``, which is known at the cutoff: for the windows that is the
past; for engagements of train time it counts the whole of train time, their own and later ones included. That is meant:
both sides are measured with the one ruler that a model frozen at the cutoff has.
"""

from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.schema import ITEM_COLUMNS, Columns, Split

ITEM_POPULARITY: Final = "item_popularity"
USER_ACTIVITY: Final = "user_activity"
ITEM_AGE_DAYS: Final = "item_age_days"
HOUR: Final = "hour_of_day"
WEEKDAY: Final = "weekday"
CATEGORY: Final = "category"
ITEM_SLICE: Final = "item_slice"
USER_KNOWN: Final = "user_in_train"

NUMERICAL: Final = (ITEM_POPULARITY, USER_ACTIVITY, ITEM_AGE_DAYS, Columns.VALUE)
CATEGORICAL: Final = (CATEGORY, ITEM_SLICE, USER_KNOWN, HOUR, WEEKDAY)

MEANING: Final[dict[str, str]] = {
    ITEM_POPULARITY: "log(1 + engagements of the item before the cutoff)",
    USER_ACTIVITY: "log(1 + engagements of the user strictly before this one)",
    ITEM_AGE_DAYS: "days since the item was first available",
    Columns.VALUE: "value of the engagement, as the source gave it",
    CATEGORY: "first category of the item; the most frequent ones of the dataset, others together",
    ITEM_SLICE: "slice of the item by engagements before the cutoff",
    USER_KNOWN: "whether the user engaged with anything before the cutoff",
    HOUR: "hour of the day (UTC)",
    WEEKDAY: "day of the week (UTC)",
}

CATEGORY_NAMES: Final = ("genre", "category", "topic", "brand", "publisher", "author")
"""Item features to take the category from, in order of preference; otherwise the first list feature there is."""
TOP_CATEGORIES: Final = 12
OTHER, NONE = "(other)", "(none)"
WEEKDAYS: Final = ("1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun")
HOURS: Final = tuple(f"{hour:02d}" for hour in range(24))
SECONDS_PER_DAY: Final = 86_400


def engagement_features(interactions: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """One row per engagement: its split and window, and the columns of :data:`MEANING`.

    Args:
        interactions: user_id, item_id, timestamp, value, split, window.
        items: item_id, available_at, train_count, slice, then list features, one row per item.
        users: user_id, train_count, one row per user.

    Raises:
        ValueError: when an engagement names an item or user that has no row.
    """
    item = _rows_of(interactions, items, Columns.ITEM)
    user = _rows_of(interactions, users, Columns.USER)
    instants = interactions[Columns.TIMESTAMP]
    earlier = instants.groupby(user).rank(method="min") - 1
    age = instants.to_numpy("datetime64[us]") - items[Columns.AVAILABLE_AT].to_numpy("datetime64[us]")[item]
    weekdays = np.array(WEEKDAYS, dtype=object)
    return pd.DataFrame(
        {
            Columns.SPLIT: interactions[Columns.SPLIT].array,
            Columns.WINDOW: interactions[Columns.WINDOW].to_numpy(),
            ITEM_POPULARITY: np.log1p(items[Columns.TRAIN_COUNT].to_numpy(np.float64)[item]),
            USER_ACTIVITY: np.log1p(earlier.to_numpy(np.float64)),
            ITEM_AGE_DAYS: age / np.timedelta64(SECONDS_PER_DAY, "s"),
            Columns.VALUE: interactions[Columns.VALUE].to_numpy(np.float64),
            CATEGORY: _categories(items).to_numpy(dtype=object)[item],
            ITEM_SLICE: items[Columns.SLICE].to_numpy(dtype=object)[item],
            USER_KNOWN: np.where(users[Columns.TRAIN_COUNT].to_numpy()[user] > 0, "yes", "no"),
            HOUR: np.array(HOURS, dtype=object)[instants.dt.hour.to_numpy()],
            WEEKDAY: weekdays[instants.dt.dayofweek.to_numpy()],
        }
    )


def _rows_of(interactions: pd.DataFrame, table: pd.DataFrame, key: str) -> np.ndarray:
    """[N] row of ``table`` for every engagement."""
    known = pa.array(table[key], pa.string(), from_pandas=True)
    found = pc.index_in(pa.array(interactions[key], pa.string(), from_pandas=True), known)
    rows = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    if (rows < 0).any():
        unknown = interactions[key].to_numpy()[rows < 0][0]
        raise ValueError(f"{key} {unknown!r} has engagements and no row in its table: materialize the tables again")
    return rows


def category_feature(items: pd.DataFrame) -> str | None:
    """Name of the list feature that categories come from, or None where items have none."""
    features = [str(column) for column in items.columns if column not in ITEM_COLUMNS]
    return next((name for name in CATEGORY_NAMES if name in features), features[0] if features else None)


def _categories(items: pd.DataFrame) -> pd.Series:
    """First category of each item; the most frequent ones by train engagements keep their name."""
    feature = category_feature(items)
    if feature is None:
        return pd.Series(NONE, index=items.index, dtype=object)
    first = items[feature].str[0].fillna(NONE)
    frequency = items[Columns.TRAIN_COUNT].groupby(first).sum().drop(NONE, errors="ignore")
    kept = frequency.sort_values(ascending=False, kind="stable").index[:TOP_CATEGORIES]
    return first.where(first.isin(kept) | (first == NONE), OTHER)


def train_side(features: pd.DataFrame) -> pd.DataFrame:
    """Engagements of train time (train and validation), without the labels."""
    return features[features[Columns.SPLIT] != Split.TEST].drop(columns=[Columns.SPLIT, Columns.WINDOW])


def window_side(features: pd.DataFrame, window: int) -> pd.DataFrame:
    """Engagements of one test window, without the labels."""
    chosen = (features[Columns.SPLIT] == Split.TEST) & (features[Columns.WINDOW] == window)
    return features[chosen].drop(columns=[Columns.SPLIT, Columns.WINDOW])


def draw(side: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """At most ``rows`` rows drawn without replacement, in their order."""
    if len(side) <= rows:
        return side.reset_index(drop=True)
    chosen = np.random.default_rng(seed).choice(len(side), size=rows, replace=False, shuffle=False)
    return side.iloc[np.sort(chosen)].reset_index(drop=True)
