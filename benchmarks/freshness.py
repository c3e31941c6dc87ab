"""What keeping items fresh costs: logging engagements, embedding items again, and both as the catalog grows.

    python benchmarks/freshness.py [--catalogs 10000 100000 1000000] [--figure docs/images/incremental-cost.png]

On made-up items and users whose histories are full, with the real store, feature logging and embedder; see
``benchmarks/made_up_store.py``. Every measurement has a process of its own. Times include the commits. Beside each
stands the plain way in the same run: a loop over engagements, one item at a time, a full rebuild. Other work on the
machine shows in wall time; CPU time is that of all threads of the process.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import FreshnessConfig, TriggerConfig
from assets.serving.live.embedder import item_vectors
from assets.serving.live.features import BatchRows, FeatureConfig, log_features
from assets.serving.live.ledger import BatchInfo
from assets.serving.live.model import LiveModel
from assets.serving.live.refresh import refresh_embeddings
from assets.serving.live.rows import Rows
from assets.serving.store.interface import Table, Writer
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.records import ENTRY, USER_ENTRY, Records, id_keys, number_keys
from benchmarks.incremental import CATALOGS, TOUCHED, draw, incremental_cost, tables
from benchmarks.made_up_store import DAY, START, Sizes, engagements, fill_store, random_model
from benchmarks.measuring import Cost, in_child, machine, metered, peak_mib, verdict
from models.base import OOV

LOGGING: Final = Sizes(items=10_000, users=16_000, item_history=100, user_history=100)
EMBEDDING: Final = Sizes(items=40_000, users=16_000, item_history=30, user_history=50)
LOGGED_PER_SECOND: Final = 50_000
EMBEDDED_PER_SECOND: Final = 20_000
"""The bars."""

ROWS_PER_BATCH: Final = 100_000
BATCHES: Final = 5
PLAIN_ROWS: Final = 5_000
PLAIN_ITEMS: Final = 500
"""How much of the work the plain ways do: a fair sample of it."""


@dataclass(frozen=True)
class Rate:
    """Work done and what it took."""

    done: int
    cost: Cost

    @property
    def per_second(self) -> float:
        return self.done / self.cost.wall

    @property
    def per_cpu_second(self) -> float:
        return self.done / self.cost.cpu


@dataclass(frozen=True)
class Measured:
    """Rates by what was done; the last one is the plain way's."""

    rates: dict[str, Rate]
    peak_mib: float


def measure_logging(sizes: Sizes, rows: int, count: int, plain_rows: int) -> Measured:
    """Log batches of engagements, items drawn with a skew, one day each; the first batch warms up.

    Args:
        rows: of a batch.
        count: batches measured.
        plain_rows: engagements of the loop.
    """
    with tempfile.TemporaryDirectory() as folder, LmdbStore(Path(folder)) as store:
        model = random_model(sizes)
        fill_store(store, model, sizes)
        config = FeatureConfig(
            item_history_length=sizes.item_history,
            user_history_length=sizes.user_history,
            event_types=model.event_types,
            half_life_days=model.trend.half_life_days,
            retention_us=365 * DAY,
            trigger=TriggerConfig(),
        )
        reading, logging = Cost(), Cost()
        for number in range(1 + count):
            table = day_of_engagements(sizes, rows, number)
            with metered() as read:
                batch = whole_batch(Rows.from_table(table), f"{number:064}")
            with metered() as logged:
                (entry,) = log_features(store, [batch], model.history_users, config, START)
            assert entry.applied == rows
            if number:
                reading, logging = reading + read, logging + logged
        table = day_of_engagements(sizes, plain_rows, count + 1)
        with metered() as plain, store.write() as writer:
            loop_over_rows(writer, Rows.from_table(table), model, sizes)
        rates = {
            "log_features": Rate(rows * count, logging),
            "with digests of the rows": Rate(rows * count, reading + logging),
            "loop over engagements": Rate(plain_rows, plain),
        }
        return Measured(rates, peak_mib())


def day_of_engagements(sizes: Sizes, rows: int, day: int) -> pa.Table:
    """Engagements of one day after the start, no two alike."""
    random = np.random.default_rng(day)
    items = (sizes.items * random.random(rows) ** 3).astype(np.int64)
    return engagements(items, random.integers(0, sizes.users, rows), START + day * DAY, DAY, (1 << 40) + day * rows)


def whole_batch(rows: Rows, digest: str) -> BatchRows:
    """A batch of which every row is to be applied."""
    info = BatchInfo(
        digest=digest,
        kind="engagements",
        partition="2024-01-01",
        source="made up",
        rows=len(rows),
        landed_at=START,
        seen_at=START,
    )
    return BatchRows(info, rows)


