"""The exported tables that the leakage rules look at."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from assets.config import SplitConfig
from assets.schema import Columns, Split
from assets.storage import Storage


@dataclass(frozen=True)
class SplitTables:
    """The exported tables that the rules look at, and the split that they were made by."""

    interactions: pd.DataFrame
    split_bounds: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    test_cases: pd.DataFrame
    user_histories: pd.DataFrame
    item_histories: pd.DataFrame
    split: SplitConfig

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


def read_split_tables(storage: Storage, split: SplitConfig) -> SplitTables:
    """Read the exported tables.

    Raises:
        FileNotFoundError: naming the table that was not exported.
    """
    times = [Columns.CREATED_AT, Columns.AVAILABLE_AT, Columns.FIRST_ENGAGED_AT]
    return SplitTables(
        interactions=storage.read_table("interactions"),
        split_bounds=storage.read_table("split_bounds"),
        items=storage.read_table("items", [Columns.ITEM, *times, Columns.TRAIN_COUNT, Columns.SLICE]),
        users=storage.read_table("users", [Columns.USER, Columns.TRAIN_COUNT]),
        test_cases=storage.read_table("test_cases"),
        user_histories=storage.read_table("user_histories"),
        item_histories=storage.read_table("item_histories"),
        split=split,
    )
