"""Draws of training batches, with their distributions stated: negatives, and rebalanced samples of the targets."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.stream import Int


def frequencies(counts: NDArray[np.float64] | Int, power: float) -> NDArray[np.float64]:
    """[M] Q(i), proportional to (count_i + 1) ** power; power 0 is uniform. Sums to 1."""
    weights = (np.asarray(counts, np.float64) + 1.0) ** power
    return weights / weights.sum()


def draw(probabilities: NDArray[np.float64], count: int, generator: torch.Generator) -> Int:
    """[count] draws with replacement."""
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
