"""The exported tables that the leakage rules look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.config import HELD_OUT_SHARES, EngagementRule, SplitConfig
from assets.quality.numbering import Universe, encoded
from assets.quality.ordering import Int, places
from assets.schema import Columns, ItemSlice, Split
from assets.storage import Storage, read_arrow

DRAWN_BY_ID: Final = tuple(HELD_OUT_SHARES)
"""Kinds of split that hold out by a digest of ids: their rules read the ids themselves, the others need no text."""

MEMBERS: Final = {
    "user_histories": (Columns.USER, "item_ids", Columns.ITEM),
    "item_histories": (Columns.ITEM, "user_ids", Columns.USER),
}
"""Table of histories -> its owner, its lists of members, and what those are."""

IDS: Final = (Columns.USER, Columns.ITEM)
OWN_TABLE: Final = {Columns.USER: "users", Columns.ITEM: "items"}
LABELS: Final[Mapping[str, type[StrEnum]]] = {Columns.SPLIT: Split, Columns.SLICE: ItemSlice}

READ: Final[dict[str, list[str] | None]] = {
    "interactions": [
        Columns.USER,
        Columns.ITEM,
        Columns.TIMESTAMP,
        Columns.SOURCE_ROW,
        Columns.SOURCE_TIMESTAMP,
        Columns.SPLIT,
        Columns.WINDOW,
    ],
    "split_bounds": None,
    "items": [
        Columns.ITEM,
        Columns.CREATED_AT,
        Columns.AVAILABLE_AT,
        Columns.FIRST_ENGAGED_AT,
        Columns.TRAIN_COUNT,
        Columns.SLICE,
    ],
    "users": [Columns.USER, Columns.TRAIN_COUNT],
    "test_cases": None,
    "user_histories": None,
    "item_histories": None,
}
"""Table -> the columns that a rule reads; None: all."""

EVERY_ROW: Final = EngagementRule()


@dataclass(frozen=True)
class SplitTables:
    """The exported tables that the rules look at, and what they were made by.

    Attributes:
        split: how they were split.
        engagement: what was kept.
        ids: of ``user_id`` and ``item_id`` the texts behind their numbers; without an entry, the column holds texts.
    """

    interactions: pd.DataFrame
    split_bounds: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    test_cases: pd.DataFrame
    user_histories: pd.DataFrame
    item_histories: pd.DataFrame
    split: SplitConfig
    engagement: EngagementRule = EVERY_ROW
    ids: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)

    @property
    def windows(self) -> pd.DataFrame:
        """Bounds of the test windows, in the order of their numbers."""
        bounds = self.split_bounds
        return bounds[bounds[Columns.SPLIT] == Split.TEST].sort_values(Columns.WINDOW)

    @property
    def cutoff(self) -> pd.Timestamp:
        """Start of the earliest test window."""
        return self.windows[Columns.STARTS_AT].min()

    @cached_property
    def past(self) -> pd.DataFrame:
        """Engagements strictly before the cutoff, whatever their label says."""
        return self.interactions[self.interactions[Columns.TIMESTAMP] < self.cutoff]

    @cached_property
    def places_of_cases(self) -> Int:
        """[C] row of each case's engagement, the first of its source row; -1 for none."""
        return places(self.test_cases[Columns.SOURCE_ROW], self.interactions[Columns.SOURCE_ROW])

    @cached_property
    def places_of_items(self) -> Int:
        """[C] row of each case's item; -1 for none."""
        return places(self.test_cases[Columns.ITEM], self.items[Columns.ITEM])

    def shown(self, rows: pd.DataFrame) -> pd.DataFrame:
        """A few ``rows`` of any table as a person reads them, ids as texts."""
        texts: dict[str, Any] = {name: _texts(rows[name], ids) for name, ids in self.ids.items() if name in rows}
        return rows.assign(**texts)


def _texts(numbers: pd.Series, ids: NDArray[np.object_]) -> list[str | None]:
    return [ids[number] if number >= 0 else None for number in numbers.to_numpy(np.int64)]


