"""Names shared by every stage: columns, splits, slices. The bottom of the import order: imports nothing of ours.

A column or label is spelled here once; SQL spells the same words, and ``tests/test_schema.py`` holds the two together.
All timestamps are UTC, stored as ``timestamp[us]`` without a zone (DuckDB's zoned type needs an extension for date
arithmetic, and no core feature may need one).
"""

from enum import StrEnum
from typing import Final


class Columns:
    """Column names of the canonical tables, the split tables, the cases and the metrics."""

    USER: Final = "user_id"
    ITEM: Final = "item_id"
    TIMESTAMP: Final = "timestamp"
    EVENT_TYPE: Final = "event_type"
    VALUE: Final = "value"
    SOURCE_ROW: Final = "source_row"
    SOURCE_TIMESTAMP: Final = "source_timestamp"

    TITLE: Final = "title"
    CREATED_AT: Final = "created_at"
    CONTENT: Final = "content"
    AVAILABLE_AT: Final = "available_at"
    FIRST_ENGAGED_AT: Final = "first_engaged_at"
    TRAIN_COUNT: Final = "train_count"

    SPLIT: Final = "split"
    WINDOW: Final = "window"
    STARTS_AT: Final = "starts_at"
    ENDS_AT: Final = "ends_at"
    SLICE: Final = "slice"
    REFRESH_AT: Final = "refresh_at"
    ON_CATALOG: Final = "on_catalog"
    IS_REPEAT: Final = "is_repeat"
    ENGAGEMENTS_SEEN: Final = "engagements_seen"
    USER_IN_TRAIN: Final = "user_in_train"

    REASON: Final = "reason"


class Split(StrEnum):
    """Which side of the cutoff an engagement lies on; validation is the end of train time."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class ItemSlice(StrEnum):
    """Slices of items by engagements before the cutoff (train and validation together)."""

    HEAD = "head"
    TAIL = "tail"
    COLD = "cold"


class CaseSlice(StrEnum):
    """Slices a metric is reported for.

    ``overall`` and the item slices hold the cases whose user has some history; the others are ``no_history`` and,
    with both together, ``all_users``. ``tail_and_cold`` is both together. ``seen_*`` split by
    engagements of the target at request time.
    """

    OVERALL = "overall"
    HEAD = "head"
    TAIL = "tail"
    COLD = "cold"
    TAIL_AND_COLD = "tail_and_cold"
    NO_HISTORY = "no_history"
    ALL_USERS = "all_users"
    SEEN_0 = "seen_0"
    SEEN_1_10 = "seen_1_10"
    SEEN_MORE = "seen_more"


class UserHistory(StrEnum):
    """As of when a user's history is read: the train cutoff, or the event itself (strictly before it)."""

    FROZEN = "frozen"
    ROLLING = "rolling"


class ItemEmbeddings(StrEnum):
    """As of when item embeddings are computed: the train cutoff, or each refresh."""

    FROZEN = "frozen"
    REFRESHED = "refreshed"


INTERACTION_COLUMNS: Final = (
    Columns.USER,
    Columns.ITEM,
    Columns.TIMESTAMP,
    Columns.EVENT_TYPE,
    Columns.VALUE,
    Columns.SOURCE_ROW,
)
ITEM_BASE_COLUMNS: Final = (Columns.ITEM, Columns.TITLE, Columns.CREATED_AT)
USER_BASE_COLUMNS: Final = (Columns.USER,)
ITEM_COLUMNS: Final = (
    *ITEM_BASE_COLUMNS,
    Columns.CONTENT,
    Columns.AVAILABLE_AT,
    Columns.FIRST_ENGAGED_AT,
    Columns.TRAIN_COUNT,
    Columns.SLICE,
)
"""Of the exported items table, which has a content column only where an item has content; every other column of it is a
categorical feature."""
USER_COLUMNS: Final = (*USER_BASE_COLUMNS, Columns.TRAIN_COUNT)
"""Of the exported users table; every other column of it is a categorical feature."""

METRIC_COLUMNS: Final = (
    "dataset",
    "model",
    "seed",
    "protocol",
    "user_history",
    "item_embeddings",
    "window",
    "slice",
    "metric",
    "k",
    "value",
    "ci_low",
    "ci_high",
    "n",
)
"""Of the metrics: a row per model and seed."""
SEED_MEAN_COLUMNS: Final = (
    *("seeds" if column == "seed" else column for column in METRIC_COLUMNS),
    "standard_error",
)
"""Of the metrics over seeds: how many seeds were averaged, and the standard error over them."""
ALL_WINDOWS: Final = "all"
