"""Updates of a large index while it is searched: how many it takes, and what searches feel of them.

    python benchmarks/live_index.py [--items 1000000] [--rate 10000] [--deltas 1000 10000] [--seconds 10]

One process writes deltas into the store, at a pace; in another, as in the service, one thread follows the store and
another searches for single queries without a pause. Beside them stand the same searches without updates, and the same
updates as fast as they can be taken, with and without searches. Vectors are clustered, as in ``benchmarks/index.py``;
deltas replace vectors of items by others, at random. Recall is against exact search, after all updates.
"""

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.serving.exact_index import ExactIndex
from assets.serving.ivf_index import IvfIndex
from assets.serving.retrieval.live_index import LiveIndex
from assets.serving.selfcheck import recall
from assets.serving.store.deltas import deltas_after
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import SNAPSHOT, put_meta
from assets.serving.vector_index import Float
from benchmarks.clusters import clustered
from benchmarks.delta_writer import ids_of, write_deltas
from benchmarks.index import TUNING_QUERIES, K
from benchmarks.measuring import Cost, core_waits, latency_ms, machine, metered, peak_mib, verdict

TARGET_RECALL: Final = 0.98
"""What the index is tuned to, as where it serves."""

UPSERTS_PER_SECOND: Final = 10_000
P99_MS: Final = 10.0
RECALL: Final = 0.95
"""The bars."""

POLL_SECONDS: Final = 0.01
"""Between two looks for new deltas, where there was none."""

FILE: Final = "index.safetensors"


@dataclass(frozen=True)
class Followed:
    """A stretch of updates, searched or not.

    Attributes:
        name: of the stretch.
        upserts: taken.
        cost: of taking them: wall from the first delta to the last, CPU of the whole process, searches among it.
        lag: [deltas] seconds from writing each delta (commit included) until searches saw it; empty where they waited.
        searches: [n, 2] seconds that each search took, and of them those in which it did not wait for a core.
    """

    name: str
    upserts: int
    cost: Cost
    lag: np.ndarray
    searches: np.ndarray

    @property
    def per_second(self) -> float:
        return self.upserts / self.cost.wall if self.cost.wall else 0.0


def build(folder: Path, items: int, dimension: int, threads: int) -> tuple[Cost, IvfIndex]:
    """Build, tune and save an index as a store's snapshot; returns what building and tuning cost."""
    index = IvfIndex(dimension, threads)
    vectors = clustered(items, dimension, seed=1)
    with metered() as cost:
        index.build(ids_of(np.arange(items)), vectors)
        index.tune(clustered(TUNING_QUERIES, dimension, seed=2), TARGET_RECALL, K)
    index.save(folder / FILE)
    with LmdbStore(folder / "store") as store, store.write() as writer:
        put_meta(writer, SNAPSHOT, {"seq": 0, "file": FILE, "items": items})
    return cost, index


@contextmanager
def searching(live: LiveIndex, queries: Float, search: bool = True) -> Iterator[list[tuple[float, float]]]:
    """Search for one query after another in a thread until the block ends; see :attr:`Followed.searches`."""
    taken: list[tuple[float, float]] = []
    over = threading.Event()

    def loop() -> None:
        row = 0
        with core_waits() as waited:
            while not over.is_set():
                before, started = waited(), time.perf_counter()
                found = live.search(queries[row : row + 1], K)
                seconds = time.perf_counter() - started
                taken.append((seconds, max(0.0, seconds - (waited() - before))))
                assert found.ids.shape == (1, K)
                row = (row + 1) % len(queries)

    thread = threading.Thread(target=loop)
    if search:
        thread.start()
    try:
        yield taken
    finally:
        over.set()
        if search:
            thread.join()


def follow(live: LiveIndex, last: int) -> tuple[list[tuple[int, int]], Cost]:
    """Follow the store until delta ``last`` is applied.

    Returns:
        Per delta its number and when searches saw it, and what it took from the first look that brought one.
    """
    applied: list[tuple[int, int]] = []
    with metered() as cost:
        while live.seq < last:
            if followed := live.refresh():
                assert not followed.reloaded
                applied += followed.applied
            else:
                time.sleep(POLL_SECONDS)
    return applied, cost


def paced(
    live: LiveIndex, folder: Path, queries: Float, items: int, size: int, rate: float, seconds: float
) -> Followed:
    """Updates that arrive at ``rate`` items per second in deltas of ``size``, written by a process of its own."""
    count = max(1, round(rate * seconds / size))
    first = live.seq
    arguments = (folder, items, queries.shape[1], size, rate, count)
    writer = multiprocessing.get_context("spawn").Process(target=write_deltas, args=arguments)
    writer.start()
    _wait_for(live.refresh, writer)
    with searching(live, queries) as taken:
        applied, cost = follow(live, first + count)
    writer.join()
    with LmdbStore(folder / "store") as store, store.read() as reader:
        created = {delta.seq: delta.created_at for delta in deltas_after(reader, first)}
    lag = np.array([(seen_at - created[seq]) / 1e6 for seq, seen_at in applied])
    return Followed(f"{rate:,.0f}/s in {size:,}s", size * len(applied), cost, lag, np.array(taken).reshape(-1, 2))


