"""When items were engaged with, so that what a few items had by any instant costs what those items have."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from assets.stream import EngagementStream, Int, Time


@dataclass(frozen=True)
class ItemTimes:
    """Engagements grouped by item, in time order within an item.

    Attributes:
        items: [E] universe rows, ascending.
        timestamps: [E].
    """

    items: Int
    timestamps: Time

    @classmethod
    def build(cls, stream: EngagementStream) -> Self:
        """Of all engagements of ``stream``."""
        order = np.argsort(stream.items, kind="stable")
        return cls(stream.items[order], stream.timestamps[order])

    def bounds(self, items: Int, instant: np.datetime64) -> tuple[Int, Int]:
        """[M] starts and [M] ends of what each item had strictly before ``instant``."""
        rank = np.searchsorted(self._distinct_timestamps, instant, side="left")
        width = len(self._distinct_timestamps) + 1
        starts = self._offsets[np.minimum(items, len(self._offsets) - 1)]
        return starts, np.searchsorted(self._keys, items * width + rank, side="left")

    def counts(self, items: Int, until: np.datetime64, since: np.datetime64 | None = None) -> Int:
        """[M] engagements of each item strictly before ``until``, from ``since`` on if there is one."""
        starts, ends = self.bounds(items, until)
        return ends - (starts if since is None else np.minimum(self.bounds(items, since)[1], ends))

    @cached_property
    def _offsets(self) -> Int:
        """[I + 1] where each item's engagements start, up to the last item that has any; behind it: the end."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.items))]).astype(np.int64)

    @cached_property
    def _distinct_timestamps(self) -> Time:
        # numpy's unique hashes: 7.6 s on five million distinct instants, where sorting takes 0.4 s.
        ordered = np.sort(self.timestamps)
        return ordered[np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))[: len(ordered)]]

    @cached_property
    def _keys(self) -> Int:
        """[E] ascending (item, rank of timestamp), so that one search finds where an item's past ends."""
        rank = np.searchsorted(self._distinct_timestamps, self.timestamps, side="left")
        return self.items * (len(self._distinct_timestamps) + 1) + rank
