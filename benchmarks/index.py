"""What the vector index costs and how good it is, on clustered vectors. ``python benchmarks/index.py --help``.

Every approximate figure stands beside exact search of the same run, so that the ratio holds on any machine.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.serving.exact_index import ExactIndex
from assets.serving.ivf_index import IvfIndex
from assets.serving.selfcheck import latencies_ms, recall
from assets.serving.vector_index import Float, VectorIndex
from benchmarks.clusters import CLUSTERS, clustered

TUNING_QUERIES = 500
K = 10


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure(index: VectorIndex, exact: ExactIndex, vectors: Float, queries: Float) -> dict[str, float]:
    """One column of the table; ``index`` is empty before."""
    ids = [f"item-{number}" for number in range(len(vectors))]
    figures = {"build, s": seconds(lambda: index.build(ids, vectors))}
    if isinstance(index, IvfIndex):
        tuning = clustered(TUNING_QUERIES, index.dimension, seed=2)
        figures["tune nprobe, s"] = seconds(lambda: index.tune(tuning))
        figures["nlist"], figures["nprobe"] = index.nlist, index.nprobe
    figures["recall@10"] = recall(index, exact, queries, K)
    figures["search p50, ms"], figures["search p99, ms"] = latencies_ms(index, queries, K)
    figures["search, batch of all, ms per query"] = 1e3 * seconds(lambda: index.search(queries, K)) / len(queries)
    for count in (1, 100, 10_000):
        rows = np.random.default_rng(count).permutation(len(vectors))[:count]
        changed, replaced = vectors[rows] + np.float32(0.01), [ids[row] for row in rows]
        taken = [seconds(lambda c=changed, r=replaced: index.upsert(r, c)) for _ in range(5)]  # type: ignore[misc]
        figures[f"replace {count}, ms"] = 1e3 * float(np.median(taken))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.safetensors"
        figures["save, s"] = seconds(lambda: index.save(path))
        figures["load, s"] = seconds(lambda: type(index).load(path))
        figures["file, MB"] = path.stat().st_size / 1e6
    return figures


def peak_memory_mb() -> float:
    """Largest resident size of this process so far (``ru_maxrss`` is in KiB on Linux, in bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    vectors = clustered(options.items, options.dimension, seed=1)
    queries = clustered(options.queries, options.dimension, seed=3)
    before = peak_memory_mb()
    oracle, exact = ExactIndex(options.dimension), ExactIndex(options.dimension)
    oracle.build([f"item-{number}" for number in range(len(vectors))], vectors)
    approximate = measure(IvfIndex(options.dimension, options.threads), oracle, vectors, queries)
    peak = peak_memory_mb()
    brute = measure(exact, oracle, vectors, queries)
    rows = [(name, value, brute.get(name), _ratio(brute.get(name), value)) for name, value in approximate.items()]
    print(f"{options.items} x {options.dimension}, {CLUSTERS} clusters, {options.queries} queries, k = {K}")
    print(tabulate(rows, ["", "IvfIndex", "ExactIndex", "exact / ivf"], floatfmt=".4g", tablefmt="github"))
    print(f"peak memory {peak:.0f} MB, of which {before:.0f} MB before the first index")


def _ratio(exact: float | None, approximate: float) -> float | None:
    return exact / approximate if exact is not None and approximate else None


if __name__ == "__main__":
    main()