def unpaced(live: LiveIndex, folder: Path, queries: Float, items: int, size: int, count: int, search: bool) -> Followed:
    """``count`` deltas that wait in the store when following begins."""
    first = live.seq
    write_deltas(folder, items, queries.shape[1], size, None, count)
    with searching(live, queries, search) as taken:
        applied, cost = follow(live, first + count)
    name = f"all at once in {size:,}s, {'searching' if search else 'no searches'}"
    return Followed(name, size * len(applied), cost, np.zeros(0), np.array(taken).reshape(-1, 2))


def undisturbed(live: LiveIndex, queries: Float, seconds: float) -> Followed:
    """Searches with no updates."""
    with metered() as cost, searching(live, queries) as taken:
        time.sleep(seconds)
    return Followed("no updates", 0, cost, np.zeros(0), np.array(taken).reshape(-1, 2))


def _wait_for(done: Callable[[], object], writer: multiprocessing.process.BaseProcess) -> None:
    """Let the writer start: what it takes to import is not measured."""
    while not done():
        if writer.exitcode:
            raise RuntimeError(f"the writer of deltas ended with exit status {writer.exitcode}")
        time.sleep(POLL_SECONDS)


def recall_now(live: LiveIndex, folder: Path, items: int, queries: Float) -> float:
    """Recall@10 of the live index against exact search over what the snapshot and every delta say."""
    dimension = queries.shape[1]
    vectors = clustered(items, dimension, seed=1)
    with LmdbStore(folder / "store") as store, store.read() as reader:
        for delta in deltas_after(reader, 0):
            vectors[[int(item.rpartition("-")[2]) for item in delta.ids]] = delta.vectors
    exact = ExactIndex(dimension)
    exact.build(ids_of(np.arange(items)), vectors)
    with live.reading() as indexed:
        return recall(indexed.index, exact, queries, K)


def row_of(stretch: Followed) -> list[object]:
    """One line of the table."""
    updated, searched = stretch.upserts > 0, len(stretch.searches) > 0
    return [
        stretch.name,
        stretch.per_second if updated else None,
        stretch.upserts / stretch.cost.cpu if updated else None,
        *(latency_ms(stretch.lag)[:2] if len(stretch.lag) else (None, None)),
        len(stretch.searches) / stretch.cost.wall if searched else None,
        *(latency_ms(stretch.searches[:, 0]) if searched else (None, None, None)),
        latency_ms(stretch.searches[:, 1])[1] if searched else None,
    ]


HEADERS: Final = (
    "updates",
    "upserts /s",
    "upserts /CPU s",
    "lag p50 ms",
    "lag p99 ms",
    "searches /s",
    "p50 ms",
    "p99 ms",
    "max ms",
    "p99 ms, core waits left out",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument(
        "--rate", type=float, default=UPSERTS_PER_SECOND, help="items per second, where updates are paced"
    )
    parser.add_argument("--deltas", type=int, nargs="+", default=[1_000, 10_000], help="items of a delta")
    parser.add_argument("--seconds", type=float, default=10, help="of paced updates, per size of a delta")
    parser.add_argument("--threads", type=int, default=2, help="of building; searches and updates have one each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Build, measure every stretch, print."""
    items, size = options.items, options.deltas[0]
    cost, index = build(folder, items, options.dimension, options.threads)
    shape = f"{items:,} x {options.dimension} in {index.nlist:,} cells, of which {index.nprobe} are searched"
    print(f"{shape}; built and tuned in {cost.wall:.0f} s ({cost.cpu:.0f} CPU s); {machine()}", flush=True)
    del index
    queries = clustered(options.queries, options.dimension, seed=3)
    with LmdbStore(folder / "store") as store:
        live = LiveIndex(store, folder, lambda: time.time_ns() // 1000)
        loaded = peak_mib()
        live.search(queries, K)  # warm-up
        quiet = [undisturbed(live, queries, min(5.0, options.seconds))]
        at_pace = [paced(live, folder, queries, items, size, options.rate, options.seconds) for size in options.deltas]
        count = max(1, round(3 * options.rate * min(5.0, options.seconds) / size))
        at_once = [unpaced(live, folder, queries, items, size, count, search) for search in (True, False)]
        print(tabulate(map(row_of, quiet + at_pace + at_once), HEADERS, floatfmt=",.2f", tablefmt="github"))
        found = recall_now(live, folder, items, queries)
    p99, alone = (max(latency_ms(stretch.searches[:, side])[1] for stretch in at_pace) for side in (0, 1))
    bars = [
        ["upserts /s, searching", at_once[0].per_second, f">= {UPSERTS_PER_SECOND:,}"],
        ["search p99 during paced updates, ms", p99, f"<= {P99_MS:g}"],
        ["the same, core waits left out", alone, f"<= {P99_MS:g}"],
        ["recall@10 after all updates", found, f">= {RECALL:g}"],
    ]
    met = [at_once[0].per_second >= UPSERTS_PER_SECOND, p99 <= P99_MS, alone <= P99_MS, found >= RECALL]
    print(
        tabulate([[*bar, verdict(one)] for bar, one in zip(bars, met, strict=True)], floatfmt=",.3f", tablefmt="github")
    )
    print(f"peak memory {peak_mib():,.0f} MiB, {loaded:,.0f} MiB when the index was built and loaded; {machine()}")


if __name__ == "__main__":
    main()
