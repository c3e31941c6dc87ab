"""What users like on a day: tastes that wander, brought up to date only for those who come."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from assets.ingestion.simulation.draws import Float, Int, cumulated, drawn
from assets.ingestion.simulation.world import Scale

REVERSION = 0.02  # a day's pull of a taste towards home, and of a fashion towards none
LOGIT_BITS = 24

Single = NDArray[np.float32]


class Tastes:
    """How far each user's taste, and each topic's fashion, has wandered.

    Every day a deviation from home shrinks by ``REVERSION`` and gets normal noise. After k days of it a deviation d is
    normal again, around ``(1 - REVERSION)^k d``, with the variance of k such steps: drawn at once when the user comes.
    Doing it daily for a million users of twelve topics cost more than all the rest of the simulation.
    """

    def __init__(self, scale: Scale) -> None:
        kept = 1 - REVERSION
        self._drift = scale.drift
        self._kept = np.concatenate([[1.0], np.cumprod(np.full(scale.days, kept))])  # [days + 1]
        self._spread = scale.drift * np.sqrt((1 - self._kept**2) / (1 - kept**2))
        self._moved = np.zeros((scale.users, scale.topics), np.float32)
        self._since = np.full(scale.users, -1, np.int32)
        self._fashion = np.zeros(scale.topics, np.float32)

    def begin(self, rng: Generator) -> None:
        """A new day: fashions change."""
        step = rng.normal(0, self._drift, len(self._fashion))
        self._fashion = (self._fashion * (1 - REVERSION) + step).astype(np.float32)

    def of(self, rng: Generator, users: Int, home: Single, day: int) -> Single:
        """[n, T] logits of [n] different users on ``day``; they are as they were if they come again that day."""
        if self._drift:
            gap = day - self._since[users]
            noise = rng.normal(size=(len(users), len(self._fashion))) * self._spread[gap][:, None]
            self._moved[users] = self._moved[users] * self._kept[gap][:, None] + noise
            self._since[users] = day
        return home[users] + self._moved[users] + self._fashion


class TopicDraw:
    """Draws topics in proportion to the exponentials of logits [n, T]."""

    def __init__(self, logits: Single) -> None:
        self._topics = logits.shape[1]
        relative = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
        self._sums = cumulated(np.rint(np.ldexp(relative, LOGIT_BITS)).astype(np.int64).ravel())

    def at(self, rows: Int, position: Float) -> Int:
        """[m] topics at ``position`` (0 to 1) of the weight of [m] rows of the logits."""
        first = rows * self._topics
        return drawn(self._sums, self._sums[first], self._sums[first + self._topics], position) - first
