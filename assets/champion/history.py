"""What the serving generation has seen, as tables with a cutoff of one's own choice.

The warehouse's tables are of the day they were exported and have one cutoff. What serves goes on: here are its base and
every landed batch that was applied, once, without what was removed, in the form that training and evaluation read. The
rules are the warehouse's (``transforms/models/slices/``), and a test holds the two together.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.config import ConfigError, SplitConfig
from assets.schema import Columns, ItemSlice, Split
from assets.serving.live import batch_rows
from assets.serving.live.generation import OpenGeneration
from assets.serving.live.ledger import entries
from assets.serving.store.meta import WATERMARK, get_meta
from assets.stream import Catalog, DatasetTables, EngagementStream

HEAD_RULES: Final = ("count", "pareto")


@dataclass(frozen=True)
class Served:
    """Rows of everything applied so far.

    Attributes:
        interactions: canonical columns, in order of (timestamp, source_row), every engagement once.
        items: canonical columns and features; ``created_at`` is the earliest known.
        users: ``user_id`` and features.
        version: digest that names the rows: equal rows of one generation have equal versions.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    version: str

    @property
    def ends_at(self) -> np.datetime64:
        """A microsecond after the latest engagement."""
        return np.datetime64(self.interactions[Columns.TIMESTAMP].iloc[-1], "us") + np.timedelta64(1, "us")


def read_served(opened: OpenGeneration) -> Served:
    """The rows behind ``opened``.

    Raises:
        assets.serving.live.batch_rows.BatchError: when a landed file that was applied is missing.
        ValueError: when there is no engagement.
    """
    with opened.store.read() as reader:
        watermark, held = int(get_meta(reader, WATERMARK)), entries(reader)
    rows = batch_rows.engagements(opened)
    if rows.empty:
        raise ValueError(f"{opened.generation.folder}: nothing was engaged with: there is nothing to learn from")
    items = batch_rows.items(opened, rows, np.datetime64(watermark, "us"))
    named = {
        "generation": opened.generation.name,
        "batches": sorted(entry.digest for entry in held),
        "engagements": len(rows),
    }
    return Served(
        interactions=rows,
        items=items.drop(columns=["available", Columns.TRAIN_COUNT]),
        users=batch_rows.users(opened, rows),
        version=hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest(),
    )


def tables_at(served: Served, cutoff: np.datetime64, split: SplitConfig) -> DatasetTables:
    """The rows as tables whose test time begins at ``cutoff``; train counts and slices are as of it.

    ``interactions`` has ``split`` and ``source_timestamp`` as the export has, and no ``window``.

    Raises:
        ConfigError: for a rule of head and tail that this module does not know.
        ValueError: when nothing was engaged with before ``cutoff``.
    """
    rows = served.interactions
    before = rows[(rows[Columns.TIMESTAMP] < cutoff).to_numpy()]
    if before.empty:
        raise ValueError(f"no engagement before {cutoff}: choose a later cutoff, or a shorter newest window")
    validation_start = np.datetime64(before[Columns.TIMESTAMP].iloc[_validation_row(len(before), split)], "us")
    items = _items(served, before, cutoff, split)
    counts = before[Columns.USER].value_counts()
    users = served.users.assign(
        **{Columns.TRAIN_COUNT: served.users[Columns.USER].map(counts).fillna(0).astype(np.int64)}
    )
    instants = rows[Columns.TIMESTAMP]
    label = np.where(instants < validation_start, Split.TRAIN.value, Split.VALIDATION.value)
    labels: dict[str, Any] = {
        Columns.SOURCE_TIMESTAMP: instants,
        Columns.SPLIT: np.where(instants < cutoff, label, Split.TEST.value),
    }
    interactions = rows.assign(**labels)
    return DatasetTables(
        stream=EngagementStream.from_tables(interactions, users, items),
        catalog=Catalog.from_table(items),
        users=users,
        interactions=interactions,
        cutoff=cutoff,
        validation_start=validation_start,
    )


