"""Building a generation aside and letting it serve.

A build may be killed at any instant: what it left is removed by the next one, and the current generation serves on. A
generation holds the base and every batch landed before the build; :func:`promote` adds, under the writer's lock, those
landed meanwhile, so that none is missing when it begins to serve.
"""

import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from assets.config import Settings, TriggerConfig
from assets.ingestion.landing.merge import is_replay
from assets.ingestion.landing.removed import read_removed
from assets.serving.engines import write_engines
from assets.serving.live.apply import apply_batches, rebuild_config, waiting_batches
from assets.serving.live.base import Progress, fill_base, write_base
from assets.serving.live.generation import (
    FORMAT,
    Generation,
    GenerationRecord,
    OpenGeneration,
    build_lock,
    current,
    new_generation,
    open_generation,
    remove_half_built,
    remove_outdated,
    switch_to,
    writer_lock,
)
from assets.serving.live.ledger import LedgerEntry
from assets.serving.live.maintain import day_of, maintain_index
from assets.serving.live.material import Material, of_run
from assets.serving.live.model import LiveModel
from assets.serving.live.refresh import available_at, refresh_embeddings
from assets.serving.live.removal import reconcile
from assets.serving.store.deltas import append_delta, deltas_after, drop_deltas
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.meta import EPOCH, GENERATION, SEQ, SNAPSHOT, WATERMARK, get_meta, put_meta
from assets.serving.store.records import PENDING, new_items, pack, unpack
from assets.storage import Storage, locked
from assets.stream import DatasetTables
from assets.training.checkpoints import CheckpointError, checkpoint_digest


class RecallError(RuntimeError):
    """An index finds too little of what exact search finds.

    Attributes:
        recall: recall@10 that was found.
        minimum: that was wanted.
    """

    def __init__(self, generation: str, recall: float, minimum: float) -> None:
        self.recall, self.minimum = recall, minimum
        super().__init__(
            f"generation {generation}: recall@10 of its index is {recall:.4f}, wanted {minimum} (index.minimum_recall):"
            " what serves serves on"
        )


def silent(line: str) -> None:
    """No progress."""


def needs_build(storage: Storage, manifest: Mapping[str, Any]) -> str | None:
    """Why the current generation cannot go on serving the checkpoint of ``manifest``; ``None`` where it can."""
    generation = current(storage)
    if generation is None:
        return "there is no generation yet"
    if reason := unfit(storage, generation):
        return reason
    record = generation.record()
    if record.checkpoint != checkpoint_digest(manifest):
        return f"generation {generation.name} serves another checkpoint, of {record.model}"
    return None


def unfit(storage: Storage, generation: Generation) -> str | None:
    """Why ``generation`` cannot serve, whatever its checkpoint; ``None`` where it can."""
    if not generation.complete:
        return f"generation {generation.name} is incomplete"
    if outdated := generation.outdated():
        return f"generation {generation.name} has {outdated}"
    if generation.record().until is not None and not is_replay(storage):
        return f"generation {generation.name} was made for a replay, which is over"
    return None


def renew(
    storage: Storage,
    settings: Settings,
    tables: DatasetTables,
    model_name: str,
    seed: int,
    now: int,
    until: np.datetime64 | None = None,
    progress: Progress = silent,
) -> Generation:
    """Build a generation and let it serve: :func:`build_generation`, then :func:`promote`."""
    with locked(build_lock(storage)):
        generation = build_from(storage, settings, of_run(storage, tables, model_name, seed, until), now, progress)
        let_serve(storage, settings, generation, now, progress)
    return generation


def build_generation(
    storage: Storage,
    settings: Settings,
    tables: DatasetTables,
    model_name: str,
    seed: int,
    now: int,
    until: np.datetime64 | None = None,
    progress: Progress = silent,
) -> Generation:
    """Build a generation of the checkpoint of (``model_name``, ``seed``), aside: nothing serves from it yet.

    Args:
        tables: what the checkpoint was trained on.
        now: wall clock, microseconds.
        until: leave out the base's engagements from this instant on, to replay them.
        progress: told what was done, line by line.

    Raises:
        CheckpointError: when the checkpoint is missing, damaged, cannot be served, or was made for other tables.
        ValueError: when there is no engagement.
    """
    with locked(build_lock(storage)):
        return build_from(storage, settings, of_run(storage, tables, model_name, seed, until), now, progress)


def promote(
    storage: Storage, settings: Settings, generation: Generation, now: int, progress: Progress = silent
) -> None:
    """Bring ``generation`` up to date and let it serve; all but the previous one are removed.

    Raises:
        GenerationError: when its build has not come to the end.
    """
    with locked(build_lock(storage)):
        let_serve(storage, settings, generation, now, progress)


