"""What a batch costs beside a full rebuild, as the catalog grows: a part of ``benchmarks/freshness.py``.

A batch goes through feature logging, embedding and the index, with a commit after each of the first two. A full rebuild
knows every feature, embeds every item and builds the index: less than what a rebuild really takes, which also logs
every engagement, tunes the index and measures it. What a step of a run needs before it touches anything, the loaded
checkpoint, is a column of its own: it costs what the id maps hold.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from assets.config import FreshnessConfig
from assets.serving.ivf_index import IvfIndex
from assets.serving.live.apply import feature_config
from assets.serving.live.features import BatchRows, log_features
from assets.serving.live.generation import OpenGeneration
from assets.serving.live.ledger import BatchInfo
from assets.serving.live.maintain import indexable
from assets.serving.live.model import LiveModel
from assets.serving.live.refresh import refresh_embeddings
from assets.serving.live.rows import Rows
from assets.serving.store.deltas import deltas_after, drop_deltas
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import EPOCH, get_meta
from benchmarks.made_up_store import DAY, SECOND, START, Sizes, engagements, fill_store, opened, random_net, save_net
from benchmarks.measuring import Cost, metered, peak_mib, verdict

CATALOGS: Final = (10_000, 100_000, 1_000_000)
TOUCHED: Final = (10, 100, 1_000, 10_000)
REPEATS: Final = 5
"""Batches of each size, after one that warms up; the median counts."""

ENGAGEMENTS_PER_ITEM: Final = 2
USERS: Final = 20_000
HISTORY: Final = 30
CHEAPER: Final = 50
"""The bar: a rebuild costs at least so many times a batch that touches a thousandth of the catalog."""


@dataclass(frozen=True)
class Steps:
    """What one batch cost, step by step."""

    features: Cost
    embedding: Cost
    index: Cost

    @property
    def total(self) -> Cost:
        return self.features + self.embedding + self.index


@dataclass(frozen=True)
class CatalogCost:
    """What was measured with one catalog.

    Attributes:
        items: in the catalog.
        touched: number of items touched -> what the median batch cost.
        opening: the checkpoint, once per step of a run, whatever it touches.
        embedding: of every item, written with its delta.
        index: built from the store.
        store_mib: size of the store's file.
        filled_mib: peak memory when the store was filled, before anything was measured.
        peak_mib: at the end.
    """

    items: int
    touched: dict[int, Steps]
    opening: Cost
    embedding: Cost
    index: Cost
    store_mib: float
    filled_mib: float
    peak_mib: float

    @property
    def rebuild(self) -> Cost:
        return self.embedding + self.index

    def cheaper(self, touched: int) -> tuple[float, float]:
        """How many times a batch's wall time and CPU time a rebuild takes."""
        batch = self.touched[touched].total
        return self.rebuild.wall / batch.wall, self.rebuild.cpu / batch.cpu


def incremental_cost(items: int, touched: tuple[int, ...] = TOUCHED, repeats: int = REPEATS) -> CatalogCost:
    """Fill a store of ``items``, rebuild it, then apply batches that touch so many items each.

    Args:
        touched: numbers of items; those larger than the catalog are left out.
    """
    sizes = Sizes(items, USERS, HISTORY, 50)
    with tempfile.TemporaryDirectory() as folder, LmdbStore(Path(folder) / "store") as store:
        save_net(Path(folder) / "checkpoint", random_net(sizes))
        with metered() as opening:
            model = LiveModel.load(Path(folder) / "checkpoint")
        generation = opened(Path(folder), store, model)
        fill_store(store, generation.model, sizes)
        filled = peak_mib()
        with metered() as embedding:
            done = refresh_embeddings(store, generation.model, FreshnessConfig(), START, lambda: START)
        assert done.embedded == items
        index = IvfIndex(generation.model.index_dimension)
        with metered() as building, store.read() as reader:
            index.build(*indexable(reader, generation, get_meta(reader, EPOCH)))
        with store.write() as writer:
            drop_deltas(writer, done.seq or 0)
        costs: dict[int, Steps] = {}
        for place, count in enumerate(count for count in touched if count <= items):
            batches = [_apply(generation, index, sizes, count, place * (1 + repeats) + at) for at in range(1 + repeats)]
            costs[count] = _median(batches[1:])
        size = sum(path.stat().st_size for path in store.path.iterdir()) / 2**20
        return CatalogCost(items, costs, opening, embedding, building, size, filled, peak_mib())


