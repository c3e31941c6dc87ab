"""Places within consecutive runs: what ``np.repeat`` and ``np.cumsum`` say of them."""

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


def places_in_runs(lengths: Int) -> Int:
    """[E] 0, 1, … within each of consecutive runs of ``lengths`` [n]."""
    return spans(np.zeros_like(lengths), lengths)


def spans(first: Int, lengths: Int) -> Int:
    """[E] the places ``first[i]`` to ``first[i] + lengths[i] - 1`` of all i [n], one span after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(first - before, lengths)
