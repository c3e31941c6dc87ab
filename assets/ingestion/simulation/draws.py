"""Weighted draws whose outcome rests on whole numbers, so that all processors agree on it."""

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]


def whole(weights: Float, bits: int) -> Int:
    """``weights`` times two to the power of ``bits``, rounded, at least 1."""
    return np.maximum(np.rint(np.ldexp(weights, bits)), 1).astype(np.int64)


def cumulated(weights: Int) -> Int:
    """[n + 1] sums of the first 0, 1 ... n weights, which may be 0."""
    sums = np.zeros(weights.size + 1, np.int64)
    np.cumsum(weights, out=sums[1:])
    return sums


def drawn(sums: Int, low: Int, high: Int, position: Float) -> Int:
    """[m] indexes of what lies at ``position`` (0 to 1) of the weight between two sums.

    Args:
        sums: what :func:`cumulated` gave.
        low, high: [m] or one, values of ``sums``; where both are equal the result means nothing.
        position: [m]; in ascending order of ``low`` the search is several times faster, its reads are near each other.
    """
    at = np.minimum(low + (position * (high - low)).astype(np.int64), np.maximum(high - 1, low))
    return np.searchsorted(sums, at, side="right") - 1