def _apply(generation: OpenGeneration, index: IvfIndex, sizes: Sizes, count: int, day: int) -> Steps:
    """One batch that touches ``count`` items, its engagements on a day of their own."""
    store, model, now = generation.store, generation.model, START + (1 + day) * SECOND
    random = np.random.default_rng(day)
    items = np.repeat(random.permutation(sizes.items)[:count], ENGAGEMENTS_PER_ITEM)
    users = random.integers(0, sizes.users, len(items))
    table = engagements(items, users, START + day * DAY, DAY, (1 << 40) + (day << 24))
    info = BatchInfo(
        digest=f"{day:064}",
        kind="engagements",
        partition=str(day),
        source="made up",
        rows=len(items),
        landed_at=now,
        seen_at=now,
    )
    with metered() as features:
        batch, config = BatchRows(info, Rows.from_table(table)), feature_config(model, FreshnessConfig())
        (entry,) = log_features(store, [batch], model.history_users, config, now)
    with metered() as embedding:
        refreshed = refresh_embeddings(store, model, FreshnessConfig(), now, lambda: now)
    assert (entry.items_touched, refreshed.embedded) == (count, count)
    with metered() as indexing:
        with store.read() as reader:
            (delta,) = deltas_after(reader, (refreshed.seq or 0) - 1)
        index.apply(index.prepare(delta.ids, delta.vectors, delta.removed))
    return Steps(features, embedding, indexing)


def _median(batches: list[Steps]) -> Steps:
    return Steps(
        Cost.median([batch.features for batch in batches]),
        Cost.median([batch.embedding for batch in batches]),
        Cost.median([batch.index for batch in batches]),
    )


def tables(found: list[CatalogCost]) -> str:
    """What batches and rebuilds cost, per catalog, in milliseconds and seconds."""
    batches = [
        [
            f"{catalog.items:,}",
            f"{count:,}",
            *(1e3 * cost.wall for cost in (steps.features, steps.embedding, steps.index, steps.total)),
            1e3 * steps.total.cpu,
            *catalog.cheaper(count),
            verdict(min(catalog.cheaper(count)) >= CHEAPER) if count * 1000 == catalog.items else None,
        ]
        for catalog in found
        for count, steps in catalog.touched.items()
    ]
    names = ["catalog", "touched", "features ms", "embedding ms", "index ms", "all ms", "all CPU ms"]
    names += ["rebuild: times", "CPU times", f"0.1 %: at least {CHEAPER}"]
    rebuilds = [
        [
            f"{catalog.items:,}",
            catalog.opening.wall,
            catalog.embedding.wall,
            catalog.index.wall,
            catalog.rebuild.wall,
            catalog.rebuild.cpu,
            catalog.store_mib,
            catalog.filled_mib,
            catalog.peak_mib,
        ]
        for catalog in found
    ]
    whole = ["catalog", "open checkpoint s", "embed all s", "build index s", "rebuild s", "rebuild CPU s"]
    whole += ["store MiB", "peak MiB, filled", "peak MiB"]
    return "\n\n".join(
        tabulate(rows, headers, floatfmt=",.1f", tablefmt="github", missingval="", disable_numparse=texts)
        for rows, headers, texts in ((batches, names, [0, 1]), (rebuilds, whole, [0]))
    )


def draw(found: list[CatalogCost], path: Path) -> Path:
    """Milliseconds of a batch by what it touched, a line per catalog, and rebuilds as dashes; returns ``path``."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
        colors = plt.get_cmap("viridis")(np.linspace(0.1, 0.8, len(found)))
        for catalog, color, marker in zip(found, colors, "os^D" * len(found), strict=False):
            counts = list(catalog.touched)
            costs = [1e3 * catalog.touched[count].total.wall for count in counts]
            axes.plot(counts, costs, marker=marker, color=color, label=f"{catalog.items:,} items")
            axes.axhline(1e3 * catalog.rebuild.wall, color=color, linestyle="--", linewidth=1)
            axes.annotate(
                f"full rebuild of {catalog.items:,}",
                (counts[0], 1e3 * catalog.rebuild.wall),
                xytext=(0, 3),
                textcoords="offset points",
                color=color,
            )
        axes.set(xscale="log", yscale="log", xlabel="items that a batch touches", ylabel="milliseconds (log scale)")
        axes.set_title("A batch costs what it touches: features, embedding and index, commits included", loc="left")
        axes.legend(title="catalog", frameon=False, loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path
