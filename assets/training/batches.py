"""Training batches from precomputed arrays: no per-row Python. One iteration over a batch source is one epoch.

The regime is the one that serves: a batch holds engagements between one daily refresh and the next,
and reads of the items only what was known at that refresh, of the users what was known at each engagement.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.runs import spans
from assets.stream import PADDING, Catalog, EngagementStream, Int, Time, start_of_day, with_requests
from assets.training.chances import Chances
from assets.training.encoding import Universe
from assets.training.item_times import ItemTimes
from assets.training.negatives import inverse_frequency, rebalanced
from assets.training.refresh import ItemHistories, Refresher
from models.base import Features, TrainBatch, UserInputs


class BatchSource(Protocol):
    """Training batches; one iteration is one epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class TimedTargets:
    """Engagements as targets, grouped by refresh and, within a group, by window of their user's history.

    A group holds at most ``batch_size`` consecutive engagements of one UTC day. Left out: engagements on items that are
    not on the catalog at their refresh (there is no vector to score then, and as positives they would teach that
    unknown items are popular), and repeats, which evaluation leaves out too.

    A history is cut into windows of at most L entries. A target whose history holds e entries (strictly earlier in
    time, so targets with equal timestamps share one history) belongs to the window that starts at c * (L // 2) for the
    smallest c that reaches e. So it is encoded with all its history or at least half of the longest window, and one
    encoded window serves all its targets of the day.

    Attributes:
        refreshes: [G] instant of each group.
        targets: [T] positions in the stream, grouped, then by window.
        group_offsets: [G + 1] where each group's windows start in the next three.
        starts: [W] where each window starts in ``stream.by_user``.
        lengths: [W] its entries.
        offsets: [W + 1] where each window's targets start.
        positions: [T] entries of the window strictly before the target.
        ends: [T] where all that the target's user had done before it ends in ``stream.by_user``.
    """

    refreshes: Time
    targets: Int
    group_offsets: Int
    starts: Int
    lengths: Int
    offsets: Int
    positions: Int
    ends: Int

    @classmethod
    def build(
        cls,
        stream: EngagementStream,
        catalog: Catalog,
        length: int,
        batch_size: int,
        since: np.datetime64 | None = None,
    ) -> Self:
        """Group every engagement of ``stream`` that can be a target, those before ``since`` left out.

        Raises:
            ValueError: when there is none.
        """
        days = start_of_day(stream.timestamps)
        kept = np.flatnonzero(_is_target(stream, catalog, days))
        kept = kept[kept >= len(stream) - len(stream.since(since))]
        if not len(kept):
            raise ValueError("no engagement is on an item that existed at the start of its day: nothing to train on")
        group = _groups(days[kept], batch_size)
        users = stream.users[kept]
        begins, ends = stream.history_bounds(users, stream.timestamps[kept])
        stride = max(1, length // 2)
        window = np.maximum(0, -((length - (ends - begins)) // stride))  # [T] ceil((e - L) / stride)
        starts = begins + window * stride
        positions = ends - starts
        order = np.lexsort((positions, window, users, group))
        keys = np.stack([group[order], users[order], window[order]])  # [3, T]
        first = np.ones(len(order), np.bool_)
        first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        offsets = np.append(np.flatnonzero(first), len(order)).astype(np.int64)
        window_group = group[order][offsets[:-1]]
        return cls(
            refreshes=days[kept][np.flatnonzero(np.diff(group, prepend=-1))],
            targets=kept[order],
            group_offsets=np.searchsorted(window_group, np.arange(window_group[-1] + 2)).astype(np.int64),
            starts=starts[order][offsets[:-1]],
            lengths=positions[order][offsets[1:] - 1],
            offsets=offsets,
            positions=positions[order],
            ends=ends[order],
        )

    def __len__(self) -> int:
        return len(self.refreshes)


def _is_target(stream: EngagementStream, catalog: Catalog, days: Time) -> NDArray[np.bool_]:
    """[E] whether the item is on the catalog at the refresh and its user has not engaged with it strictly before."""
    pair = stream.users * stream.n_items + stream.items
    order = np.argsort(pair, kind="stable")  # in time order within a pair
    begins = np.flatnonzero(np.diff(pair[order], prepend=-1))
    first = np.repeat(stream.timestamps[order][begins], np.diff(np.append(begins, len(order))))
    fresh = np.empty(len(stream), np.bool_)
    fresh[order] = stream.timestamps[order] == first
    return fresh & (catalog.available_at[stream.items] <= days)


def _groups(days: Time, batch_size: int) -> Int:
    """[T] group of each ascending day: as few groups per day as hold ``batch_size`` each, as equal as can be."""
    _, first, day, counts = np.unique(days, return_index=True, return_inverse=True, return_counts=True)
    parts = -(-counts // batch_size)
    within = np.arange(len(days)) - first[day]
    return np.concatenate([[0], np.cumsum(parts)])[day] + within * parts[day] // counts[day]


@dataclass(frozen=True)
class Draws:
    """What a batch draws.

    Attributes:
        kind: ``none`` (every item of the catalog is a candidate), ``shared`` (``count`` negatives per batch),
            ``each`` (one per target) or ``targets`` (the other rows' targets are the negatives).
        count: of ``shared``.
        power: negatives are drawn by (engagements before the refresh + 1) ** power.
        tail_max_count: engagements of the most popular tail item, for the rebalanced sample.
    """

    kind: str
    count: int
    power: float
    tail_max_count: int


class TimedBatches:
    """Groups of :class:`TimedTargets` in a new order every epoch, as :class:`models.base.TrainBatch`."""

    def __init__(
        self,
        known: EngagementStream,
        catalog: Catalog,
        refresher: Refresher,
        draws: Draws,
        history_length: int,
        batch_size: int,
        seed: int,
        since: np.datetime64 | None = None,
    ) -> None:
        self.known = known
        self.catalog = catalog
        self.refresher = refresher
        self.universe: Universe = refresher.universe
        self.draws = draws
        self.reads_users = history_length > 0
        self.groups = TimedTargets.build(known, catalog, max(1, history_length), batch_size, since)
        self.item_histories = ItemHistories.build(known, self.universe.history_user_ids)
        self.train_counts = np.bincount(known.since(since).items, minlength=known.n_items)
        self.generator = torch.Generator().manual_seed(seed)
        self.times = None if draws.kind == "none" else ItemTimes.build(known)
        self.chances = None
        if self.times is not None and draws.kind in {"shared", "each"}:
            self.chances = Chances(known, catalog, self.times, self.groups.refreshes, draws.power)

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[TrainBatch]:
        for group in torch.randperm(len(self), generator=self.generator).tolist():
            yield self.batch(group)

    def batch(self, group: int) -> TrainBatch:
        """The batch of one group."""
        data, stream = self.groups, self.known
        instant = data.refreshes[group]
        windows = np.arange(data.group_offsets[group], data.group_offsets[group + 1])
        chosen = np.arange(data.offsets[windows[0]], data.offsets[windows[-1] + 1])
        engagements = data.targets[chosen]  # [T] positions in the stream
        targets = stream.items[engagements]  # [T] universe rows
        places = self._places(windows)  # [B, L] positions in the stream
        history = _gather(stream.items, places, PADDING)  # [B, L] universe rows
        known = stream.before(instant)
        negatives = np.zeros(0, np.int64) if self.chances is None else self._negatives(self.chances, instant, targets)
        rows, candidates = self._rows(instant, targets, negatives, history)
        column = np.full(stream.n_items, PADDING, np.int64)
        column[rows] = np.arange(len(rows))
        seen = self._seen(chosen, column, candidates)
        users = torch.from_numpy(stream.users[stream.by_user[data.starts[windows]]])  # [B] universe rows
        train_counts = self.train_counts[targets]
        return TrainBatch(
            items=self.refresher.inputs(rows, known, instant, self.item_histories, self.times),
            candidates=candidates,
            users=UserInputs(
                ids=self.universe.user_ids[users],
                features=_take(self.universe.user_features, users),
                history=torch.from_numpy(np.where(history == PADDING, PADDING, column[history])),
                times=torch.from_numpy(self._times(windows, places)),
                values=torch.from_numpy(_gather(stream.values, places, np.float32("nan"))),
                events=torch.from_numpy(self._events(places)),
                lengths=torch.from_numpy(data.lengths[windows] * self.reads_users),
            ),
            target_rows=torch.from_numpy(
                np.repeat(np.arange(len(windows)), data.offsets[windows + 1] - data.offsets[windows])
            ),
            target_positions=torch.from_numpy(data.positions[chosen] * self.reads_users),
            targets=torch.from_numpy(column[targets]),
            values=torch.from_numpy(stream.values[engagements]),
            seen_targets=torch.from_numpy(seen[0]),
            seen_items=torch.from_numpy(seen[1]),
            negatives=torch.from_numpy(column[negatives]),
            log_q=self._log_q(instant, rows),
            rebalanced=rebalanced(train_counts, self.draws.tail_max_count, self.generator),
            reversed=inverse_frequency(train_counts, self.generator),
        )

    def _places(self, windows: Int) -> Int:
        """[B, L] positions in the stream, :data:`PADDING` behind; L is the longest of these windows."""
        lengths = self.groups.lengths[windows] if self.reads_users else np.zeros(len(windows), np.int64)
        slots = np.arange(lengths.max(initial=0))
        filled = slots < lengths[:, None]
        inside = np.where(filled, self.groups.starts[windows][:, None] + slots, 0)
        return np.where(filled, self.known.by_user[inside], PADDING)

    def _times(self, windows: Int, places: Int) -> Int:
        """[B, L + 1] microseconds: of the entries, and behind them of each window's last target."""
        data, instants = self.groups, self.known.timestamps
        entries = instants[places].astype("datetime64[us]").astype(np.int64)  # of padding: anything
        last = data.targets[data.offsets[windows + 1] - 1]  # a window's targets are in order of time
        requests = instants[last].astype("datetime64[us]").astype(np.int64)
        return with_requests(entries, data.lengths[windows] * self.reads_users, requests)

    def _events(self, places: Int) -> Int:
        """[B, L] dense ids of event types, :data:`PADDING` behind."""
        return np.where(places == PADDING, PADDING, self.universe.event_ids[self.known.events[places]])

    def _negatives(self, chances: Chances, instant: np.datetime64, targets: Int) -> Int:
        """[K] universe rows."""
        each = self.draws.kind == "each"
        drawn = chances.draw(instant, len(targets) if each else self.draws.count, self.generator)
        if each:  # collision rule: the next item of the catalog, cyclically
            available = self.catalog.rows_at(instant)
            following = available[(np.searchsorted(available, drawn) + 1) % len(available)]
            return np.where(drawn == targets, following, drawn)
        return drawn

    def _rows(self, instant: np.datetime64, targets: Int, negatives: Int, history: Int) -> tuple[Int, int]:
        """[M] universe rows that the batch needs, candidates first, and how many of them are candidates."""
        everything = self.draws.kind == "none"
        candidates = self.catalog.rows_at(instant) if everything else np.unique(np.concatenate([targets, negatives]))
        others = np.setdiff1d(history[history != PADDING], candidates)
        return np.concatenate([candidates, others]), len(candidates)

    def _seen(self, chosen: Int, column: Int, candidates: int) -> tuple[Int, Int]:
        stream, ends = self.known, self.groups.ends[chosen]
        begins = stream.user_offsets[stream.users[self.groups.targets[chosen]]]
        counts = ends - begins
        row = np.repeat(np.arange(len(chosen)), counts)
        item = stream.items[stream.by_user[spans(begins, counts)]]
        inside = (column[item] >= 0) & (column[item] < candidates)
        return row[inside], column[item[inside]]

    def _log_q(self, instant: np.datetime64, rows: Int) -> Tensor:
        """[M]; in-batch negatives are drawn by how often an item is a target."""
        if self.draws.kind == "none":
            return torch.zeros(0)
        if self.chances is None:
            share = self.train_counts / self.train_counts.sum()
            return torch.from_numpy(np.log(np.maximum(share, 1.0 / self.train_counts.sum()))[rows]).float()
        return torch.from_numpy(self.chances.log_probabilities(instant, rows)).float()


def _gather(values: NDArray[Any], places: Int, behind: Any) -> NDArray[Any]:
    """``values`` at ``places`` [B, L], ``behind`` where those are :data:`PADDING`."""
    return np.where(places == PADDING, behind, values[places])


def _take(features: Features, rows: Tensor) -> Features:
    return {name: values[rows] for name, values in features.items()}
