"""A generation's base: the engagements, items and users of the tables that its checkpoint was trained on.

Engagements keep the time that their source gave them: a timeline made for evaluation (``leave_one_out``) is none to
serve by. Items that nobody engaged with yet are known by their features.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.ingestion.landing.removed import Removed
from assets.ingestion.tables import INTERACTIONS_SCHEMA
from assets.schema import ITEM_BASE_COLUMNS, ITEM_COLUMNS, USER_COLUMNS, Columns
from assets.serving.live.apply import ROWS_PER_TRANSACTION, rebuild_config
from assets.serving.live.features import BatchRows, log_features
from assets.serving.live.generation import Generation, OpenGeneration
from assets.serving.live.items import created_instants, encoded_details
from assets.serving.live.ledger import BatchInfo
from assets.serving.live.pending import add_upcoming
from assets.serving.live.rows import Rows
from assets.serving.store.interface import Table, Writer
from assets.serving.store.meta import FEATURE_NAMES, ITEMS, put_meta
from assets.serving.store.records import Records, id_keys, new_items, number_keys, pack
from assets.storage import read_parquet, write_parquet
from assets.stream import DatasetTables, Int

Progress = Callable[[str], None]

PARTITION: Final = "base"
"""Stands for the partition in the base's ledger entries."""


def write_base(generation: Generation, tables: DatasetTables, until: np.datetime64 | None, removed: Removed) -> None:
    """Write the base's tables.

    Args:
        until: leave out engagements from this instant on.
        removed: users and items to leave out, with their engagements.

    Raises:
        ValueError: when no engagement is left.
    """
    rows = tables.interactions
    kept = ~rows[Columns.USER].isin(list(removed.users)) & ~rows[Columns.ITEM].isin(list(removed.items))
    if until is not None:
        kept &= rows[Columns.TIMESTAMP] < until
    if not kept.any():
        raise ValueError("the interactions table is empty: nothing to serve")
    rows = rows[kept].assign(**{Columns.TIMESTAMP: rows[Columns.SOURCE_TIMESTAMP]})
    rows = rows.sort_values([Columns.TIMESTAMP, Columns.SOURCE_ROW], kind="stable")
    engagements = pa.Table.from_pandas(rows[INTERACTIONS_SCHEMA.names], INTERACTIONS_SCHEMA, preserve_index=False)
    write_parquet(generation.base("interactions"), engagements)
    write_parquet(generation.base("items"), _items(tables.catalog.frame, removed))
    users = tables.users[~tables.users[Columns.USER].isin(list(removed.users))]
    write_parquet(generation.base("users"), users.drop(columns=_derived(users, USER_COLUMNS, (Columns.USER,))))


def fill_base(opened: OpenGeneration, now: int, progress: Progress) -> None:
    """Put the base into an empty store: items and users with their features, then every engagement.

    Args:
        now: wall clock, microseconds.
    """
    items = read_parquet(opened.generation.base("items"))
    users = read_parquet(opened.generation.base("users"))
    interactions = pq.read_table(opened.generation.base("interactions"), partitioning=None)
    latest = int(interactions[Columns.TIMESTAMP].cast(pa.int64())[-1].as_py())
    with opened.store.write() as writer:
        _put_items(writer, opened, items, latest)
        user_keys = id_keys(users[Columns.USER])
        writer.put_many(Table.USERS, zip(user_keys, opened.model.encoded_users(users), strict=True))
        names = {"items": opened.model.feature_names("items"), "users": opened.model.feature_names("users")}
        put_meta(writer, FEATURE_NAMES, names)
    progress(f"{len(items):,} items and {len(users):,} users")
    config = rebuild_config(opened.model)
    for done, batch in _chunks(opened, interactions, now):
        log_features(opened.store, [batch], opened.model.history_users, config, now)
        progress(f"{done:,} of {interactions.num_rows:,} engagements")


def _items(frame: pd.DataFrame, removed: Removed) -> pd.DataFrame:
    """Items with what is known of them before any engagement, and how often the model was trained with them."""
    kept = frame[~frame[Columns.ITEM].isin(list(removed.items))]
    return kept.drop(columns=_derived(kept, ITEM_COLUMNS, (*ITEM_BASE_COLUMNS, Columns.CONTENT, Columns.TRAIN_COUNT)))


def _derived(frame: pd.DataFrame, exported: tuple[str, ...], kept: tuple[str, ...]) -> list[str]:
    return [name for name in exported if name in frame and name not in kept]


def _put_items(writer: Writer, opened: OpenGeneration, items: pd.DataFrame, latest: int) -> None:
    """Number the items by their row; those created after ``latest`` (event clock) wait for it."""
    numbers = np.arange(len(items))
    keys, created = number_keys(numbers), created_instants(items)
    writer.put_many(Table.NUMBERS, zip(id_keys(items[Columns.ITEM]), keys, strict=True))
    writer.put_many(Table.DETAILS, zip(keys, encoded_details(items, created, [None] * len(items)), strict=True))
    writer.put_many(Table.FEATURES, zip(keys, opened.model.encoded_items(items), strict=True))
    writer.put_many(Table.ITEMS, zip(keys, pack(_records(items, created)), strict=True))
    waiting = created > latest  # NEVER is the smallest of all
    add_upcoming(writer, created[waiting], numbers[waiting])
    put_meta(writer, ITEMS, len(items))


def _records(items: pd.DataFrame, created: Int) -> Records:
    records = new_items(len(items))
    records["available_at"] = created
    records["train_count"] = items[Columns.TRAIN_COUNT]
    return records


def _chunks(opened: OpenGeneration, interactions: pa.Table, now: int) -> Iterator[tuple[int, BatchRows]]:
    """Parts of the base as batches, and how many rows there were until their end."""
    record = opened.record
    source = f"{record.tables}:{record.until}"
    for start in range(0, interactions.num_rows, ROWS_PER_TRANSACTION):
        part = interactions.slice(start, ROWS_PER_TRANSACTION)
        info = BatchInfo(
            digest=f"base:{source}:{start}",
            kind="base",
            partition=PARTITION,
            source=source,
            rows=part.num_rows,
            landed_at=now,
            seen_at=now,
        )
        yield start + part.num_rows, BatchRows(info, Rows.from_table(part))
