"""Frames to validate: a table with columns added for what needs other tables or whole lists.

Great Expectations looks at one frame at a time, so what a rule needs from elsewhere is worked out here and expected
there. Added columns hold booleans or recounted numbers and appear in the failing rows. Texts and lists stay Arrow's:
a million engagements take 70 MB so, and 230 MB as objects.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.quality.lists import list_lengths, lists_of
from assets.schema import ITEM_BASE_COLUMNS, ITEM_COLUMNS, USER_BASE_COLUMNS, USER_COLUMNS, Columns, Split
from assets.storage import Storage, read_compact
from assets.stream import follows

USER_KNOWN, ITEM_KNOWN = "user_known", "item_known"
IN_ORDER = "in_order"
OF_TEST_ROW, HAS_CASE = "of_test_row", "has_case"
RECOUNTED = "recounted"
LISTS = "features_are_lists"
EVEN, OLDEST_FIRST, LENGTH = "lists_are_even", "oldest_first", "length"
MEMBERS = {"user_histories": "item_ids", "item_histories": "user_ids"}
TIMESTAMPS = "timestamps"


def raw_interactions(storage: Storage) -> pd.DataFrame:
    frame = _raw(storage, "interactions")
    known_users = _raw(storage, "users", [Columns.USER])[Columns.USER]
    known_items = _raw(storage, "items", [Columns.ITEM])[Columns.ITEM]
    return with_references(frame, known_users, known_items)


def interactions(storage: Storage) -> pd.DataFrame:
    frame = _with_references(storage, _table(storage, "interactions"))
    return frame.assign(**{IN_ORDER: follows(frame)})


def split_bounds(storage: Storage) -> pd.DataFrame:
    """The bounds, with engagements counted again by label."""
    labels = _table(storage, "interactions", [Columns.SPLIT, Columns.WINDOW])
    counts = labels.groupby([Columns.SPLIT, Columns.WINDOW], dropna=False).size().rename(RECOUNTED)
    bounds = _table(storage, "split_bounds")
    bounds = bounds.merge(counts.reset_index(), on=[Columns.SPLIT, Columns.WINDOW], how="left")
    return bounds.assign(**{RECOUNTED: bounds[RECOUNTED].fillna(0).astype(np.int64)})


def test_cases(storage: Storage) -> pd.DataFrame:
    """The cases and, behind them, the test engagements without one; each with whether it is both."""
    same = [Columns.SOURCE_ROW, Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.WINDOW]
    rows = _table(storage, "interactions", [*same, Columns.SPLIT])
    rows = rows.loc[rows[Columns.SPLIT] == Split.TEST, same].drop_duplicates(Columns.SOURCE_ROW, ignore_index=True)
    cases = _table(storage, "test_cases")
    place = pd.Index(rows[Columns.SOURCE_ROW]).get_indexer(pd.Index(cases[Columns.SOURCE_ROW]))
    found = place >= 0
    if len(rows):
        for column in same[1:]:
            found &= (cases[column] == rows[column].take(place).set_axis(cases.index)).to_numpy(bool, na_value=False)
    missing = np.ones(len(rows), np.bool_)
    missing[place[found]] = False
    cases = cases.assign(**{OF_TEST_ROW: found, HAS_CASE: True})
    if missing.any():
        cases = pd.concat([cases, rows[missing].assign(**{OF_TEST_ROW: True, HAS_CASE: False})], ignore_index=True)
    return _with_references(storage, cases)


def raw_items(storage: Storage) -> pd.DataFrame:
    return with_list_flag(_raw(storage, "items"), (*ITEM_BASE_COLUMNS, Columns.CONTENT))


def raw_users(storage: Storage) -> pd.DataFrame:
    return with_list_flag(_raw(storage, "users"), USER_BASE_COLUMNS)


def items(storage: Storage) -> pd.DataFrame:
    return with_list_flag(_table(storage, "items"), ITEM_COLUMNS)


def users(storage: Storage) -> pd.DataFrame:
    return with_list_flag(_table(storage, "users"), USER_COLUMNS)


def user_histories(storage: Storage) -> pd.DataFrame:
    frame = with_list_flags(_table(storage, "user_histories"), MEMBERS["user_histories"])
    known = _table(storage, "users", [Columns.USER])[Columns.USER]
    return frame.assign(**{USER_KNOWN: frame[Columns.USER].isin(known)})


def item_histories(storage: Storage) -> pd.DataFrame:
    frame = with_list_flags(_table(storage, "item_histories"), MEMBERS["item_histories"])
    known = _table(storage, "items", [Columns.ITEM])[Columns.ITEM]
    return frame.assign(**{ITEM_KNOWN: frame[Columns.ITEM].isin(known)})


def _raw(storage: Storage, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    return read_compact(storage.raw_table(name), columns)


def _table(storage: Storage, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    return read_compact(storage.table(name), columns)


def _with_references(storage: Storage, frame: pd.DataFrame) -> pd.DataFrame:
    known_users = _table(storage, "users", [Columns.USER])[Columns.USER]
    known_items = _table(storage, "items", [Columns.ITEM])[Columns.ITEM]
    return with_references(frame, known_users, known_items)


def with_references(frame: pd.DataFrame, known_users: pd.Series, known_items: pd.Series) -> pd.DataFrame:
    """Add whether each row's user and item are in their tables."""
    flags = {USER_KNOWN: frame[Columns.USER].isin(known_users), ITEM_KNOWN: frame[Columns.ITEM].isin(known_items)}
    return frame.assign(**flags)


def with_list_flag(frame: pd.DataFrame, plain: Collection[str]) -> pd.DataFrame:
    """Add whether every feature column (all but the plain ones) holds a list; a missing value is none."""
    flag = np.ones(len(frame), np.bool_)
    for column in frame.columns:
        if column not in plain:
            flag &= _holds_lists(frame[column])
    return frame.assign(**{LISTS: flag})


def _holds_lists(column: pd.Series) -> NDArray[np.bool_]:
    of_lists = isinstance(column.dtype, pd.ArrowDtype) and pa.types.is_list(column.dtype.pyarrow_dtype)
    return column.notna().to_numpy() if of_lists else np.zeros(len(column), np.bool_)


def with_list_flags(histories: pd.DataFrame, members: str) -> pd.DataFrame:
    """Add each history's length, whether its two lists are equally long, and whether it runs forward in time."""
    times = lists_of(histories[TIMESTAMPS])
    lengths = list_lengths(times)
    flat = times.flatten().to_numpy(zero_copy_only=False).astype("datetime64[us]")
    owner = np.repeat(np.arange(len(histories)), lengths)
    backward = (flat[1:] < flat[:-1]) & (owner[1:] == owner[:-1])
    sorted_flag = np.ones(len(histories), np.bool_)
    sorted_flag[owner[1:][backward]] = False
    even = list_lengths(lists_of(histories[members])) == lengths
    return histories.assign(**{LENGTH: lengths, EVEN: even, OLDEST_FIRST: sorted_flag})