def read_split_tables(storage: Storage, split: SplitConfig, engagement: EngagementRule = EVERY_ROW) -> SplitTables:
    """Read the exported tables.

    Ids become numbers in the order of their texts, where no rule needs the texts: on a million engagements the rules
    then take a fifth of the time and of the memory.

    Raises:
        FileNotFoundError: naming the table that was not exported.
    """
    by_number = split.kind not in DRAWN_BY_ID
    coded = (*IDS, *LABELS) if by_number else (*LABELS,)
    tables = {name: read_arrow(storage.table(name), columns, coded) for name, columns in READ.items()}
    ids: dict[str, NDArray[np.object_]] = {}
    if by_number:
        tables = {name: _encoded(name, table) for name, table in tables.items()}
        universes = {name: _universe(tables, name) for name in IDS}
        tables = {name: _numbered(name, table, universes) for name, table in tables.items()}
        ids = {name: one.ids.to_numpy(zero_copy_only=False) for name, one in universes.items()}
    frames: dict[str, pd.DataFrame] = {}
    for name in READ:  # one table after the other, each freed column by column as its frame is made
        frames[name] = tables.pop(name).to_pandas(
            types_mapper=_lists_as_they_are, split_blocks=True, self_destruct=True
        )
    return SplitTables(**_with_labels(frames), split=split, engagement=engagement, ids=ids)


def _lists_as_they_are(kind: pa.DataType) -> pd.ArrowDtype | None:
    return pd.ArrowDtype(kind) if pa.types.is_list(kind) else None


def _with_labels(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Labels as categories that tables share: comparing ten million texts takes seconds."""
    for column, known in LABELS.items():
        labelled = [name for name, frame in frames.items() if column in frame]
        found = {label for name in labelled for label in frames[name][column].dropna().unique()}
        labels = pd.CategoricalDtype(sorted({*map(str, known), *found}))
        for name in labelled:
            frames[name] = frames[name].assign(**{column: frames[name][column].astype(labels)})
    return frames


def _encoded(name: str, table: pa.Table) -> pa.Table:
    """The table with ids, also those in lists, as dictionaries."""
    for column in IDS:
        if column in table.column_names:
            table = _replaced(table, column, encoded(table[column]))
    if name in MEMBERS:
        _, column, _ = MEMBERS[name]
        lists = _whole(table[column])
        texts = encoded(pa.chunked_array([_entries(lists)]))
        table = _replaced(table, column, _with_values(lists, texts.combine_chunks()))
    return table


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _entries(lists: pa.ListArray) -> pa.Array:
    """All entries that the offsets of ``lists`` point into."""
    return lists.values  # noqa: PD011 - Arrow's, not a frame's


def _with_values(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """The same lists of other values."""
    return pa.ListArray.from_arrays(lists.offsets, values, mask=lists.is_null() if lists.null_count else None)


def _universe(tables: Mapping[str, pa.Table], name: str) -> Universe:
    """Every id of a kind that any table holds, in order; whether it may stand there is for the suites to say."""
    held = [table[name] for table in tables.values() if name in table.column_names]
    members = [tables[table][column] for table, (_, column, kind) in MEMBERS.items() if kind == name]
    held += [pa.chunked_array([_entries(_whole(column))]) for column in members]
    return Universe(tables[OWN_TABLE[name]][name].cast(pa.string()), held)


def _numbered(name: str, table: pa.Table, universes: Mapping[str, Universe]) -> pa.Table:
    """The encoded table with ids replaced by their places in the universes; -1 for a missing one."""
    for column in IDS:
        if column in table.column_names:
            table = _replaced(table, column, universes[column].numbers(table[column]))
    if name in MEMBERS:
        _, column, kind = MEMBERS[name]
        lists = _whole(table[column])
        places = universes[kind].numbers(pa.chunked_array([_entries(lists)]))
        table = _replaced(table, column, _with_values(lists, places.combine_chunks()))
    return table


def _replaced(table: pa.Table, column: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, values)
