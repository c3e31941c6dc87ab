"""What a net may read about items at a refresh, as arrays: item histories, the trend and counts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from assets.config import StrictModel
from assets.stream import EngagementStream, Int, Time, places_in_runs
from assets.training.counting import CountDecayed, weights
from assets.training.encoding import Universe
from models.base import OOV, ItemInputs


class TrendPreset(StrictModel):
    """The counts behind log q_t, whatever tau a net gives them."""

    half_life_days: float = Field(3.0, gt=0)
    smoothing: float = Field(0.02, gt=0, description="added to every decayed count, so that logs are finite")


@dataclass(frozen=True)
class ItemHistories:
    """Qualified engagements grouped by item, in time order within an item, so that any moment's history is a slice.

    Attributes:
        users: [Q] dense ids of qualified users.
        items: [Q] universe rows, ascending.
        timestamps: [Q].
    """

    users: Int
    items: Int
    timestamps: Time

    @classmethod
    def build(cls, stream: EngagementStream, history_user_ids: Int) -> Self:
        """Group the engagements of ``stream`` by users with an id in ``history_user_ids`` [U]."""
        users = history_user_ids[stream.users]
        kept = np.flatnonzero(users != OOV)
        order = kept[np.argsort(stream.items[kept], kind="stable")]
        return cls(users[order], stream.items[order], stream.timestamps[order])

    @cached_property
    def _distinct_timestamps(self) -> Time:
        return np.unique(self.timestamps)

    @cached_property
    def _keys(self) -> Int:
        """[Q] ascending (item, rank of timestamp), so that one search finds a history's end."""
        rank = np.searchsorted(self._distinct_timestamps, self.timestamps, side="left")
        return self.items * (len(self._distinct_timestamps) + 1) + rank

    def latest(self, items: Int, instant: np.datetime64, length: int) -> tuple[Int, Int]:
        """The latest ``length`` qualified users of each item strictly before ``instant``, oldest first.

        Args:
            items: [M] universe rows.

        Returns:
            [E] rows of ``items``, ascending, and [E] dense ids of users.
        """
        rank = np.searchsorted(self._distinct_timestamps, instant, side="left")
        width = len(self._distinct_timestamps) + 1
        ends = np.searchsorted(self._keys, items * width + rank, side="left")
        starts = np.maximum(np.searchsorted(self._keys, items * width, side="left"), ends - length)
        counts = ends - starts
        rows = np.repeat(np.arange(len(items)), counts)
        return rows, self.users[np.repeat(starts, counts) + places_in_runs(counts)]


def log_trend(known: EngagementStream, instant: np.datetime64, config: TrendPreset) -> NDArray[np.float64]:
    """[N] log(decayed count + smoothing) of every universe item at ``instant``: log q_t up to a constant.

    The constant is the same for every item of a refresh, so no ranking and no softmax depends on it.
    """
    decay = CountDecayed(half_life_days=config.half_life_days)
    return np.log(np.bincount(known.items, weights(decay, known.timestamps, instant), known.n_items) + config.smoothing)


@dataclass(frozen=True)
class Refresher:
    """Makes a net's item inputs at any refresh.

    Attributes:
        universe: encoded items and users.
        trained_until: end of what the net was or is trained on; counts stop there.
        history_length: entries kept per item history; 0 for nets that read none.
        trend: how engagements decay.
    """

    universe: Universe
    trained_until: np.datetime64
    history_length: int
    trend: TrendPreset

    def inputs(
        self, rows: Int, known: EngagementStream, instant: np.datetime64, histories: ItemHistories | None = None
    ) -> ItemInputs:
        """Inputs of the items ``rows`` [M] at ``instant``.

        Args:
            known: the engagements strictly before ``instant``.
            histories: of a stream that holds ``known`` at least, where one refresh follows another; else made here.
        """
        index = torch.from_numpy(rows)
        counts = np.bincount(known.before(self.trained_until).items, minlength=known.n_items)
        history_rows, history_users = self._histories(rows, known, instant, histories)
        return ItemInputs(
            ids=self.universe.item_ids[index],
            features={name: values[index] for name, values in self.universe.item_features.items()},
            counts=torch.from_numpy(counts[rows]).float(),
            log_trend=torch.from_numpy(log_trend(known, instant, self.trend)[rows]).float(),
            history_rows=torch.from_numpy(history_rows),
            history_users=torch.from_numpy(history_users),
        )

    def _histories(
        self, rows: Int, known: EngagementStream, instant: np.datetime64, histories: ItemHistories | None
    ) -> tuple[Int, Int]:
        if self.history_length == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if histories is None:
            histories = ItemHistories.build(known, self.universe.history_user_ids)
        return histories.latest(rows, instant, self.history_length)
