"""What a net may read about items at a refresh, as arrays: item histories, the trend and counts."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from assets.config import StrictModel
from assets.runs import spans
from assets.stream import EngagementStream, Int
from assets.training.counting import CountDecayed, weights
from assets.training.encoding import Universe
from assets.training.item_times import ItemTimes
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
        times: [Q] their items and timestamps.
    """

    users: Int
    times: ItemTimes

    @classmethod
    def build(cls, stream: EngagementStream, history_user_ids: Int) -> Self:
        """Group the engagements of ``stream`` by users with an id in ``history_user_ids`` [U]."""
        users = history_user_ids[stream.users]
        kept = np.flatnonzero(users != OOV)
        order = kept[np.argsort(stream.items[kept], kind="stable")]
        return cls(users[order], ItemTimes(stream.items[order], stream.timestamps[order]))

    def latest(self, items: Int, instant: np.datetime64, length: int) -> tuple[Int, Int]:
        """The latest ``length`` qualified users of each item strictly before ``instant``, oldest first.

        Args:
            items: [M] universe rows.

        Returns:
            [E] rows of ``items``, ascending, and [E] dense ids of users.
        """
        begins, ends = self.times.bounds(items, instant)
        starts = np.maximum(begins, ends - length)
        counts = ends - starts
        rows = np.repeat(np.arange(len(items)), counts)
        return rows, self.users[spans(starts, counts)]


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
        trained_from: start of what the net was trained on, where that is not all there was; counts start there.
    """

    universe: Universe
    trained_until: np.datetime64
    history_length: int
    trend: TrendPreset
    trained_from: np.datetime64 | None = None

    def inputs(
        self,
        rows: Int,
        known: EngagementStream,
        instant: np.datetime64,
        histories: ItemHistories | None = None,
        times: ItemTimes | None = None,
    ) -> ItemInputs:
        """Inputs of the items ``rows`` [M] at ``instant``.

        Args:
            known: the engagements strictly before ``instant``.
            histories: of a stream that holds ``known`` at least, where one refresh follows another; else made here.
            times: of such a stream too, where ``rows`` are a small part of the catalog: then the others cost nothing.
        """
        index = torch.from_numpy(rows)
        counts, trend = self._counted(rows, known, instant, times)
        history_rows, history_users = self._histories(rows, known, instant, histories)
        return ItemInputs(
            ids=self.universe.item_ids[index],
            features={name: values[index] for name, values in self.universe.item_features.items()},
            content=self.universe.item_content[index],
            counts=torch.from_numpy(counts).float(),
            log_trend=torch.from_numpy(trend).float(),
            history_rows=torch.from_numpy(history_rows),
            history_users=torch.from_numpy(history_users),
        )

    def _counted(
        self, rows: Int, known: EngagementStream, instant: np.datetime64, times: ItemTimes | None
    ) -> tuple[Int, NDArray[np.float64]]:
        """[M] engagements that can have trained an item, and [M] log q_t."""
        if times is None:
            taught = known.before(self.trained_until).since(self.trained_from)
            counts = np.bincount(taught.items, minlength=known.n_items)
            return counts[rows], log_trend(known, instant, self.trend)[rows]
        starts, ends = times.bounds(rows, instant)
        trend = np.log(times.decayed(starts, ends, instant, self.trend.half_life_days) + self.trend.smoothing)
        if instant <= self.trained_until and self.trained_from is None:
            return ends - starts, trend
        return times.counts(rows, min(instant, self.trained_until), self.trained_from), trend

    def _histories(
        self, rows: Int, known: EngagementStream, instant: np.datetime64, histories: ItemHistories | None
    ) -> tuple[Int, Int]:
        if self.history_length == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if histories is None:
            histories = ItemHistories.build(known, self.universe.history_user_ids)
        return histories.latest(rows, instant, self.history_length)
