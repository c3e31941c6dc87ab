"""Frames to validate: a table with columns added for what needs other tables or whole lists.

Great Expectations looks at one frame at a time, so what a rule needs from elsewhere is worked out here and expected
there. Added columns hold booleans or recounted numbers and appear in the failing rows.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from assets.schema import ITEM_BASE_COLUMNS, ITEM_COLUMNS, USER_BASE_COLUMNS, USER_COLUMNS, Columns, Split
from assets.storage import Storage

USER_KNOWN, ITEM_KNOWN = "user_known", "item_known"
IN_ORDER = "in_order"
OF_TEST_ROW, HAS_CASE = "of_test_row", "has_case"
RECOUNTED = "recounted"
LISTS = "features_are_lists"
EVEN, OLDEST_FIRST, LENGTH = "lists_are_even", "oldest_first", "length"
MEMBERS = {"user_histories": "item_ids", "item_histories": "user_ids"}
TIMESTAMPS = "timestamps"


def raw_interactions(storage: Storage) -> pd.DataFrame:
    frame = storage.read_raw("interactions")
    known_users = storage.read_raw("users", [Columns.USER])[Columns.USER]
    known_items = storage.read_raw("items", [Columns.ITEM])[Columns.ITEM]
    return with_references(frame, known_users, known_items)


def interactions(storage: Storage) -> pd.DataFrame:
    frame = _with_references(storage, storage.read_table("interactions"))
    order = frame.sort_values([Columns.TIMESTAMP, Columns.SOURCE_ROW], kind="stable").index
    return frame.assign(**{IN_ORDER: order == frame.index})


def split_bounds(storage: Storage) -> pd.DataFrame:
    """The bounds, with engagements counted again by label."""
    labels = storage.read_table("interactions", [Columns.SPLIT, Columns.WINDOW])
    counts = labels.groupby([Columns.SPLIT, Columns.WINDOW], dropna=False).size().rename(RECOUNTED)
    bounds = storage.read_table("split_bounds")
    bounds = bounds.merge(counts.reset_index(), on=[Columns.SPLIT, Columns.WINDOW], how="left")
    return bounds.assign(**{RECOUNTED: bounds[RECOUNTED].fillna(0).astype(np.int64)})


def test_cases(storage: Storage) -> pd.DataFrame:
    """The cases and, behind them, the test engagements without one; each with whether it is both."""
    same = [Columns.SOURCE_ROW, Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.WINDOW]
    rows = storage.read_table("interactions", [*same, Columns.SPLIT])
    rows = rows.loc[rows[Columns.SPLIT] == Split.TEST, same].drop_duplicates()
    found = storage.read_table("test_cases").merge(rows, on=same, how="outer", indicator=True)
    side = found.pop("_merge")
    found = found.assign(**{OF_TEST_ROW: side != "left_only", HAS_CASE: side != "right_only"})
    return _with_references(storage, found)


def raw_items(storage: Storage) -> pd.DataFrame:
    return with_list_flag(storage.read_raw("items"), ITEM_BASE_COLUMNS)


def raw_users(storage: Storage) -> pd.DataFrame:
    return with_list_flag(storage.read_raw("users"), USER_BASE_COLUMNS)


def items(storage: Storage) -> pd.DataFrame:
    return with_list_flag(storage.read_table("items"), ITEM_COLUMNS)


def users(storage: Storage) -> pd.DataFrame:
    return with_list_flag(storage.read_table("users"), USER_COLUMNS)


def user_histories(storage: Storage) -> pd.DataFrame:
    frame = with_list_flags(storage.read_table("user_histories"), MEMBERS["user_histories"])
    known = storage.read_table("users", [Columns.USER])[Columns.USER]
    return frame.assign(**{USER_KNOWN: frame[Columns.USER].isin(known)})


def item_histories(storage: Storage) -> pd.DataFrame:
    frame = with_list_flags(storage.read_table("item_histories"), MEMBERS["item_histories"])
    known = storage.read_table("items", [Columns.ITEM])[Columns.ITEM]
    return frame.assign(**{ITEM_KNOWN: frame[Columns.ITEM].isin(known)})


def _with_references(storage: Storage, frame: pd.DataFrame) -> pd.DataFrame:
    known_users = storage.read_table("users", [Columns.USER])[Columns.USER]
    known_items = storage.read_table("items", [Columns.ITEM])[Columns.ITEM]
    return with_references(frame, known_users, known_items)


def with_references(frame: pd.DataFrame, known_users: pd.Series, known_items: pd.Series) -> pd.DataFrame:
    """Add whether each row's user and item are in their tables."""
    flags = {USER_KNOWN: frame[Columns.USER].isin(known_users), ITEM_KNOWN: frame[Columns.ITEM].isin(known_items)}
    return frame.assign(**flags)


def with_list_flag(frame: pd.DataFrame, plain: Collection[str]) -> pd.DataFrame:
    """Add whether every feature column (all but the plain ones) holds a list; a missing value is none."""
    features = [column for column in frame.columns if column not in plain]
    flag = pd.Series(True, index=frame.index)
    for column in features:
        flag &= frame[column].map(type).isin([np.ndarray, list])
    return frame.assign(**{LISTS: flag})


def with_list_flags(histories: pd.DataFrame, members: str) -> pd.DataFrame:
    """Add each history's length, whether its two lists are equally long, and whether it runs forward in time."""
    lengths = histories[TIMESTAMPS].map(len).to_numpy(dtype=np.int64)
    times = [np.asarray(one, dtype="datetime64[us]") for one in histories[TIMESTAMPS]]
    flat = np.concatenate(times) if times else np.empty(0, "datetime64[us]")
    owner = np.repeat(np.arange(len(histories)), lengths)
    backward = (flat[1:] < flat[:-1]) & (owner[1:] == owner[:-1])
    sorted_flag = np.ones(len(histories), np.bool_)
    sorted_flag[owner[1:][backward]] = False
    even = histories[members].map(len).to_numpy(dtype=np.int64) == lengths
    return histories.assign(**{LENGTH: lengths, EVEN: even, OLDEST_FIRST: sorted_flag})
