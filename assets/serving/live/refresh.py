"""Embedding the pending items that are due, and the delta that makes it searchable: one transaction.

The delta also holds the items that were engaged with and wait for their embedding: with their old vector and the new
trend, which costs nothing. What is read here must not change until it is written: the caller holds the writer's lock.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.config import FreshnessConfig
from assets.instants import SECOND
from assets.serving.live.embedder import Float, index_vectors, item_vectors, stored_vectors, trend_values
from assets.serving.live.items import item_ids
from assets.serving.live.ledger import complete_awaiting
from assets.serving.live.model import LiveModel
from assets.serving.store.deltas import append_delta
from assets.serving.store.interface import KeyValueStore, Reader, Table, Writer
from assets.serving.store.meta import EPOCH, SEQ, WATERMARK, get_meta
from assets.serving.store.records import NEVER, PENDING, Records, new_items, number_keys, numbers_of, pack, unpack
from assets.stream import Int

Mask = NDArray[np.bool_]


class StoreError(RuntimeError):
    """The store of a generation lacks what every store has."""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        embedded: items embedded.
        trend_only: items that wait for their embedding and got a new trend in the index.
        deferred: items that wait for their embedding.
        removed: items taken out of the index, because they are not available any more.
        seq: number of the delta; ``None`` where nothing changed.
        items_per_second: of embedding; ``None`` where there was nothing to embed.
    """

    embedded: int
    trend_only: int
    deferred: int
    removed: int
    seq: int | None
    items_per_second: float | None


@dataclass(frozen=True)
class Plan:
    """What to do with the pending items; arrays of equal length P, in order of the items' numbers.

    Attributes:
        numbers: [P].
        items: [P] ITEM records.
        pending: [P] PENDING records; ``due_at`` not before the minimum interval is over.
        embed: [P] due.
        trend_only: [P] not due, with a vector in the index whose trend is old.
        deferred: [P] not due.
        removed: [P] in the index, and not available.
    """

    numbers: Int
    items: Records
    pending: Records
    embed: Mask
    trend_only: Mask
    deferred: Mask
    removed: Mask


def refresh_embeddings(
    store: KeyValueStore, model: LiveModel, config: FreshnessConfig, now: int, clock: Callable[[], int]
) -> Refreshed:
    """Embed what is due, write the delta and complete the ledger entries that await it.

    Args:
        now: wall clock, microseconds: what is due by then, and the ``embedded_at`` of the items.
        clock: gives the wall clock in microseconds; for the times in the ledger and the speed.

    Raises:
        StoreError: when the store has no epoch for its trends, or lacks the id of an item.
    """
    with store.read() as reader:
        plan = plan_refresh(reader, model, config, now)
        if not len(plan.numbers) and not reader.size(Table.AWAITING):
            return Refreshed(0, 0, 0, 0, None, None)
        started = clock()
        vectors = item_vectors(reader, model, plan.numbers[plan.embed])
        embedded_at = clock()
    with store.write() as writer:
        # The delta comes first: it reads the old vectors of the items that only get a new trend.
        seq = _append_delta(writer, model, plan, vectors, clock)
        _write_items(writer, plan, vectors, now)
        complete_awaiting(
            writer,
            embedded_at=embedded_at,
            indexed_at=clock(),
            seq=get_meta(writer, SEQ, 0),
            deferred=int(plan.deferred.sum()),
        )
    return Refreshed(
        embedded=len(vectors),
        trend_only=int(plan.trend_only.sum()),
        deferred=int(plan.deferred.sum()),
        removed=int(plan.removed.sum()),
        seq=seq,
        items_per_second=len(vectors) * SECOND / max(1, embedded_at - started) if len(vectors) else None,
    )


def plan_refresh(reader: Reader, model: LiveModel, config: FreshnessConfig, now: int) -> Plan:
    """Decide what becomes of every pending item. Nothing is embedded before the minimum interval is over, whoever
    called it due. Items that are neither available nor in the index are left to UPCOMING.
    """
    pairs = list(reader.scan(Table.PENDING))
    keys = [key for key, _ in pairs]
    pending = unpack([value for _, value in pairs], np.zeros(1, PENDING)[0])
    items = unpack(reader.get_many(Table.ITEMS, keys), new_items(1)[0])
    available = available_at(items, get_meta(reader, WATERMARK, NEVER))
    has_vector = items["embedded_at"] != NEVER
    interval = round(config.trigger.minimum_interval_seconds * SECOND)
    allowed = np.where(has_vector, items["embedded_at"] + interval, NEVER)
    pending["due_at"] = np.maximum(pending["due_at"], allowed)
    due = pending["due_at"] <= now
    stale = has_vector & (pending["trend_stale"] > 0) & model.uses_trend
    return Plan(
        numbers=numbers_of(keys),
        items=items,
        pending=pending,
        embed=available & due,
        trend_only=available & ~due & stale,
        deferred=available & ~due,
        removed=~available & has_vector,
    )


def available_at(items: Records, instant: int) -> Mask:
    """[n] whether items (ITEM records) are available at an instant of the event clock."""
    return (items["available_at"] != NEVER) & (items["available_at"] <= instant)


def _append_delta(writer: Writer, model: LiveModel, plan: Plan, vectors: Float, clock: Callable[[], int]) -> int | None:
    """Append what changes in the index; its number, ``None`` where nothing does."""
    changed = plan.embed | plan.trend_only
    if not (changed | plan.removed).any():
        return None
    merged = np.empty((len(changed), model.dimension), np.float32)
    merged[plan.embed] = vectors
    merged[plan.trend_only], _ = stored_vectors(writer, model, plan.numbers[plan.trend_only])
    trend = trend_values(model, plan.items[changed], _epoch(writer)) if model.uses_trend else None
    delta = append_delta(
        writer,
        clock(),
        _ids(writer, plan.numbers[changed]),
        index_vectors(merged[changed], trend),
        _ids(writer, plan.numbers[plan.removed]),
    )
    return delta.seq


def _write_items(writer: Writer, plan: Plan, vectors: Float, now: int) -> None:
    """Vectors, when they were made, and what is still pending."""
    keys = np.array(number_keys(plan.numbers), dtype=object)
    items = plan.items.copy()
    items["embedded_at"] = np.where(plan.embed, now, np.where(plan.removed, NEVER, items["embedded_at"]))
    items["embedded_total"] = np.where(plan.embed, items["total"], items["embedded_total"])
    changed = plan.embed | plan.removed
    pending = plan.pending[plan.deferred].copy()
    pending["trend_stale"][plan.trend_only[plan.deferred]] = 0
    writer.put_many(Table.VECTORS, zip(keys[plan.embed], map(bytes, vectors), strict=True))
    writer.delete_many(Table.VECTORS, keys[plan.removed])
    writer.put_many(Table.ITEMS, zip(keys[changed], pack(items[changed]), strict=True))
    writer.delete_many(Table.PENDING, keys[~plan.deferred])
    writer.put_many(Table.PENDING, zip(keys[plan.deferred], pack(pending), strict=True))


def _epoch(reader: Reader) -> int:
    epoch = get_meta(reader, EPOCH)
    if epoch is None:
        raise StoreError("the store has no epoch for its trends: it was not built to its end; run `thaw run`")
    return int(epoch)


def _ids(reader: Reader, numbers: Int) -> list[str]:
    ids = item_ids(reader, numbers)
    if None in ids:
        raise StoreError(f"the store lacks the details of item number {numbers[ids.index(None)]}; run `thaw run`")
    return [item for item in ids if item is not None]
