"""Clustered vectors, as embeddings are: what the benchmarks of indexes search among."""

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 200
SPREAD = 0.35
"""Standard deviation inside a cluster; centers have 1 in each dimension."""


def clustered(count: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """[count, dimension] vectors around the same centers for every seed."""
    centers = np.random.default_rng(0).normal(size=(CLUSTERS, dimension))
    random = np.random.default_rng(seed)
    noise = SPREAD * random.normal(size=(count, dimension))
    return (centers[random.integers(0, CLUSTERS, count)] + noise).astype(np.float32)
