"""The popularity family: floors that every headline must show. Nothing is learned; the vectors are counts.

Score = log(count + smoothing): item vector [log(count + smoothing)], user vector [1]. Items with equal counts, the many
with none above all, are exact ties, which evaluation averages.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from assets.config import StrictModel
from assets.stream import EngagementStream, Queries

DAY = np.timedelta64(1, "D")


class CountAll(StrictModel):
    """Engagements before the cutoff, at every refresh alike."""

    kind: Literal["all"] = "all"


class CountRecent(StrictModel):
    """Engagements of the last days before the refresh."""

    kind: Literal["recent"] = "recent"
    days: float = Field(14, gt=0)


class CountDecayed(StrictModel):
    """Engagements weighted by 2 ** (-age / half-life) at the refresh."""

    kind: Literal["decayed"] = "decayed"
    half_life_days: float = Field(3, gt=0)


CountConfig = CountAll | CountRecent | CountDecayed


def weights(config: CountConfig, timestamps: NDArray[np.datetime64], instant: np.datetime64) -> NDArray[np.float64]:
    """[E] what each engagement strictly before ``instant`` counts there."""
    age = (instant - timestamps) / DAY  # [E] days, > 0
    if isinstance(config, CountRecent):
        return (age <= config.days).astype(np.float64)
    if isinstance(config, CountDecayed):
        return np.exp2(-age / config.half_life_days)
    return np.ones(len(timestamps))


@dataclass(frozen=True)
class CountingRecommender:
    """Counts as an :class:`assets.ranking.Recommender`.

    Attributes:
        config: which engagements count, and how much.
        smoothing: added to every count, so that the logarithm is finite.
        cutoff: end of what :class:`CountAll` counts; the others follow the refresh.
    """

    config: CountConfig
    smoothing: float
    cutoff: np.datetime64

    @property
    def history_length(self) -> int:
        return 1

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        """[N, 1] log(count + smoothing) at ``instant``."""
        if isinstance(self.config, CountAll):
            known = known.before(self.cutoff)
        counts = np.bincount(known.items, weights(self.config, known.timestamps, instant), known.n_items)
        return torch.from_numpy(np.log(counts + self.smoothing)).float()[:, None]

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        """[B, 1] ones."""
        del items
        return torch.ones(len(queries), 1)
