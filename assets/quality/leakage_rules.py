"""The leakage rules' functions: each returns the rows of one table that break it, an empty frame where all is well.

They recompute what they check from the engagements alone, so that they share no code with the SQL that made it.
"""

import math
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.quality.lists import list_lengths, lists_of
from assets.quality.matching import are_latest, inside_bounds
from assets.quality.ordering import Int, are_in, numbers, pairs, repeated, strictly_earlier
from assets.quality.split_tables import SplitTables
from assets.schema import Columns, ItemSlice, Split

ITEM_IDS, USER_IDS, TIMESTAMPS = "item_ids", "user_ids", "timestamps"


def train_rows_after_cutoff(tables: SplitTables) -> pd.DataFrame:
    rows = tables.interactions
    return rows[rows[Columns.SPLIT].isin([Split.TRAIN, Split.VALIDATION]) & (rows[Columns.TIMESTAMP] >= tables.cutoff)]


def train_rows_outside_bounds(tables: SplitTables) -> pd.DataFrame:
    return _outside_bounds(tables, tables.interactions[Columns.SPLIT] != Split.TEST)


def test_rows_outside_window(tables: SplitTables) -> pd.DataFrame:
    return _outside_bounds(tables, tables.interactions[Columns.SPLIT] == Split.TEST)


def _outside_bounds(tables: SplitTables, chosen: pd.Series) -> pd.DataFrame:
    """Chosen engagements outside the half-open interval of their own split and window, or without one."""
    bounds = tables.split_bounds[[Columns.SPLIT, Columns.WINDOW, Columns.STARTS_AT, Columns.ENDS_AT]]
    suspected = chosen.to_numpy(np.bool_) & ~inside_bounds(tables.interactions, bounds)
    rows = tables.interactions[suspected].merge(bounds, on=[Columns.SPLIT, Columns.WINDOW], how="left")
    inside = (rows[Columns.STARTS_AT] <= rows[Columns.TIMESTAMP]) & (rows[Columns.TIMESTAMP] < rows[Columns.ENDS_AT])
    return rows[~inside]


def bounds_not_contiguous(tables: SplitTables) -> pd.DataFrame:
    """Bounds (train, validation, windows 0, 1, ...) that are empty or do not start where the one before ends."""
    order = pd.Categorical(tables.split_bounds[Columns.SPLIT], [split.value for split in Split], ordered=True)
    bounds = tables.split_bounds.assign(_order=order).sort_values(["_order", Columns.WINDOW])
    bounds = bounds.drop(columns="_order").assign(previous_ends_at=bounds[Columns.ENDS_AT].shift())
    joined = bounds[Columns.STARTS_AT] == bounds["previous_ends_at"]
    if len(joined):
        joined.iloc[0] = True  # nothing comes before the first
    return bounds[~(joined & (bounds[Columns.STARTS_AT] < bounds[Columns.ENDS_AT]))]


def rows_in_two_splits(tables: SplitTables) -> pd.DataFrame:
    """Engagements whose source row is labelled both train (or validation) and test."""
    rows = tables.interactions
    if not repeated(rows[Columns.SOURCE_ROW]):
        return rows.head(0)
    is_test = rows[Columns.SPLIT] == Split.TEST
    tested, others = (rows.loc[side, Columns.SOURCE_ROW].drop_duplicates().to_numpy() for side in (is_test, ~is_test))
    both = np.intersect1d(tested, others, assume_unique=True)  # making them so itself takes numpy 14 s of ten million
    return rows[rows[Columns.SOURCE_ROW].isin(both)].sort_values(Columns.SOURCE_ROW)


def user_history_rows_not_past(tables: SplitTables) -> pd.DataFrame:
    return _not_past(tables.user_histories, Columns.USER, ITEM_IDS, Columns.ITEM, tables.past)


def item_history_rows_not_past(tables: SplitTables) -> pd.DataFrame:
    return _not_past(tables.item_histories, Columns.ITEM, USER_IDS, Columns.USER, tables.past)


def _not_past(histories: pd.DataFrame, owner: str, members: str, member: str, past: pd.DataFrame) -> pd.DataFrame:
    """History entries that are no engagement before the cutoff; histories whose lists differ in length, where any do.

    Matching whole engagements also catches an entry of the future under a time of the past.
    """
    held, times = lists_of(histories[members]), lists_of(histories[TIMESTAMPS])
    lengths = list_lengths(held)
    uneven = lengths != list_lengths(times)
    if uneven.any():
        return histories[uneven]
    entries = pd.DataFrame(
        {
            owner: np.repeat(histories[owner].to_numpy(), lengths),
            member: held.flatten().to_numpy(zero_copy_only=False),
            Columns.TIMESTAMP: times.flatten().to_numpy(zero_copy_only=False).astype("datetime64[us]"),
        }
    )
    entries = entries[~are_latest(entries, lengths, past)]
    known = past.loc[are_in(past[owner], entries[owner]), [owner, member, Columns.TIMESTAMP]].drop_duplicates()
    matched = entries.merge(known, on=[owner, member, Columns.TIMESTAMP], how="left", indicator="found")
    return matched[matched.pop("found") == "left_only"]


def item_counts_not_of_train(tables: SplitTables) -> pd.DataFrame:
    return _miscounted(tables.items, Columns.ITEM, tables.past)


