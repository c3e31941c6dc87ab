"""What a served dataset says, by ids and without the clock on the wall: two histories that should end alike do here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assets.ingestion.landing.batches import landed_batches
from assets.ingestion.landing.places import (
    Kind,
    claimed_folder,
    done_folder,
    drop_zone,
    quarantine_folder,
    reading_folder,
)
from assets.ingestion.landing.removed import read_removed
from assets.instants import DAY
from assets.schema import Columns
from assets.serving.live.embedder import user_vectors
from assets.serving.live.generation import Generation, OpenGeneration, generations, open_generation, require_current
from assets.serving.live.ledger import entries
from assets.serving.live.stored import StoredItems, item_histories, seen_items, stored_items, user_histories
from assets.serving.retrieval.live_index import LiveIndex
from assets.serving.store.interface import Reader, Table
from assets.serving.store.meta import EPOCH, WATERMARK, get_meta
from assets.serving.store.records import number_keys, numbers_of
from assets.storage import Storage

ROUNDING = 1e-5
"""Difference of vectors, user vectors and scores, relative to the largest of a row or 1."""
COUNT_ROUNDING = 1e-9
"""Relative difference of decayed counts."""

CLOCKED = {"digest", "landed_at", "seen_at", "features_at", "embedded_at", "indexed_at", "seq", "deferred"}
"""Of ledger entries: what depends on when they came (the digest of items does)."""
GROUPED = {"applied", "duplicates", "items_touched"}
"""Of items' entries: what depends on which batches met in one transaction."""
DATED = {"partition"}
"""Of items' entries: a file of items is in the partition of the day on which it was taken."""

PARTIAL, REASON = ".partial-", ".reason"

FEATURES = ("watermark", "epoch", "counts", "item_histories", "user_histories", "seen", "encoded", "upcoming")
SERVED = ("vectors", "queries", "ranking")
ACCOUNTS = ("model", "waiting", "ledger", "files", "landed", "removed", "leftovers")

Vectors = dict[str, list[float]]


@dataclass
class Logical:
    """One state.

    Attributes:
        watermark, epoch: instants of the event clock.
        counts: item -> title, available, first and last engagement, totals, decayed count.
        item_histories, user_histories, seen: owner -> what it holds, in order.
        encoded: items' features as the model reads them.
        upcoming: (instant, item).
        vectors: item -> embedding.
        queries: user -> vector to search with.
        ranking: user -> item -> score, of every item that the live index finds.
        model: (name, checkpoint) of the generation.
        waiting: number of pending items and of batches that await their delta.
        ledger: entries without times.
        files: place -> names of files without stamps, each as often as it is there; those of refused files once: the
            reason is written, under a stamp, before the file is moved.
        landed: (kind, partition, source); of items without the partition.
        removed: users, items.
        leftovers: names of unfinished files; what lies in a generation that is not complete is for the next build to
            remove.
    """

    watermark: int
    epoch: int
    counts: dict[str, dict[str, Any]]
    item_histories: dict[str, list[Any]]
    user_histories: dict[str, list[Any]]
    seen: dict[str, list[Any]]
    encoded: dict[str, bytes]
    upcoming: list[tuple[int, str]]
    vectors: Vectors
    queries: Vectors
    ranking: dict[str, dict[str, float]]
    model: tuple[str, str]
    waiting: tuple[int, int]
    ledger: list[dict[str, Any]]
    files: dict[str, list[str]]
    landed: list[tuple[str, str, str]]
    removed: tuple[list[str], list[str]]
    leftovers: list[str]


def logical_state(storage: Storage, users: Sequence[str], generation: Generation | None = None) -> Logical:
    """The state of ``generation``, or of the current one; ``users`` are those who search."""
    with open_generation(storage, generation or require_current(storage)) as opened:
        ranking = _ranking(opened, users)
        with opened.store.read() as reader:
            items = stored_items(reader, opened)
            return Logical(
                watermark=get_meta(reader, WATERMARK),
                epoch=get_meta(reader, EPOCH),
                **_of_store(reader, items, users),
                queries=_rows(users, user_vectors(reader, opened.model, users, _instant(reader))),
                ranking=ranking,
                model=(opened.record.model, opened.record.checkpoint),
                waiting=(reader.size(Table.PENDING), reader.size(Table.AWAITING)),
                ledger=_ledger(reader),
                **_on_disk(storage),
            )


def unlike(expected: Logical, actual: Logical, parts: Sequence[str] | None = None) -> list[str]:
    """In words, where two states differ in ``parts``, by default in all."""
    chosen = [field.name for field in fields(Logical)] if parts is None else parts
    return [line for name in chosen for line in _unlike(name, getattr(expected, name), getattr(actual, name))]


