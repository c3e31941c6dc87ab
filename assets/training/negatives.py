"""Draws of training batches, with their distributions stated: negatives, and rebalanced samples of the targets."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.stream import Int


def frequencies(counts: NDArray[np.float64] | Int, power: float) -> NDArray[np.float64]:
    """[M] Q(i), proportional to (count_i + 1) ** power; power 0 is uniform. Sums to 1."""
    weights = (np.asarray(counts, np.float64) + 1.0) ** power
    return weights / weights.sum()


@dataclass(frozen=True)
class AliasTable:
    """Walker's alias method (1974; HRNN-meta section 3.1): draws from N items at a constant cost each.

    A draw chooses one of N columns uniformly; it is the column's own item with probability ``keep``, else its alias.

    Attributes:
        keep: [N] float64 in [0, 1].
        alias: [N] item that fills the rest of a column.
    """

    keep: NDArray[np.float64]
    alias: Int

    @classmethod
    def build(cls, probabilities: NDArray[np.float64]) -> Self:
        """The table of ``probabilities`` [N], which need not sum to 1; an item without any is never drawn.

        With weights p N, items below 1 leave a deficit in their column and items above 1 have a surplus. Laid end to
        end, deficits and surpluses cover the same line [0, total): a deficit is filled by the item on whose surplus it
        begins. The last deficit that an item fills may reach beyond its surplus; what its own column then lacks comes
        from the item with the next surplus, and so on: the sweep of Hübschle-Schneider and Sanders (2019), whose two
        pointers are two binary searches here.

        Raises:
            ValueError: when no item has a probability, or one has a negative or unknown one.
        """
        if not (probabilities >= 0).all() or not probabilities.sum() > 0:
            raise ValueError("draws need probabilities that are known, not negative, and not all zero")
        weights = probabilities * (len(probabilities) / probabilities.sum())  # [N]
        above = weights >= 1
        above[weights.argmax()] = True  # rounding may leave the largest of equal weights just below 1
        light, heavy = np.flatnonzero(~above), np.flatnonzero(above)
        filled = np.concatenate([[0.0], np.cumsum(1 - weights[light])])  # deficit before each light item, and of all
        given = np.cumsum(np.maximum(weights[heavy] - 1, 0))  # surplus of each heavy item and those before it
        keep, alias = weights.copy(), np.arange(len(weights))
        alias[light] = heavy[np.searchsorted(given, filled[:-1], side="right").clip(max=len(heavy) - 1)]
        # The deficit that is filled once a heavy item's surplus is gone: beyond it by what its own column then lacks.
        reached = filled[np.searchsorted(filled, given).clip(max=len(light))]
        keep[heavy] = (1 + given - reached).clip(0, 1)
        alias[heavy[:-1]] = heavy[1:]  # and the last is its own alias: only rounding is left to fill
        return cls(keep, alias)

    def draw(self, count: int, generator: torch.Generator) -> Int:
        """[count] draws with replacement."""
        column = torch.randint(len(self.keep), (count,), generator=generator).numpy()
        uniform = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        return np.where(uniform < self.keep[column], column, self.alias[column])


def draw(probabilities: NDArray[np.float64], count: int, generator: torch.Generator) -> Int:
    """[count] draws with replacement, where as many are drawn as there are probabilities: a table would not pay."""
    cumulative = np.cumsum(probabilities)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64).numpy() * cumulative[-1]
    return np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(probabilities) - 1)


def rebalanced(counts: Int, largest: int, generator: torch.Generator) -> Tensor:
    """[T] targets drawn for Omega_r of CDN section 3.2: all feedback on tail items, that on others down-sampled.

    Args:
        counts: [T] engagements in training of each target's item.
        largest: engagements of the most popular tail item. A target is drawn with probability proportional to
            min(1, largest / count), so that every item above counts as if it had ``largest`` engagements.
    """
    weights = np.minimum(1.0, largest / np.maximum(counts, 1))
    return _draw_targets(weights, generator)


def inverse_frequency(counts: Int, generator: torch.Generator) -> Tensor:
    """[T] targets drawn by BBN's reversed sampler: items in proportion to 1 / count (Zhou et al., CVPR 2020, 4.2).

    ``count`` targets share an item, so each of them is drawn in proportion to 1 / count^2.
    """
    weights = 1.0 / np.maximum(counts, 1).astype(np.float64) ** 2
    return _draw_targets(weights, generator)


def _draw_targets(weights: NDArray[np.float64], generator: torch.Generator) -> Tensor:
    """[T] rows drawn in proportion to ``weights`` [T]."""
    if not len(weights):
        return torch.zeros(0, dtype=torch.int64)
    return torch.from_numpy(draw(weights / weights.sum(), len(weights), generator))