def cases_between(tables: DatasetTables, starts_at: np.datetime64, ends_at: np.datetime64) -> pd.DataFrame:
    """Every engagement of [``starts_at``, ``ends_at``) as a row of the export's ``test_cases``, repeats marked.

    Columns: user_id, item_id, timestamp, source_row, window (0 for all), slice, refresh_at, on_catalog,
    engagements_seen, is_repeat, user_in_train; for :func:`assets.evaluation.protocol.build_cases`.
    """
    rows = tables.interactions
    instants = rows[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]")
    inside = (instants >= starts_at) & (instants < ends_at)
    known = rows[instants < ends_at]
    # The rank counts rows strictly before, plus one: equal timestamps do not see each other.
    seen = known.groupby(Columns.ITEM)[Columns.TIMESTAMP].rank(method="min") - 1
    again = known.groupby([Columns.USER, Columns.ITEM])[Columns.TIMESTAMP].rank(method="min") > 1
    cases = rows[inside][[Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.SOURCE_ROW]]
    refresh_at = cases[Columns.TIMESTAMP].dt.floor("D").astype("datetime64[us]")
    at = pd.Index(tables.catalog.item_ids).get_indexer(pd.Index(cases[Columns.ITEM]))
    trained = tables.users.set_index(Columns.USER)[Columns.TRAIN_COUNT]
    return cases.assign(
        **{
            Columns.WINDOW: 0,
            Columns.SLICE: tables.catalog.slices[at],
            Columns.REFRESH_AT: refresh_at,
            Columns.ON_CATALOG: tables.catalog.available_at[at] <= refresh_at.to_numpy(dtype="datetime64[us]"),
            Columns.ENGAGEMENTS_SEEN: seen.loc[cases.index].astype(np.int64),
            Columns.IS_REPEAT: again.loc[cases.index],
            Columns.USER_IN_TRAIN: cases[Columns.USER].map(trained).to_numpy() > 0,
        }
    ).reset_index(drop=True)


def _validation_row(count: int, split: SplitConfig) -> int:
    """Row at which the validation tail of ``count`` train engagements begins."""
    return min(count - 1, int(count * (1 - split.validation_fraction)))


def _items(served: Served, before: pd.DataFrame, cutoff: np.datetime64, split: SplitConfig) -> pd.DataFrame:
    items = served.items
    by_item = served.interactions.groupby(Columns.ITEM)[Columns.TIMESTAMP]
    first = items[Columns.ITEM].map(by_item.min()).astype("datetime64[us]")
    created = items[Columns.CREATED_AT].astype("datetime64[us]")
    counts = items[Columns.ITEM].map(before[Columns.ITEM].value_counts()).fillna(0).astype(np.int64)
    available = created.where(~(first < created) & created.notna(), first)
    columns: dict[str, Any] = {
        Columns.CREATED_AT: created,
        Columns.AVAILABLE_AT: available,
        Columns.FIRST_ENGAGED_AT: first,
        Columns.TRAIN_COUNT: counts,
    }
    table = items.assign(**columns)
    return table.assign(**{Columns.SLICE: item_slices(table, cutoff, split)})


def item_slices(items: pd.DataFrame, cutoff: np.datetime64, split: SplitConfig) -> "pd.Series[str]":
    """Head, tail and cold as ``transforms/macros/item_slice.sql`` defines them."""
    counts = items[Columns.TRAIN_COUNT]
    if split.head_rule == "count":
        head = counts > split.tail_max_count
    elif split.head_rule == "pareto":
        available = int((items[Columns.AVAILABLE_AT] < cutoff).sum())
        most = max(1, int(np.floor(split.head_share * available + 0.5)))
        order = items.sort_values([Columns.TRAIN_COUNT, Columns.ITEM], ascending=[False, True], kind="stable")
        head = items.index.to_series().isin(order.index[:most])
    else:
        raise ConfigError(f"split.head_rule: {split.head_rule!r} is not known here; known: {', '.join(HEAD_RULES)}")
    sliced = np.where(counts == 0, ItemSlice.COLD.value, np.where(head, ItemSlice.HEAD.value, ItemSlice.TAIL.value))
    return pd.Series(sliced, index=items.index, dtype=object)
