"""Sizing on paper: what a workload far past one machine would take, from costs measured on two cores.

    python -m benchmarks.sizing            # prints the tables
    python -m benchmarks.sizing --write    # puts them into docs/scale.md

Costs per unit are measured here (each names its source); the workload and prices are assumptions, named as such. Cores
are those of the machine of the measurements, all of them busy: nothing is added for failures or for growth but
:attr:`Workload.headroom`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from assets.config import PROJECT_ROOT
from assets.serving.store.records import ENTRY, ITEM, USER_ENTRY
from benchmarks.marked import replace_marked

PAGE: Final = PROJECT_ROOT / "docs" / "scale.md"
DAY: Final = 86_400.0
MONTH: Final = 30 * DAY
FLOAT: Final = 4
GIB: Final = 2.0**30
MOMENTS: Final = 2
"""Of Adam, as large as the table each."""
RANKS_PER_BIN: Final = 1.001
"""Popularity ranks are taken together while they differ by at most a thousandth."""


@dataclass(frozen=True)
class Workload:
    """What is asked of the system; assumptions.

    Attributes:
        items, users: of the catalog and of the id tables.
        engagements: per second.
        zipf_exponent: of the popularity of items; MovieTweetings' slope is .92.
        minimum_interval: seconds between two embeddings of one item (``freshness.trigger.minimum_interval_seconds``).
        requests_per_user: per day.
        peak: requests at the busiest time over their mean.
        dimension: D of embeddings, with the trend.
        item_history, user_history: entries kept per item and user.
        train_days: of engagements that one training reads.
        retrain_days: between two trainings.
        shard_items: items of one shard of the index.
        replicas: of every shard and store.
        headroom: of all that serves, divided by what is needed at the peak.
    """

    items: float = 1e8
    users: float = 1e9
    engagements: float = 1e6
    zipf_exponent: float = 0.92
    minimum_interval: float = 60.0
    requests_per_user: float = 10.0
    peak: float = 3.0
    dimension: int = 64
    item_history: int = 30
    user_history: int = 50
    train_days: float = 30.0
    retrain_days: float = 7.0
    shard_items: float = 1e7
    replicas: int = 2
    headroom: float = 2.0


@dataclass(frozen=True)
class UnitCosts:
    """Core seconds and bytes per unit, measured on two cores (docs/benchmarks.md, docs/freshness.md).

    Attributes:
        ingest: core seconds per engagement, CSV to canonical Parquet.
        transform: of dbt on DuckDB, all models and tests, two cores for 4.7 s per million.
        check: of suites and leakage rules at ten million.
        train: of one epoch of ``sasrec``, two cores at 10,200 engagements/s in a catalog of 200,000.
        log_features: of a writer of the store, 243,000 engagements/s.
        embed: of one item with L = 30 and D = 64, vectors and delta written, 37,800 items/s.
        upsert: of one vector into an index that is searched meanwhile, 58,300/s.
        search: of one query among ``search_items`` vectors, .22 ms; taken to grow with the root of their number, as IVF
            lists do when there are as many as each is long.
        parquet: bytes of an engagement, simulated, zstd.
        store_item: bytes of an item's features, history and vector in the store, 1.75 GB of a million.
    """

    ingest: float = 1 / 1.2e6
    transform: float = 2 * 4.7e-6
    check: float = 15.8e-6
    train: float = 2 / 10_200
    log_features: float = 1 / 243_000
    embed: float = 1 / 37_800
    upsert: float = 1 / 58_300
    search: float = 0.22e-3
    search_items: float = 1e6
    parquet: float = 8.0
    store_item: float = 1_750.0


@dataclass(frozen=True)
class Prices:
    """Assumed list prices of a cloud, US dollars; put your own here.

    Attributes:
        core_hour: of one core with 4 GiB of memory beside it.
        gib_hour: of a further GiB of memory.
        object_gib_month: of object storage.
    """

    core_hour: float = 0.04
    gib_hour: float = 0.005
    object_gib_month: float = 0.023
    gib_per_core: float = 4.0

    def month(self, cores: float, memory: float) -> float:
        """Dollars of 30 days for ``cores`` and ``memory`` bytes held all the time."""
        beyond = max(0.0, memory / GIB - cores * self.gib_per_core)
        return (cores * self.core_hour + beyond * self.gib_hour) * MONTH / 3600


@dataclass(frozen=True)
class Part:
    """One part of the system: what drives it, and what it takes.

    Attributes:
        load: how often its unit of work comes.
        cores: kept busy all the time.
        memory, stored: bytes, in memory and in object storage.
    """

    name: str
    load: str
    cores: float
    memory: float = 0.0
    stored: float = 0.0


def touched_items(items: float, rate: float, seconds: float, exponent: float) -> float:
    """Expected number of distinct items that ``rate * seconds`` engagements touch, popularity ``rank ** -exponent``.

    Engagements are drawn independently: an item of probability p is met with probability 1 - exp(-p * rate * seconds).
    """
    edges, ranks = _bins(items)
    weights = ranks**-exponent
    chances = weights / (weights * edges).sum()
    return float((edges * -np.expm1(-chances * rate * seconds)).sum())


def _bins(items: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """([B] ranks taken together, [B] the rank that stands for them)."""
    bounds = [1]
    while bounds[-1] <= items:
        bounds.append(max(bounds[-1] + 1, int(bounds[-1] * RANKS_PER_BIN)))
    ends = np.minimum(np.array(bounds, np.float64), items + 1)
    return np.diff(ends), (ends[:-1] + ends[1:] - 1) / 2


def parts(load: Workload, cost: UnitCosts) -> list[Part]:
    """Every part of the system under a workload."""
    return [*_offline(load, cost), *_fresh(load, cost), *_serving(load, cost)]


def _offline(load: Workload, cost: UnitCosts) -> list[Part]:
    daily = load.engagements * DAY
    trained, between = daily * load.train_days, load.retrain_days * DAY
    retrained = f"{trained:.3g} rows every {load.retrain_days:g} days"
    tables = (load.items + load.users) * load.dimension * FLOAT
    return [
        Part("ingestion", f"{daily:.3g} rows a day", load.engagements * cost.ingest, stored=trained * cost.parquet),
        Part("transforms, from nothing", retrained, trained * cost.transform / between, stored=trained * cost.parquet),
        Part("quality checks", retrained, trained * cost.check / between),
        Part("training, one epoch", retrained, trained * cost.train / between, memory=(1 + MOMENTS) * tables),
    ]


def _fresh(load: Workload, cost: UnitCosts) -> list[Part]:
    embedded = touched_items(load.items, load.engagements, load.minimum_interval, load.zipf_exponent)
    rate = embedded / load.minimum_interval
    store = load.items * cost.store_item + load.users * load.user_history * USER_ENTRY.itemsize
    return [
        Part(
            "feature logging",
            f"{load.engagements:.3g} engagements/s",
            load.headroom * load.engagements * cost.log_features,
            memory=load.replicas * store,
        ),
        Part(
            "embedding touched items",
            f"{rate:.3g} items/s",
            load.headroom * rate * cost.embed,
            memory=load.users * load.dimension * FLOAT,
        ),
        Part("index updates", f"{rate:.3g} upserts/s", load.headroom * load.replicas * rate * cost.upsert),
    ]


def _serving(load: Workload, cost: UnitCosts) -> list[Part]:
    requests = load.peak * load.users * load.requests_per_user / DAY
    shards = load.items / load.shard_items
    search = cost.search * (load.shard_items / cost.search_items) ** 0.5
    return [
        Part(
            f"search, {shards:g} shards of {load.shard_items:.3g}",
            f"{requests:.3g} requests/s at the peak",
            load.headroom * requests * shards * search,
            memory=load.replicas * load.items * load.dimension * FLOAT,
        )
    ]


def tables(load: Workload, cost: UnitCosts, prices: Prices) -> str:
    """The tables of the page, Markdown."""
    every = parts(load, cost)
    rows = [_row(part, dollars(part, prices)) for part in every]
    total = Part("**all**", "", *(sum(getattr(part, name) for part in every) for name in ("cores", "memory", "stored")))
    # Not of the sums: memory that one part leaves unused is on other machines than the part that wants more.
    together = sum(dollars(part, prices) for part in every)
    head = ["part", "load", "cores", "memory, TiB", "object storage, TiB", "dollars a month"]
    return tabulate([*rows, _row(total, together)], head, tablefmt="pipe", disable_numparse=True)


def dollars(part: Part, prices: Prices) -> float:
    """What a part costs a month, on machines of its own."""
    return prices.month(part.cores, part.memory) + part.stored / GIB * prices.object_gib_month


def _row(part: Part, month: float) -> Sequence[str]:
    sizes = [f"{size / 2**40:,.2f}" if size else "" for size in (part.memory, part.stored)]
    return [part.name, part.load, f"{part.cores:,.0f}", *sizes, f"{month:,.0f}"]


def bytes_per_entry() -> str:
    """What an entry of each history takes, of which sizes are made."""
    return f"item history {ENTRY.itemsize} B, user history {USER_ENTRY.itemsize} B, an item's record {ITEM.itemsize} B"


def section() -> str:
    """What stands between the marks of the page."""
    load, cost, prices = Workload(), UnitCosts(), Prices()
    touched = touched_items(load.items, load.engagements, load.minimum_interval, load.zipf_exponent)
    return "\n\n".join(
        [
            tables(load, cost, prices),
            f"Within {load.minimum_interval:g} s, {load.engagements * load.minimum_interval:.3g} engagements touch"
            f" {touched:.3g} distinct items of {load.items:.3g} (Zipf exponent {load.zipf_exponent:g}). Records:"
            f" {bytes_per_entry()}.",
            f"Prices assumed: {prices.core_hour} a core and hour with {prices.gib_per_core:g} GiB, {prices.gib_hour} a"
            f" further GiB and hour, {prices.object_gib_month} a GiB of object storage and month.",
        ]
    )


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put them into docs/scale.md")
    made = section()
    print(made)
    if parser.parse_args().write:
        replace_marked(PAGE, "sizing", made)


if __name__ == "__main__":
    main()