def build_from(storage: Storage, settings: Settings, material: Material, now: int, progress: Progress) -> Generation:
    """Build a generation of ``material``, aside; the caller holds the build lock."""
    for name in remove_half_built(storage):
        progress(f"removed generation {name}, which a killed build left")
    manifest = material.manifest
    generation = new_generation(storage, now, material.digest)
    record = GenerationRecord(
        model=manifest["model"],
        seed=manifest["seed"],
        checkpoint=material.digest,
        tables=manifest["data_version"],
        until=material.until,
        engagement=settings.engagement,
        created_at=now,
        format=FORMAT,
        origin=material.origin,
    )
    shutil.copytree(material.folder, generation.checkpoint)
    write_engines(generation.folder, settings)
    model = LiveModel.load(generation.checkpoint)
    if model.digest != record.checkpoint:
        raise CheckpointError(f"the checkpoint of {record.model} was replaced while it was copied: build again")
    write_base(generation, material.tables, material.base_until, read_removed(storage))
    with generation.open_store() as store:
        _fill(OpenGeneration(storage, store, model, generation, record), settings, now, progress)
    generation.write_record(record)
    return generation


def _fill(opened: OpenGeneration, settings: Settings, now: int, progress: Progress) -> None:
    fill_base(opened, now, progress)
    applied = _apply_landed(opened, now)
    progress(f"{len(applied):,} landed batches")
    with opened.store.write() as writer:
        put_meta(writer, EPOCH, day_of(get_meta(writer, WATERMARK)))
        put_meta(writer, GENERATION, opened.record.model_dump(mode="json"))
    _make_all_due(opened.store, now)
    _refresh(opened, settings, now)
    maintained = maintain_index(opened, settings, now)
    progress(f"{maintained.items:,} items indexed")


def let_serve(
    storage: Storage,
    settings: Settings,
    generation: Generation,
    now: int,
    progress: Progress,
    minimum_recall: float = 0.0,
) -> None:
    """Bring ``generation`` up to date and let it serve; the caller holds the build lock.

    Raises:
        RecallError: when its index finds less than ``minimum_recall``; what serves serves on.
    """
    with locked(writer_lock(storage)), open_generation(storage, generation) as opened:
        _continue_numbers(storage, opened)
        reconcile(opened, settings, now)
        missed = _apply_landed(opened, now)
        _refresh(opened, settings, now)
        maintained = maintain_index(opened, settings, now)  # the day may have moved on since the build
        if maintained.recall < minimum_recall:
            raise RecallError(generation.name, maintained.recall, minimum_recall)
        switch_to(storage, generation)
    progress(f"{len(missed):,} batches landed meanwhile; generation {generation.name} serves")
    remove_outdated(storage)


def _apply_landed(opened: OpenGeneration, now: int) -> list[LedgerEntry]:
    with opened.store.read() as reader:
        missing = waiting_batches(opened.storage, reader)
    return apply_batches(opened, missing, rebuild_config(opened.model), now)


def _refresh(opened: OpenGeneration, settings: Settings, now: int) -> None:
    """Embed everything that waits, however it is set to wait."""
    at_once = settings.freshness.model_copy(update={"trigger": TriggerConfig()})
    refresh_embeddings(opened.store, opened.model, at_once, now, lambda: now)


def _make_all_due(store: KeyValueStore, now: int) -> None:
    """Let every available item be embedded by the next refresh, engaged with or not."""
    with store.write() as writer:
        pairs = list(writer.scan(Table.ITEMS))
        items = unpack([value for _, value in pairs], new_items(1))
        available = np.flatnonzero(available_at(items, get_meta(writer, WATERMARK)))
        pending = np.zeros(len(available), PENDING)
        pending["touched_at"] = pending["due_at"] = now
        writer.put_many(Table.PENDING, zip((pairs[row][0] for row in available.tolist()), pack(pending), strict=True))


def _continue_numbers(storage: Storage, opened: OpenGeneration) -> None:
    """Number deltas on from the generation that serves, so that a number never means two things to a reader."""
    serving = current(storage)
    if serving is None or serving.name == opened.generation.name:
        return
    with serving.open_store() as store, store.read() as reader:
        latest = get_meta(reader, SEQ, 0)
    with opened.store.write() as writer:
        if get_meta(writer, SEQ, 0) > latest:
            return
        snapshot = get_meta(writer, SNAPSHOT)
        deltas = deltas_after(writer, snapshot["seq"])  # only where an earlier promotion was killed
        drop_deltas(writer, get_meta(writer, SEQ, 0))
        put_meta(writer, SEQ, latest + 1)
        put_meta(writer, SNAPSHOT, snapshot | {"seq": latest + 1})
        for delta in deltas:
            append_delta(writer, delta.created_at, delta.ids, delta.vectors, delta.removed)
