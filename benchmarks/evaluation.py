"""Speed and memory of full-ranking evaluation on made-up data, beside a loop over cases in the same run.

    python benchmarks/evaluation.py [--items 10000] [--cases 20000] [--dim 64]

The numbers say nothing about quality: users, items and vectors are random.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import Protocol
from assets.evaluation.slices import metrics_frame
from assets.ranking import Cases, Ranks, rank_cases
from assets.schema import ItemSlice
from assets.stream import Catalog, EngagementStream, Queries

DAY = np.timedelta64(86_400_000_000, "us")
START = np.datetime64("2020-01-01", "us")
TRAIN_DAYS, TEST_DAYS = 90, 90
LOOP_CASES = 1000


class RandomVectors:
    """Fixed random vectors: costs next to nothing, so what is timed is the ranking."""

    history_length = 50

    def __init__(self, users: int, items: int, dim: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.users = torch.randn(users, dim, generator=generator)
        self.items = torch.randn(items, dim, generator=generator)

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        del known, instant
        return self.items

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        del items
        return self.users[torch.from_numpy(queries.users)]


def synthetic(users: int, items: int, cases: int) -> tuple[EngagementStream, Catalog, Cases, np.datetime64]:
    """Engagements without repeats, half of them ``cases`` after the cutoff; items join over the whole time."""
    generator = np.random.default_rng(0)
    pairs = generator.choice(users * items, size=2 * cases, replace=False)
    cutoff = START + TRAIN_DAYS * DAY
    before = START + generator.integers(0, TRAIN_DAYS * DAY.astype(int), cases).astype("timedelta64[us]")
    after = cutoff + generator.integers(0, TEST_DAYS * DAY.astype(int), cases).astype("timedelta64[us]")
    timestamps = np.sort(np.concatenate([before, after]))
    stream = EngagementStream(
        users=pairs // items,
        items=pairs % items,
        timestamps=timestamps,
        values=np.ones(2 * cases, np.float32),
        events=np.zeros(2 * cases, np.int64),
        n_users=users,
        n_items=items,
        event_types=("engagement",),
    )
    share = generator.random(items) ** 4  # three quarters of the items exist before a third of the time is over
    joined = START + (share * (TRAIN_DAYS + TEST_DAYS) * DAY.astype(int)).astype("timedelta64[us]")
    catalog = Catalog(
        item_ids=np.arange(items).astype(str).astype(object),
        available_at=joined,
        train_count=np.zeros(items, np.int64),
        slices=np.array([name.value for name in ItemSlice], dtype=object)[np.arange(items) % 3],
        frame=pd.DataFrame(),
    )
    late = np.arange(cases, 2 * cases)
    days = timestamps[late].astype("datetime64[D]").astype("datetime64[us]")
    return stream, catalog, Cases(stream.users[late], stream.items[late], timestamps[late], days), cutoff


def loop(model: RandomVectors, cases: Cases, stream: EngagementStream, catalog: Catalog) -> None:
    """One case at a time, as evaluation scripts often do: a product, the seen items masked, a comparison."""
    users, items = model.users.numpy(), model.items.numpy()
    for user, target, now, refresh in zip(cases.users, cases.items, cases.timestamps, cases.refresh_at, strict=True):
        scores = items @ users[user]
        allowed = catalog.available_at <= refresh
        allowed[stream.items[(stream.users == user) & (stream.timestamps < now)]] = False
        allowed[target] = False
        (scores[allowed] > scores[target]).sum()


def ranks_table(cases: Cases, ranks: Ranks, catalog: Catalog) -> pd.DataFrame:
    """The per-case frame that metrics are computed from, cut into five windows."""
    return pd.DataFrame(
        {
            "dataset": "made-up",
            "model": "random",
            "seed": 0,
            "protocol": "full",
            "user_history": "rolling",
            "item_embeddings": "refreshed",
            "user_id": cases.users,
            "window": np.arange(len(cases)) * 5 // len(cases),
            "slice": catalog.slices[cases.items],
            "engagements_seen": cases.items % 20,
            "has_history": ranks.has_history,
            "above": ranks.above,
            "tied": ranks.tied,
            "nll": ranks.nll,
        }
    )


def peak_mib() -> float:
    """Largest resident memory of this process so far; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    options = parser.parse_args()
    stream, catalog, cases, cutoff = synthetic(options.users, options.items, options.cases)
    model = RandomVectors(options.users, options.items, options.dim)
    base = peak_mib()

    started, cpu = time.perf_counter(), time.process_time()
    ranks = rank_cases(model, model, cases, stream, catalog, Protocol(), cutoff)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    ranking_peak = peak_mib()

    started = time.perf_counter()
    rank_cases(model, model, cases, stream, catalog, Protocol(), cutoff, list_length=10)
    with_lists = time.perf_counter() - started

    started = time.perf_counter()
    few = cases.take(np.linspace(0, len(cases) - 1, min(LOOP_CASES, len(cases))).astype(np.int64))
    loop(model, few, stream, catalog)
    loop_rate = len(few) / (time.perf_counter() - started)

    started = time.perf_counter()
    table = metrics_frame(ranks_table(cases, ranks, catalog), (5, 10, 20, 50), samples=500, seed=0)
    bootstrap_seconds = time.perf_counter() - started

    rate = len(cases) / seconds
    print(f"{options.items:,} items, {options.cases:,} cases, d = {options.dim}, {torch.get_num_threads()} threads")
    print(f"full ranking      {rate:10,.0f} cases/s   ({len(cases) / cpu:,.0f} per CPU second)")
    print(f"with top-10 lists {len(cases) / with_lists:10,.0f} cases/s")
    print(f"loop over cases   {loop_rate:10,.0f} cases/s   (full ranking is {rate / loop_rate:.1f} times as fast)")
    print(f"metrics           {bootstrap_seconds:10.2f} s         ({len(table):,} numbers, 500 bootstrap draws)")
    print(f"peak memory       {ranking_peak:10,.0f} MiB       ({ranking_peak - base:,.0f} MiB of it while ranking)")
    print(f"with metrics      {peak_mib():10,.0f} MiB")


if __name__ == "__main__":
    main()