def user_counts_not_of_train(tables: SplitTables) -> pd.DataFrame:
    return _miscounted(tables.users, Columns.USER, tables.past)


def _miscounted(table: pd.DataFrame, key: str, past: pd.DataFrame) -> pd.DataFrame:
    expected = table[key].map(past[key].value_counts()).fillna(0).astype(np.int64)
    return table.assign(expected=expected)[table[Columns.TRAIN_COUNT] != expected]


def items_in_wrong_slice(tables: SplitTables) -> pd.DataFrame:
    counts = tables.items[Columns.ITEM].map(tables.past[Columns.ITEM].value_counts()).fillna(0)
    head = (
        _most_frequent(tables, counts) if tables.split.head_rule == "pareto" else counts > tables.split.tail_max_count
    )
    name = np.select([counts == 0, head], [ItemSlice.COLD.value, ItemSlice.HEAD.value], ItemSlice.TAIL.value)
    return tables.items.assign(expected=name)[tables.items[Columns.SLICE] != name]


def _most_frequent(tables: SplitTables, counts: pd.Series) -> pd.Series:
    """Whether each item is among the configured share of those available before the cutoff, rounded half up."""
    available = int((tables.items[Columns.AVAILABLE_AT] < tables.cutoff).sum())
    head = max(1, math.floor(tables.split.head_share * available + 0.5))
    ranked = tables.items.assign(count=counts).sort_values(["count", Columns.ITEM], ascending=[False, True])
    return counts.index.to_series().isin(ranked.index[:head])


def items_with_wrong_availability(tables: SplitTables) -> pd.DataFrame:
    """Items whose first engagement, or the earlier of it and the creation time, is not what the table says.

    The creation time of an item that held_out_items holds out does not count.
    """
    items = tables.items
    first = items[Columns.ITEM].map(tables.interactions.groupby(Columns.ITEM)[Columns.TIMESTAMP].min())
    created = items[Columns.CREATED_AT]
    if tables.split.kind == "held_out_items":
        created = created.mask(first >= tables.cutoff)
    available = pd.concat([created, first], axis=1).min(axis=1)
    wrong = ~(_same(items[Columns.FIRST_ENGAGED_AT], first) & _same(items[Columns.AVAILABLE_AT], available))
    return items.assign(expected_first=first, expected_available=available)[wrong]


def _same(left: pd.Series, right: pd.Series) -> pd.Series:
    return (left == right) | (left.isna() & right.isna())


def cases_with_wrong_engagements_seen(tables: SplitTables) -> pd.DataFrame:
    return _cases_unlike(tables, Columns.ENGAGEMENTS_SEEN, _strictly_earlier(tables.interactions, [Columns.ITEM]))


def cases_with_wrong_repeat(tables: SplitTables) -> pd.DataFrame:
    return _cases_unlike(
        tables, Columns.IS_REPEAT, _strictly_earlier(tables.interactions, [Columns.USER, Columns.ITEM]) > 0
    )


def cases_with_wrong_user_in_train(tables: SplitTables) -> pd.DataFrame:
    in_train = are_in(tables.interactions[Columns.USER], tables.past[Columns.USER])
    return _cases_unlike(tables, Columns.USER_IN_TRAIN, in_train)


def _strictly_earlier(rows: pd.DataFrame, keys: list[str]) -> Int:
    """[E] for each engagement, those of the same keys at strictly earlier times."""
    held = reduce(pairs, (numbers(rows[key]) for key in keys))
    return strictly_earlier(held, rows[Columns.TIMESTAMP].to_numpy("datetime64[us]"))


def _cases_unlike(tables: SplitTables, column: str, expected: NDArray[Any]) -> pd.DataFrame:
    """Cases whose ``column`` differs from what ``expected`` gives for their engagement, or that have no engagement."""
    cases, place = tables.test_cases, tables.places_of_cases
    if not len(expected):
        return cases
    found = expected[place]
    wrong = (place < 0) | (cases[column].to_numpy() != found)
    return cases[wrong].assign(expected=pd.Series(found[wrong], cases.index[wrong]).where(place[wrong] >= 0))


def cases_with_wrong_slice(tables: SplitTables) -> pd.DataFrame:
    cases, place = tables.test_cases, tables.places_of_items
    expected = tables.items[Columns.SLICE].take(place).mask(place < 0).set_axis(cases.index)
    wrong = (cases[Columns.SLICE] != expected).to_numpy()
    return cases[wrong].assign(expected=expected[wrong])


def cases_with_wrong_refresh(tables: SplitTables) -> pd.DataFrame:
    """Cases not refreshed at the start of their own UTC day: a later refresh would know the event itself."""
    cases = tables.test_cases
    expected = cases[Columns.TIMESTAMP].dt.floor("D")
    wrong = cases[Columns.REFRESH_AT] != expected
    return cases[wrong].assign(expected=expected[wrong])


def cases_with_wrong_catalog(tables: SplitTables) -> pd.DataFrame:
    cases, place = tables.test_cases, tables.places_of_items
    available = tables.items[Columns.AVAILABLE_AT].take(place).mask(place < 0).set_axis(cases.index)
    wrong = cases[Columns.ON_CATALOG] != (available <= cases[Columns.REFRESH_AT])
    return cases[wrong].assign(available_at=available[wrong])
