"""What the engines of the serving state cost: LMDB and Redis, FAISS in this process and Milvus.

    THAW_REDIS_URL=unix:///tmp/redis.sock THAW_MILVUS_URI=/tmp/lite.db python -m benchmarks.stores

An engine whose address is not in the environment is left out. Wall clock and CPU seconds, the latter of this process
and of the Redis server; Milvus Lite works in this process, a Milvus server's CPU is not seen.
"""

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tabulate import tabulate

from assets.serving.ivf_index import IvfIndex
from assets.serving.served_index import ServedIndex
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.records import number_keys

VALUE_BYTES = 256
PER_COMMIT = 1000
PER_READ = 100
DIMENSION = 64
NEIGHBOURS = 10

Cpu = Callable[[], float]


@dataclass
class Measured:
    """Rows of the table: engine, what was done, per second of wall clock, CPU microseconds each."""

    rows: list[tuple[str, str, float, float]] = field(default_factory=list)

    @contextmanager
    def timing(self, engine: str, what: str, count: int, cpu: Cpu) -> Iterator[None]:
        wall, used = time.perf_counter(), cpu()
        yield
        wall, used = time.perf_counter() - wall, cpu() - used
        self.rows.append((engine, what, count / wall, 1e6 * used / count))
        print(self.rows[-1], file=sys.stderr, flush=True)


def measure_store(name: str, store: KeyValueStore, keys: int, measured: Measured, cpu: Cpu) -> None:
    """Writes, reads and scans over ``keys`` keys; then writes while a reader holds the state before them."""
    random = np.random.default_rng(0)
    numbers = random.permutation(keys)
    value = random.bytes(VALUE_BYTES)

    def put(chosen: np.ndarray) -> None:
        for start in range(0, len(chosen), PER_COMMIT):
            with store.write() as writer:
                part = number_keys(chosen[start : start + PER_COMMIT])
                writer.put_many(Table.ITEMS, [(key, value) for key in part])

    with measured.timing(name, f"put new, {PER_COMMIT} per commit", keys, cpu):
        put(numbers)
    with measured.timing(name, f"replace, {PER_COMMIT} per commit", keys, cpu):
        put(numbers)
    asked = [number_keys(random.integers(0, keys, PER_READ)) for _ in range(max(1, keys // PER_READ))]
    with measured.timing(name, f"get, {PER_READ} per read", PER_READ * len(asked), cpu):
        for part in asked:
            with store.read() as reader:
                reader.get_many(Table.ITEMS, part)
    with measured.timing(name, "get, 1 per read", 1000, cpu):
        for part in number_keys(random.integers(0, keys, 1000)):
            with store.read() as reader:
                reader.get(Table.ITEMS, part)
    with measured.timing(name, "scan", keys, cpu), store.read() as reader:
        assert sum(1 for _ in reader.scan(Table.ITEMS)) == keys
    with store.read() as old:
        with measured.timing(name, "replace beside a reader", keys // 10, cpu):
            put(numbers[: keys // 10])
        with measured.timing(name, f"get of the old state, {PER_READ} at once", keys // 10, cpu):
            for start in range(0, keys // 10, PER_READ):
                old.get_many(Table.ITEMS, number_keys(numbers[start : start + PER_READ]))
    commits = 100
    with measured.timing(name, "commit of one key", commits, cpu):
        for number in range(commits):
            with store.write() as writer:
                writer.put(Table.META, b"m", b"%d" % number)


def measure_index(name: str, index: ServedIndex, items: int, measured: Measured, path: Path) -> None:
    """Building, upserting and searching ``items`` clustered vectors; then a saved one with a delta over it."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(200, DIMENSION))
    vectors = (
        centers[random.integers(0, 200, items + 500)] + 0.3 * random.normal(size=(items + 500, DIMENSION))
    ).astype(np.float32)
    ids = [f"i{number}" for number in range(items)]
    queries, cpu = vectors[items:], time.process_time
    with measured.timing(name, "build", items, cpu):
        index.build(ids, vectors[:items])
    changed = min(items, 5000)
    with measured.timing(name, "upsert, 1000 at once", changed, cpu):
        for start in range(0, changed, 1000):
            index.upsert(ids[start : start + 1000], vectors[start : start + 1000][::-1])
    index.save(path)
    loaded = type(index).load(path)
    loaded.nprobe = max(1, loaded.nlist // 50)
    with measured.timing(name, f"search, saved, nprobe {loaded.nprobe}", 200, cpu):
        for row in range(200):
            loaded.search(queries[row : row + 1], NEIGHBOURS)
    with measured.timing(name, "apply a delta of 1000", 1000, cpu):
        loaded.apply(loaded.prepare(ids[:1000], vectors[1000:2000]))
    with measured.timing(name, "search with the delta", 200, cpu):
        for row in range(200):
            loaded.search(queries[row : row + 1], NEIGHBOURS)


def _redis(keys: int, measured: Measured) -> None:
    from assets.serving.store.redis_store import RedisStore, connect  # noqa: PLC0415 - an extra

    client = connect()

    def cpu() -> float:
        used = client.info("cpu")
        return time.process_time() + float(used["used_cpu_sys"]) + float(used["used_cpu_user"])

    with RedisStore(f"benchmark-{uuid.uuid4().hex}", trust_server=True) as store:
        try:
            measure_store("Redis", store, keys, measured, cpu)
        finally:
            store.drop()


def _milvus(items: int, measured: Measured, path: Path) -> None:
    from assets.serving.milvus_index import MilvusIndex  # noqa: PLC0415 - an extra
    from assets.serving.milvus_server import connect, drop_collections  # noqa: PLC0415 - an extra

    connect()  # Milvus Lite takes seconds to start
    space = f"benchmark{uuid.uuid4().hex}"
    try:
        measure_index("Milvus", MilvusIndex(DIMENSION, space), items, measured, path)
    finally:
        drop_collections(space)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    options = parser.parse_args()
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        with LmdbStore(Path(folder) / "store") as store:
            measure_store("LMDB", store, options.keys, measured, time.process_time)
        if "THAW_REDIS_URL" in os.environ:
            _redis(options.keys, measured)
        measure_index("FAISS", IvfIndex(DIMENSION, 1), options.items, measured, Path(folder) / "faiss")
        if "THAW_MILVUS_URI" in os.environ:
            _milvus(options.items, measured, Path(folder) / "milvus")
    print(tabulate(measured.rows, ["engine", "what", "per second", "CPU µs each"], floatfmt=".0f", tablefmt="github"))


if __name__ == "__main__":
    main()
