"""Snapshots of the index: when to make one, and making it.

A snapshot is the whole index in one file; the deltas numbered after it bring it up to date. A new one is built aside
from the store's vectors, its quantizer trained on them and its search tuned anew, and takes the old one's place in one
transaction that also deletes the deltas it holds. The caller holds the writer's lock.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from assets.config import Settings
from assets.instants import DAY
from assets.serving.engines import drop_unnamed_collections, load_saved_index, new_index
from assets.serving.live.embedder import Float, index_vectors, stored_vectors, trend_values
from assets.serving.live.generation import Generation, OpenGeneration
from assets.serving.live.items import item_ids
from assets.serving.live.refresh import available_at
from assets.serving.selfcheck import SelfCheck, measure
from assets.serving.served_index import ServedIndex
from assets.serving.snapshot import UserSample, user_sample
from assets.serving.store.deltas import deltas_after, drop_deltas
from assets.serving.store.interface import Reader, Table
from assets.serving.store.meta import CHANGES, EPOCH, SEQ, SNAPSHOT, WATERMARK, get_meta, put_meta
from assets.serving.store.records import new_items, numbers_of, unpack
from assets.stream import Int

K: Final = 10
TARGET_RECALL: Final = 0.98
"""What nprobe is tuned to: above what the check demands, because other users are measured than tuned with."""

TUNING, MEASURED = slice(1, None, 2), slice(0, None, 2)
"""The two halves of the sampled users."""

QUICK_QUERIES: Final = 200
"""At most so many users tune and as many measure a compaction between two trainings of the quantizer on schedule: it
happens while engagements wait, and with 1,000 tuning and measuring are nine tenths of its time."""


Reason = Literal["first", "epoch", "deltas", "quantizer"]


@dataclass(frozen=True)
class Maintained:
    """What maintenance did, and the index as it is now.

    Attributes:
        reason: why a snapshot was made: there was none; trends are as of an older day; deltas hold a large share of the
            catalog; the quantizer was to be trained anew. ``None``: nothing was to do.
        seconds: it took.
        items: in the snapshot.
        dimension: of its vectors.
        recall: recall@10 of the snapshot against exact search, with users it was not tuned with.
        queries: users that it was measured with.
        p50_ms, p99_ms: latency of a single search.
        nlist, nprobe: cells, and how many of them a search looks into.
        seq: number of the last delta that the snapshot holds.
        epoch: instant that its trends are as of, microseconds.
        deltas: since the snapshot.
        delta_items: items that they name, with repetitions.
        file: of the snapshot.
    """

    reason: Reason | None
    seconds: float
    items: int
    dimension: int
    recall: float
    queries: int
    p50_ms: float
    p99_ms: float
    nlist: int
    nprobe: int
    seq: int
    epoch: int
    deltas: int
    delta_items: int
    file: str


def maintain_index(opened: OpenGeneration, settings: Settings, now: int, force: bool = False) -> Maintained:
    """Make a snapshot where one is due, or where it is asked for by ``force``.

    Args:
        now: wall clock, microseconds.
    """
    started = time.perf_counter()
    with opened.store.read() as reader:
        snapshot = get_meta(reader, SNAPSHOT)
        seq, changes = get_meta(reader, SEQ, 0), get_meta(reader, CHANGES, 0)
        due = _due(reader, opened, snapshot, changes, settings.freshness.compact_share)
    reason: Reason | None = due or ("quantizer" if force else None)
    if reason is not None:
        most = settings.index.queries
        queries = most if reason in ("first", "quantizer") else min(most, QUICK_QUERIES)
        snapshot, changes = make_snapshot(opened, queries, now), 0
    assert snapshot is not None
    known = {name: snapshot[name] for name in Maintained.__dataclass_fields__ if name in snapshot}
    seconds = time.perf_counter() - started
    return Maintained(reason=reason, seconds=seconds, deltas=seq - snapshot["seq"], delta_items=changes, **known)


def _due(
    reader: Reader, opened: OpenGeneration, snapshot: Mapping[str, Any] | None, changes: int, share: float
) -> Reason | None:
    if snapshot is None:
        return "first"
    if opened.model.uses_trend and day_of(get_meta(reader, WATERMARK)) > snapshot["epoch"]:
        return "epoch"
    return "deltas" if changes > share * snapshot["items"] else None


def make_snapshot(opened: OpenGeneration, queries: int, now: int) -> dict[str, Any]:
    """Build an index from the store, measure it, save it and let it take the old one's place.

    Args:
        queries: users to tune it with, and as many others to measure it with.
        now: wall clock, microseconds.

    Returns:
        META's SNAPSHOT.
    """
    with opened.store.read() as reader:
        epoch, seq = day_of(get_meta(reader, WATERMARK)), get_meta(reader, SEQ, 0)
        index = new_index(opened.generation.engines, opened.model.index_dimension)
        index.build(*indexable(reader, opened, epoch))
        sample = user_sample(reader, opened.model, 2 * queries, now)
    tuning = sample.take(TUNING)
    index.tune(tuning.vectors, TARGET_RECALL, K, tuning.seen)
    file = f"{seq:012}-{epoch}-{now}.safetensors"  # names of different snapshots differ: readers go by the name
    index.save(
        opened.generation.snapshots / file, {**opened.record.model_dump(mode="json"), "seq": seq, "epoch": epoch}
    )
    measured = measure(index, sample.take(MEASURED), K)
    snapshot = _described(index, measured) | {"seq": seq, "file": file, "epoch": epoch, "created_at": now}
    with opened.store.write() as writer:
        replaced = get_meta(writer, SNAPSHOT)
        put_meta(writer, SNAPSHOT, snapshot)
        put_meta(writer, EPOCH, epoch)
        drop_deltas(writer, seq)
    # A reader that has just read the old one's name may still open it.
    _remove_files(opened.generation, {file} | ({replaced["file"]} if replaced else set()))
    return snapshot


def indexable(reader: Reader, opened: OpenGeneration, epoch: int) -> tuple[list[str], Float]:
    """Ids [N] and vectors [N, D] of every available item that is embedded, trends as of ``epoch`` (microseconds)."""
    pairs = list(reader.scan(Table.ITEMS))
    items = unpack([value for _, value in pairs], new_items(1))
    available = available_at(items, get_meta(reader, WATERMARK))
    numbers: Int = numbers_of(key for key, _ in pairs)[available]
    vectors, found = stored_vectors(reader, opened.model, numbers)
    trend = trend_values(opened.model, items[available][found], epoch) if opened.model.uses_trend else None
    ids = [str(item) for item in item_ids(reader, numbers[found])]
    return ids, index_vectors(vectors, trend)


def load_index(reader: Reader, generation: Generation) -> ServedIndex:
    """The index as the store says that it is: the snapshot with every delta after it."""
    snapshot = get_meta(reader, SNAPSHOT)
    index = load_saved_index(generation.engines, generation.snapshots / snapshot["file"])
    for delta in deltas_after(reader, snapshot["seq"]):
        index.remove(delta.removed)
        index.upsert(delta.ids, delta.vectors)
    return index


def measure_index(opened: OpenGeneration, queries: int, now: int) -> tuple[SelfCheck, UserSample, ServedIndex]:
    """Measure the index as it is served now, deltas included, with users that no snapshot was tuned with.

    Args:
        now: wall clock, microseconds.

    Returns:
        The measurements, the users they were made with, and the index.
    """
    with opened.store.read() as reader:
        index = load_index(reader, opened.generation)
        sample = user_sample(reader, opened.model, 2 * queries, now).take(MEASURED)
    return measure(index, sample, K), sample, index


def day_of(instant: int) -> int:
    """The midnight, UTC, that the day of ``instant`` began with; microseconds."""
    return instant - instant % DAY


def _described(index: ServedIndex, measured: SelfCheck) -> dict[str, Any]:
    values = measured.as_dict()
    del values["k"]
    return {**values, "dimension": index.dimension, "nlist": index.nlist, "nprobe": index.nprobe}


def _remove_files(generation: Generation, kept: set[str]) -> None:
    for path in generation.snapshots.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)
    drop_unnamed_collections(generation.engines, [generation.snapshots / name for name in kept])
