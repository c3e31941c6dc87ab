"""Negatives for sequence losses, with the distribution and the collision rule stated.

Distribution: Q(i) is proportional to (count_i + 1) ** power over every dense id, where count_i is the id's number of
training engagements; power 0 is uniform. The OOV row (count 0) can be drawn too: it is the class nobody engaged with,
and without that it would keep its initial score near zero, above the many items the softmax pushes down.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from assets.stream import Int


def log_frequencies(counts: Int, power: float) -> Tensor:
    """[N] log Q, float32, for counts [N]."""
    weights = (counts.astype(np.float64) + 1.0) ** power
    return torch.from_numpy(np.log(weights / weights.sum())).float()


@dataclass(frozen=True)
class SharedNegatives:
    """``count`` draws with replacement, shared by a batch. Collisions are masked row by row in the loss.

    Attributes:
        log_q: [N] log Q of every dense id.
        count: K.
    """

    log_q: Tensor
    count: int

    def draw(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """[K] dense ids."""
        del targets
        return _draw(self.log_q, self.count, generator)


@dataclass(frozen=True)
class OneNegativeEach:
    """One draw per target. Collision rule: a draw that is the row's own target becomes the next id, cyclically.

    Attributes:
        log_q: [N] log Q of every dense id.
    """

    log_q: Tensor

    def draw(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """[T] dense ids for targets [T]."""
        drawn = _draw(self.log_q, len(targets), generator)
        return torch.where(drawn == targets, (drawn + 1) % len(self.log_q), drawn)


@dataclass(frozen=True)
class NoNegatives:
    """For losses over all items.

    Attributes:
        log_q: [0].
    """

    log_q: Tensor

    def draw(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """[0]."""
        del targets, generator
        return torch.zeros(0, dtype=torch.int64)


NegativeSampler = SharedNegatives | OneNegativeEach | NoNegatives


def _draw(log_q: Tensor, count: int, generator: torch.Generator) -> Tensor:
    cumulative = log_q.double().exp().cumsum(dim=0)  # [N]
    uniform = torch.rand(count, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, uniform, right=True).clamp(max=len(log_q) - 1)