def _of_store(reader: Reader, items: StoredItems, users: Sequence[str]) -> dict[str, Any]:
    frame = items.frame.drop(columns=["pending", "trend_stale", "has_vector"]).astype(object)
    frame = frame.where(frame.notna(), None)
    names = frame.index.tolist()
    histories = user_histories(reader, items, users).astype({Columns.VALUE: object})
    histories[Columns.VALUE] = histories[Columns.VALUE].where(histories[Columns.VALUE].notna(), None)  # NaN != NaN
    encoded = reader.get_many(Table.FEATURES, number_keys(items.numbers))
    there = ~np.isnan(items.vectors).any(axis=1) if items.vectors.shape[1] else np.ones(len(names), bool)
    upcoming = [(int.from_bytes(key[:8], "big"), key[8:]) for key, _ in reader.scan(Table.UPCOMING)]
    upcoming_ids = items.ids_of(numbers_of(number for _, number in upcoming))
    return {
        "counts": frame.to_dict("index"),
        "item_histories": _grouped(item_histories(reader, items)),
        "user_histories": _grouped(histories),
        "seen": {user: sorted(seen) for user, seen in _grouped(seen_items(reader, items, users)).items()},
        "encoded": {name: value for name, value in zip(names, encoded, strict=True) if value is not None},
        "upcoming": sorted(zip([at for at, _ in upcoming], upcoming_ids, strict=True)),
        "vectors": _rows(np.array(names, object)[there].tolist(), items.vectors[there]),
    }


def _instant(reader: Reader) -> int:
    """When everybody asks: a day after the latest engagement, whatever the clock."""
    return int(get_meta(reader, WATERMARK)) + DAY


def _ranking(opened: OpenGeneration, users: Sequence[str]) -> dict[str, dict[str, float]]:
    """Every item for every user, through the index that serves: a snapshot and its deltas."""
    index = LiveIndex(opened.store, opened.generation.snapshots, lambda: 0, opened.generation.engines)
    with opened.store.read() as reader:
        queries = user_vectors(reader, opened.model, users, _instant(reader))
    found = index.search(queries, index.size)  # so many that no cell is left out
    return {
        user: {item: float(score) for item, score in zip(ids, scores, strict=False) if item is not None}
        for user, ids, scores in zip(users, found.ids, found.scores, strict=True)
    }


def _ledger(reader: Reader) -> list[dict[str, Any]]:
    found = []
    for entry in entries(reader):
        left_out = CLOCKED | (GROUPED | DATED if entry.kind == Kind.ITEMS else set())
        found.append({name: value for name, value in entry.model_dump().items() if name not in left_out})
    return sorted(found, key=lambda entry: json.dumps(entry, sort_keys=True))


def _on_disk(storage: Storage) -> dict[str, Any]:
    removed = read_removed(storage)
    places = {"claimed": claimed_folder(storage), "done": done_folder(storage)}
    places |= {kind.value: drop_zone(storage, kind) for kind in Kind} | {"reading": reading_folder(storage)}
    batches = [batch for kind in Kind for batch in landed_batches(storage, kind)]
    abandoned = [each.folder for each in generations(storage) if not each.complete]
    landed = [(each.kind, "" if each.kind == Kind.ITEMS else each.partition, each.source) for each in batches]
    return {
        "files": {place: _files(folder) for place, folder in places.items()}
        | {"refused": sorted(set(_files(quarantine_folder(storage))))},
        "landed": sorted(landed),
        "removed": (sorted(removed.users), sorted(removed.items)),
        "leftovers": sorted(path.name for path in _unfinished(storage) if not _is_below(path, abandoned)),
    }


def _files(folder: Path) -> list[str]:
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    return sorted(_unstamped(name) for name in names if REASON not in name or PARTIAL not in name)


def _unfinished(storage: Storage) -> list[Path]:
    return [path for path in storage.base.rglob(f"*{PARTIAL}*") if REASON not in path.name]


def _is_below(path: Path, folders: Sequence[Path]) -> bool:
    return any(folder in path.parents for folder in folders)


def _unstamped(name: str) -> str:
    stamp, _, rest = name.partition("--")
    return rest if stamp.isdigit() else name


def _grouped(frame: pd.DataFrame) -> dict[str, list[Any]]:
    owner, *rest = frame.columns.tolist()
    ordered = frame.sort_values([owner, *rest], kind="stable")
    rows = list(zip(*(ordered[name].tolist() for name in rest), strict=True))
    groups: dict[str, list[Any]] = {}
    for key, row in zip(ordered[owner].tolist(), rows, strict=True):
        groups.setdefault(key, []).append(row)
    return groups


def _rows(names: Sequence[str], vectors: np.ndarray) -> Vectors:
    return {name: row.tolist() for name, row in zip(names, vectors, strict=True)}


def _unlike(name: str, expected: Any, actual: Any) -> list[str]:
    if not isinstance(expected, Mapping):
        return [] if expected == actual else [f"{name}: expected {expected}, found {actual}"]
    lines = [f"{name} of {key}: only {'expected' if key in expected else 'found'}" for key in expected.keys() ^ actual]
    for key in expected.keys() & actual.keys():
        if not _alike(name, expected[key], actual[key]):
            lines.append(f"{name} of {key}: expected {expected[key]}, found {actual[key]}")
    return sorted(lines)


def _alike(name: str, expected: Any, actual: Any) -> bool:
    if name == "ranking":
        same = expected.keys() == actual.keys()
        return same and _close(list(expected.values()), [actual[item] for item in expected])
    if name in {"vectors", "queries"}:
        return _close(expected, actual)
    if name == "counts":
        decayed = abs(expected["decayed"] - actual["decayed"]) <= COUNT_ROUNDING * abs(expected["decayed"])
        return decayed and {**expected, "decayed": 0} == {**actual, "decayed": 0}
    return bool(expected == actual)


def _close(expected: Sequence[float], actual: Sequence[float]) -> bool:
    if len(expected) != len(actual):
        return False
    wanted, has = np.array(expected), np.array(actual)
    return bool((np.abs(wanted - has) <= ROUNDING * max(1.0, np.abs(wanted).max(initial=0))).all())
