"""Writes deltas into a store at a pace, in a process of its own: the other side of ``benchmarks/live_index.py``."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assets.serving.store.deltas import append_delta
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import SEQ, get_meta
from benchmarks.clusters import clustered


def ids_of(numbers: NDArray[np.int64]) -> list[str]:
    """Ids of items; the part behind the dash is the number."""
    return [f"item-{number:07}" for number in numbers.tolist()]


def write_deltas(folder: Path, items: int, dimension: int, size: int, rate: float | None, count: int) -> None:
    """Append ``count`` deltas of ``size`` items each to the store, a transaction each.

    Args:
        rate: items per second; ``None`` for as fast as it goes.
    """
    with LmdbStore(folder / "store") as store:
        with store.read() as reader:
            random = np.random.default_rng(get_meta(reader, SEQ, 0))
        started = time.perf_counter()
        for number in range(count):
            ids = ids_of(random.permutation(items)[:size])
            vectors = clustered(size, dimension, seed=int(random.integers(1 << 30)))
            if rate is not None:
                time.sleep(max(0.0, started + (number + 1) * size / rate - time.perf_counter()))
            with store.write() as writer:
                append_delta(writer, time.time_ns() // 1000, ids, vectors)
