"""Users who are to be forgotten and items that are to be taken down, at once.

``removed.json`` is written first: from then on nothing of theirs is read from any file. Then what the store holds of
them is deleted, and what they were part of is counted anew from the base and the landed batches, in one transaction;
the items whose history changed are embedded again. A process killed between the two leaves a store that disagrees with
``removed.json``, which every writer notices (:func:`reconcile`) and finishes.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from assets.config import Settings, TriggerConfig
from assets.ingestion.landing.batches import landed_batches
from assets.ingestion.landing.places import Kind
from assets.ingestion.landing.removed import Removed, add_removed, read_removed
from assets.instants import wall_clock
from assets.schema import Columns
from assets.serving.live.apply import qualifying
from assets.serving.live.counted import Engagements, count_items, extend_item_histories, extend_user_histories
from assets.serving.live.generation import OpenGeneration, open_generation, writer_lock
from assets.serving.live.items import item_details
from assets.serving.live.ledger import LedgerEntry, entries
from assets.serving.live.pending import add_upcoming, touch, upcoming_keys
from assets.serving.live.refresh import refresh_embeddings
from assets.serving.live.rows import Rows
from assets.serving.store.deltas import append_delta
from assets.serving.store.interface import Reader, Table, Writer
from assets.serving.store.meta import WATERMARK, get_meta
from assets.serving.store.numbers import numbers_for
from assets.serving.store.records import (
    NEVER,
    earliest,
    id_keys,
    new_items,
    number_keys,
    pack,
    unpack,
)
from assets.storage import Storage, locked

PER_USER = (Table.USERS, Table.USER_HISTORIES, Table.SEEN)
PER_ITEM = (Table.ITEMS, Table.DETAILS, Table.FEATURES, Table.ITEM_HISTORIES, Table.VECTORS, Table.PENDING)


@dataclass(frozen=True)
class Removal:
    """What a reconciliation took out of the store.

    Attributes:
        users: that were forgotten.
        items: that were taken down.
        items_changed: other items, counted and embedded anew without the forgotten users.
        users_changed: other users, whose histories go without the items taken down.
    """

    users: int = 0
    items: int = 0
    items_changed: int = 0
    users_changed: int = 0


def forget_user(storage: Storage, user: str, settings: Settings, clock: Callable[[], int] = wall_clock) -> Removal:
    """Forget ``user`` everywhere, now and in everything that lands or is built later.

    Raises:
        NoIndexError: when nothing serves yet; the user is on record as removed all the same.
    """
    add_removed(storage, users=[user])
    return _reconcile_current(storage, settings, clock)


def take_down_item(storage: Storage, item: str, settings: Settings, clock: Callable[[], int] = wall_clock) -> Removal:
    """Take ``item`` out of the index and of every history, likewise."""
    add_removed(storage, items=[item])
    return _reconcile_current(storage, settings, clock)


def _reconcile_current(storage: Storage, settings: Settings, clock: Callable[[], int]) -> Removal:
    with locked(writer_lock(storage)), open_generation(storage) as opened:
        return reconcile(opened, settings, clock())


def reconcile(opened: OpenGeneration, settings: Settings, now: int) -> Removal:
    """Take out of the store what ``removed.json`` names and the store still has; the caller holds the writer's lock.

    Args:
        now: wall clock, microseconds.
    """
    with opened.store.read() as reader:
        gone = _still_there(reader, read_removed(opened.storage))
        if not gone:
            return Removal()
        applied = entries(reader)
    named = _rows(opened, applied, gone.users, gone.items)  # everything they were part of
    items = sorted(set(named.items[np.isin(named.users, list(gone.users))]) - gone.items)
    users = sorted(set(named.users[np.isin(named.items, list(gone.items))]) - gone.users)
    rows = _without_removed(_rows(opened, applied, users, items), read_removed(opened.storage))
    with opened.store.write() as writer:
        nowhere = _known_by_engagement_only(writer, sorted(set(items) - set(rows.items)))
        items = [item for item in items if item not in nowhere]
        _delete_users(writer, gone.users)
        left = _delete_items(writer, gone.items | nowhere)
        _uncount_items(writer, items, _arrived(opened, applied, items))
        _recount_items(writer, opened, items, rows.take(np.isin(rows.items, items)), now)
        _retell_users(writer, opened, users, rows.take(np.isin(rows.users, users)))
        if left:
            append_delta(writer, now, [], np.zeros((0, opened.model.index_dimension), np.float32), left)
    at_once = settings.freshness.model_copy(update={"trigger": TriggerConfig()})
    refresh_embeddings(opened.store, opened.model, at_once, now, lambda: now)
    return Removal(len(gone.users), len(gone.items), len(items), len(users))


def _still_there(reader: Reader, removed: Removed) -> Removed:
    users, items = sorted(removed.users), sorted(removed.items)
    keys = id_keys(users)
    values = [reader.get_many(table, keys) for table in PER_USER]
    found = [any(value is not None for value in of_user) for of_user in zip(*values, strict=True)]
    known = numbers_for(reader, items) >= 0
    return Removed(
        frozenset(user for user, there in zip(users, found, strict=True) if there),
        frozenset(item for item, there in zip(items, known.tolist(), strict=True) if there),
    )


def _rows(opened: OpenGeneration, applied: list[LedgerEntry], users: Collection[str], items: Collection[str]) -> Rows:
    """Every engagement applied that is one of ``users`` or on one of ``items``, each once."""
    chosen = ds.field(Columns.USER).isin(_texts(users)) | ds.field(Columns.ITEM).isin(_texts(items))
    rows = Rows.concat([Rows.from_table(table) for table in _tables(opened, applied, chosen)])
    return rows.take(np.sort(np.unique(rows.digests, return_index=True)[1]))  # the first one: the base's


def _tables(opened: OpenGeneration, applied: list[LedgerEntry], chosen: ds.Expression) -> Iterator[pa.Table]:
    yield ds.dataset(opened.generation.base("interactions")).to_table(filter=chosen)
    oldest = {entry.digest: entry.oldest_accepted for entry in applied if entry.kind == Kind.ENGAGEMENTS}
    for batch in landed_batches(opened.storage, Kind.ENGAGEMENTS):
        if batch.digest in oldest:
            table = ds.dataset(batch.path).to_table(filter=chosen)
            young = pc.greater_equal(table[Columns.TIMESTAMP].cast(pa.int64()), pa.scalar(oldest[batch.digest]))
            yield table.filter(young.to_numpy() & qualifying(table, opened.record.engagement))


def _texts(ids: Collection[str]) -> pa.Array:
    return pa.array(sorted(ids), pa.string())  # typed: there may be none


def _without_removed(rows: Rows, removed: Removed) -> Rows:
    return rows.take(~np.isin(rows.users, list(removed.users)) & ~np.isin(rows.items, list(removed.items)))


def _delete_users(writer: Writer, users: Collection[str]) -> None:
    for table in PER_USER:
        writer.delete_many(table, id_keys(users))


def _known_by_engagement_only(reader: Reader, items: list[str]) -> set[str]:
    """Those of ``items`` that neither the base nor a landed file describes: without engagements nothing names them."""
    features = reader.get_many(Table.FEATURES, number_keys(numbers_for(reader, items)))
    return {item for item, value in zip(items, features, strict=True) if value is None}


def _delete_items(writer: Writer, items: Collection[str]) -> list[str]:
    """Delete everything of items, and return those of them that the index has."""
    ids = sorted(items)
    numbers = numbers_for(writer, ids)
    keys = number_keys(numbers)
    has_vector = [value is not None for value in writer.get_many(Table.VECTORS, keys)]
    records = unpack(writer.get_many(Table.ITEMS, keys), new_items(1))
    dated = records["available_at"] >= 0
    writer.delete_many(Table.UPCOMING, upcoming_keys(records["available_at"][dated], numbers[dated]))
    for table in PER_ITEM:
        writer.delete_many(table, keys)
    writer.delete_many(Table.NUMBERS, id_keys(ids))
    return [item for item, there in zip(ids, has_vector, strict=True) if there]


def _arrived(opened: OpenGeneration, applied: list[LedgerEntry], items: Collection[str]) -> set[str]:
    """Those of ``items`` that landed without created_at and so are available since."""
    known = {entry.digest for entry in applied if entry.kind == Kind.ITEMS}
    chosen = ds.field(Columns.ITEM).isin(_texts(items)) & ds.field(Columns.CREATED_AT).is_null()
    landed = [batch.path for batch in landed_batches(opened.storage, Kind.ITEMS) if batch.digest in known]
    return {item for path in landed for item in ds.dataset(path).to_table([Columns.ITEM], chosen)[0].to_pylist()}


def _uncount_items(writer: Writer, items: list[str], arrived: Collection[str]) -> None:
    """Let ITEMS be as they were before any engagement."""
    numbers = numbers_for(writer, items)
    keys, watermark = number_keys(numbers), get_meta(writer, WATERMARK)
    records = unpack(writer.get_many(Table.ITEMS, keys), new_items(1))
    details = [details for details in item_details(writer, numbers) if details is not None]
    created = np.array([NEVER if one.created_at is None else one.created_at for one in details], np.int64)
    # An item arrives with the watermark of its day; where an engagement has hidden that, today's does as well.
    hidden = records["available_at"] == records["first_engaged_at"]
    since = np.where(hidden, watermark, records["available_at"])
    records["available_at"] = earliest(created, np.where(np.isin(items, list(arrived)), since, NEVER))
    for name in ("first_engaged_at", "last_engaged_at"):
        records[name] = NEVER
    for name in ("total", "decayed", "decayed_at"):
        records[name] = 0
    writer.put_many(Table.ITEMS, zip(keys, pack(records), strict=True))
    writer.delete_many(Table.ITEM_HISTORIES, keys)


def _recount_items(writer: Writer, opened: OpenGeneration, items: list[str], rows: Rows, now: int) -> None:
    """Count ``items`` from ``rows``, all of theirs, and let them be embedded at once."""
    numbers = np.sort(numbers_for(writer, items))
    if len(rows):
        engagements = Engagements.build(rows, numbers_for(writer, rows.items.tolist()))
        count_items(writer, engagements, opened.model.trend.half_life_days)
        extend_item_histories(writer, engagements, opened.model.history_users, opened.model.item_history_length)
    records = unpack(writer.get_many(Table.ITEMS, number_keys(numbers)), new_items(1))
    touch(writer, numbers, records, TriggerConfig(), now)
    waiting = records["available_at"] > get_meta(writer, WATERMARK)
    add_upcoming(writer, records["available_at"][waiting], numbers[waiting])


def _retell_users(writer: Writer, opened: OpenGeneration, users: list[str], rows: Rows) -> None:
    """Write the histories of ``users`` anew from ``rows``, all of theirs."""
    for table in (Table.USER_HISTORIES, Table.SEEN):
        writer.delete_many(table, id_keys(users))
    if not len(rows):
        return
    engagements = Engagements.build(rows, numbers_for(writer, rows.items.tolist()))
    extend_user_histories(writer, engagements, opened.model.event_types, opened.model.user_history_length)