def loop_over_rows(writer: Writer, rows: Rows, model: LiveModel, sizes: Sizes) -> None:
    """The plain way with a part of the work: each engagement reads and writes the two histories that it extends."""
    columns = (rows.users, rows.items, rows.timestamps, rows.source_rows, rows.values, rows.events)
    for user, item, timestamp, row, value, event in zip(*columns, strict=True):
        (user_key,) = id_keys([user])
        item_key = writer.get(Table.NUMBERS, item.encode())
        assert item_key is not None
        number, owner = int.from_bytes(item_key, "big"), int(model.history_users.encode([user])[0])
        bought = np.array([(timestamp, row, number, int(model.event_types.encode([event])[0]), value)], USER_ENTRY)
        _append(writer, Table.USER_HISTORIES, user_key, bought, sizes.user_history)
        if owner != OOV:
            read = np.array([(timestamp, row, owner)], ENTRY)
            _append(writer, Table.ITEM_HISTORIES, item_key, read, sizes.item_history)


def _append(writer: Writer, table: Table, key: bytes, entry: Records, length: int) -> None:
    old = np.frombuffer(writer.get(table, key) or b"", entry.dtype)
    writer.put(table, key, np.append(old, entry)[-length:].tobytes())


def measure_embedding(sizes: Sizes, threads: int, plain_items: int) -> Measured:
    """Embed every item of a store: vectors alone, then the refresh that also writes them and their delta.

    Args:
        plain_items: items that are embedded one at a time.
    """
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, LmdbStore(Path(folder)) as store:
        model = random_model(sizes)
        fill_store(store, model, sizes)
        numbers = np.random.default_rng(0).permutation(sizes.items)
        with store.read() as reader:
            assert (
                len(reader.get(Table.ITEM_HISTORIES, number_keys([0])[0]) or b"") == sizes.item_history * ENTRY.itemsize
            )
            item_vectors(reader, model, numbers[:100])  # warm-up
            with metered() as embedded:
                item_vectors(reader, model, numbers)
            with metered() as plain:
                for number in numbers[:plain_items]:
                    item_vectors(reader, model, np.array([number]))
        with metered() as refreshed:
            done = refresh_embeddings(store, model, FreshnessConfig(), START, lambda: START)
        assert done.embedded == sizes.items
        rates = {
            "item_vectors": Rate(sizes.items, embedded),
            "refresh, vectors and delta written": Rate(sizes.items, refreshed),
            "one item at a time": Rate(plain_items, plain),
        }
        return Measured(rates, peak_mib())


def table_of(measured: Measured, bar: float) -> str:
    """Rates, how many times the plain way each is, and whether the first one meets its bar."""
    names, plain = list(measured.rates), list(measured.rates.values())[-1]
    rows = []
    for name, rate in measured.rates.items():
        met = verdict(rate.per_second >= bar) if name == names[0] else None
        times = None if rate is plain else rate.per_cpu_second / plain.per_cpu_second
        rows.append([name, rate.per_second, rate.per_cpu_second, times, met])
    headers = ["", "/s", "/CPU s", "times the plain way", f"at least {bar:,.0f}/s"]
    return tabulate(rows, headers, floatfmt=",.0f", tablefmt="github", missingval="") + (
        f"\npeak memory {measured.peak_mib:,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of embedding")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"of {ROWS_PER_BATCH:,} engagements")
    parser.add_argument("--catalogs", type=int, nargs="*", default=CATALOGS, help="items; none: leave this part out")
    parser.add_argument("--touched", type=int, nargs="+", default=TOUCHED, help="items that a batch touches")
    parser.add_argument("--figure", type=Path, help="write a figure of the last part")
    options = parser.parse_args()
    print(f"Feature logging: batches of {ROWS_PER_BATCH:,} engagements, {LOGGING}, histories full; {machine()}")
    logged = in_child(measure_logging, LOGGING, ROWS_PER_BATCH, options.batches, PLAIN_ROWS)
    print(table_of(logged, LOGGED_PER_SECOND), flush=True)
    print(f"\nEmbedding items: {EMBEDDING}, {options.threads} threads; {machine()}")
    print(table_of(in_child(measure_embedding, EMBEDDING, options.threads, PLAIN_ITEMS), EMBEDDED_PER_SECOND))
    if not options.catalogs:
        return
    print(f"\nIncremental cost: a batch with two engagements for each item that it touches; {machine()}", flush=True)
    found = [in_child(incremental_cost, items, tuple(options.touched)) for items in options.catalogs]
    print(tables(found))
    if options.figure is not None:
        print(f"figure: {draw(found, options.figure)}")


if __name__ == "__main__":
    main()
