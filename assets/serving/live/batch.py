"""The state that batch code gives for everything applied so far: what the incremental path is compared with.

Nothing here is shared with that path but the files it reads: rows come from the base and the landed Parquet by pandas,
histories and what users saw from :class:`~assets.stream.EngagementStream`, decayed counts from the counting models,
vectors from the trained net as evaluation calls it. Slow, obvious, and whole.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from assets.idmap import OOV
from assets.runs import places_in_runs
from assets.schema import Columns, ItemSlice
from assets.serving.live import batch_rows
from assets.serving.live.generation import OpenGeneration
from assets.serving.store.meta import EPOCH, WATERMARK, get_meta
from assets.stream import PADDING, Catalog, DatasetTables, EngagementStream, Int, Time, batches
from assets.training.checkpoints import load_counting, load_net, read_manifest_in
from assets.training.counting import CountAll, CountDecayed, weights
from assets.training.refresh import ItemHistories, Refresher, log_trend

ITEMS_AT_ONCE: Final = 4096
MICROSECOND: Final = np.timedelta64(1, "us")


@dataclass(frozen=True)
class BatchState:
    """What batch code makes of the same rows.

    Attributes:
        items: indexed by item id: ``title``, ``available`` (in the index, as of the watermark), ``first_engaged_at``
            and ``last_engaged_at`` (datetime64[us], NaT), ``total``, ``train_count``, ``decayed`` (as of the epoch) and
            ``trend`` (its smoothed logarithm).
        item_histories: ``item_id``, ``place`` (0 the oldest), ``user`` (dense id among the qualified users).
        user_histories: ``user_id``, ``place``, ``item_id``, ``timestamp``, ``value``, ``event`` (dense id of its type).
        seen: distinct ``user_id``, ``item_id``.
        sampled: [M] ids of the items that ``vectors`` are of.
        vectors: [M, D] without the trend.
        latest: latest timestamp among the rows; NaT without rows.
    """

    items: pd.DataFrame
    item_histories: pd.DataFrame
    user_histories: pd.DataFrame
    seen: pd.DataFrame
    sampled: NDArray[np.object_]
    vectors: NDArray[np.float32]
    latest: np.datetime64


def batch_state(opened: OpenGeneration, sample: int | None = None) -> BatchState:
    """Compute the state of ``opened`` anew from files; only the watermark and the trends' epoch are the store's.

    Args:
        sample: how many available items to embed, drawn alike each time; default: all.

    Raises:
        assets.serving.live.batch_rows.BatchError: when a landed file that was applied is missing.
    """
    with opened.store.read() as reader:
        watermark, epoch = (np.datetime64(get_meta(reader, name), "us") for name in (WATERMARK, EPOCH))
    rows = batch_rows.engagements(opened)
    items = batch_rows.items(opened, rows, watermark)
    work = _Work(opened, _dataset(rows, items, batch_rows.users(opened, rows)), epoch)
    sampled = _drawn(work.ids[items["available"].to_numpy(dtype=bool)], sample)
    return BatchState(
        items=work.item_table(items),
        item_histories=work.item_histories(),
        user_histories=work.user_histories(),
        seen=work.seen(),
        sampled=sampled,
        vectors=work.vectors(sampled),
        latest=work.stream.timestamps[-1] if len(work.stream) else np.datetime64("NaT", "us"),
    )


def _drawn(ids: NDArray[np.object_], count: int | None) -> NDArray[np.object_]:
    if count is None or count >= len(ids):
        return ids
    return ids[np.sort(np.random.default_rng(0).permutation(len(ids))[:count])]


class _Work:
    """Batch code over the rows."""

    def __init__(self, opened: OpenGeneration, tables: DatasetTables, epoch: np.datetime64) -> None:
        self.model, self.tables, self.epoch = opened.model, tables, epoch
        self.folder = opened.generation.checkpoint
        self.manifest = read_manifest_in(self.folder)
        self.stream, self.ids = tables.stream, tables.catalog.item_ids
        self.now = self.stream.timestamps[-1] + MICROSECOND if len(self.stream) else epoch
        self.train_counts = tables.catalog.train_count

    @cached_property
    def refresher(self) -> Refresher:
        return load_net(self.folder, self.manifest).over(self.tables).refresher

    def item_table(self, items: pd.DataFrame) -> pd.DataFrame:
        stream, trend = self.stream, self.model.trend
        decay = weights(CountDecayed(half_life_days=trend.half_life_days), stream.timestamps, self.epoch)
        by_item = pd.Series(stream.timestamps).groupby(stream.items)
        return pd.DataFrame(
            {
                Columns.TITLE: items[Columns.TITLE].to_numpy(dtype=object),
                "available": items["available"].to_numpy(dtype=bool),
                "first_engaged_at": by_item.min().reindex(range(stream.n_items)).to_numpy(dtype="datetime64[us]"),
                "last_engaged_at": by_item.max().reindex(range(stream.n_items)).to_numpy(dtype="datetime64[us]"),
                "total": np.bincount(stream.items, minlength=stream.n_items),
                "train_count": self.train_counts,
                "decayed": np.bincount(stream.items, decay, stream.n_items),
                "trend": log_trend(stream, self.epoch, trend),
            },
            index=pd.Index(self.ids, name=Columns.ITEM),
        )

    def item_histories(self) -> pd.DataFrame:
        rows, dense = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if self.manifest["kind"] == "net" and self.refresher.history_length:
            histories = ItemHistories.build(self.stream, self.refresher.universe.history_user_ids)
            everything = np.arange(self.stream.n_items)
            rows, dense = histories.latest(everything, self.now, self.refresher.history_length)
        return pd.DataFrame({Columns.ITEM: self.ids[rows], "place": _places(rows), "user": dense})

    def user_histories(self) -> pd.DataFrame:
        everybody = np.arange(self.stream.n_users)
        queries = self.stream.queries(everybody, self._instants(), self.model.user_history_length)
        rows, places = np.nonzero(queries.history_items != PADDING)
        return pd.DataFrame(
            {
                Columns.USER: self.tables.users[Columns.USER].to_numpy(dtype=object)[rows],
                "place": places,
                Columns.ITEM: self.ids[queries.history_items[rows, places]],
                Columns.TIMESTAMP: queries.history_timestamps[rows, places],
                Columns.VALUE: queries.history_values[rows, places],
                "event": self._event_ids()[queries.history_events[rows, places]],
            }
        )

    def seen(self) -> pd.DataFrame:
        rows, items = self.stream.seen_pairs(np.arange(self.stream.n_users), self._instants())
        user_ids = self.tables.users[Columns.USER].to_numpy(dtype=object)
        return pd.DataFrame({Columns.USER: user_ids[rows], Columns.ITEM: self.ids[items]}).drop_duplicates()

    def vectors(self, item_ids: NDArray[np.object_]) -> NDArray[np.float32]:
        """[M, D] without the trend."""
        rows = pd.Index(self.ids).get_indexer(pd.Index(item_ids))
        if self.manifest["kind"] == "counting":
            return self._count_vectors()[rows]
        dim = self.model.dimension
        net = load_net(self.folder, self.manifest).net.eval()
        parts = [np.zeros((0, dim), np.float32)]
        with torch.inference_mode():
            for part in batches(len(rows), ITEMS_AT_ONCE):
                inputs = self.refresher.inputs(rows[part], self.stream, self.now)
                inputs = replace(inputs, counts=torch.from_numpy(self.train_counts[rows[part]]).float())
                parts.append(net.item_vectors(inputs)[:, :dim].float().numpy())
        return np.concatenate(parts)

    def _count_vectors(self) -> NDArray[np.float32]:
        counting = load_counting(self.manifest)
        if not isinstance(counting.config, CountAll):
            return np.zeros((len(self.ids), 0), np.float32)  # nothing but the trend
        return np.log(self.train_counts + counting.smoothing).astype(np.float32)[:, None]

    def _event_ids(self) -> Int:
        """[V] dense ids of the stream's event types; a counting model knows none."""
        if self.manifest["kind"] == "counting":
            return np.full(len(self.stream.event_types), OOV)
        return self.refresher.universe.event_ids

    def _instants(self) -> Time:
        return np.full(self.stream.n_users, self.now, "datetime64[us]")


def _dataset(rows: pd.DataFrame, items: pd.DataFrame, everybody: pd.DataFrame) -> DatasetTables:
    frame = items.copy()
    frame[Columns.AVAILABLE_AT] = frame[Columns.CREATED_AT]
    frame[Columns.FIRST_ENGAGED_AT], frame[Columns.SLICE] = pd.NaT, ItemSlice.COLD.value
    return DatasetTables(
        stream=EngagementStream.from_tables(rows, everybody, items),
        catalog=Catalog.from_table(frame),
        users=everybody,
        interactions=rows,
        cutoff=np.datetime64("NaT", "us"),
        validation_start=np.datetime64("NaT", "us"),
    )


def _places(rows: Int) -> Int:
    """[E] position of each entry within its run of equal, ascending ``rows``."""
    counts = np.bincount(rows) if len(rows) else np.zeros(0, np.int64)
    return places_in_runs(counts)
