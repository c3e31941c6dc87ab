"""Ranking metrics per case, and bootstrap intervals over users. Pure arrays: knows no tables and no models.

A case has one relevant item, the target. Its place is given by two counts: candidates scored above it and other
candidates tied with it. Ties are averaged: the target is equally likely to take each of the ``tied + 1`` places
``above .. above + tied`` (counted from 0), and a metric is its expected value over them, in closed form. With the
running totals ``G(j) = g(0) + ... + g(j - 1)`` of a gain ``g`` per place, that is

    E[g] = (G(above + tied + 1) - G(above)) / (tied + 1).

A gain that ends at ``k`` stops its running total there. So a model that scores everything alike gets what random order
gets, never 1 and never 0.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Int = NDArray[np.int64]

WEIGHTS_PER_CHUNK = 8_000_000
"""Bootstrap weights held at once (64 MB of float64)."""

GROUPS_PER_PART = 500
"""Groups whose draws are held at once for their intervals (20 MB at 500 draws of 10 metrics)."""


def hit_rate(above: Int, tied: Int, k: int) -> Floats:
    """[C] probability that the target is among the first ``k``, for [C] counts above and tied.

    Raises:
        ValueError: for ``k`` below 1, or a negative count.
    """
    _check(above, tied, k)
    return np.clip(k - above, 0, tied + 1) / (tied + 1)


def ndcg(above: Int, tied: Int, k: int) -> Floats:
    """[C] expected nDCG@k: 1 / log2(place + 2) inside the first ``k`` places, else 0 (the ideal DCG is 1).

    Raises:
        ValueError: for ``k`` below 1, or a negative count.
    """
    _check(above, tied, k)
    gains: Floats = 1.0 / np.log2(np.arange(k, dtype=np.float64) + 2.0)
    return _expected_gain(above, tied, gains)


def reciprocal_rank(above: Int, tied: Int) -> Floats:
    """[C] expected 1 / (place + 1) over the whole ranking; its mean is MRR.

    Raises:
        ValueError: for a negative count.
    """
    _check(above, tied, 1)
    last = int((above + tied).max(initial=0))
    return _expected_gain(above, tied, 1.0 / np.arange(1, last + 2, dtype=np.float64))


def _expected_gain(above: Int, tied: Int, gains: Floats) -> Floats:
    """Average of ``gains`` (0 behind its end) over places ``above .. above + tied``."""
    size = len(gains)
    total = np.concatenate([[0.0], np.cumsum(gains)])
    averaged = (total[np.minimum(above + tied + 1, size)] - total[np.minimum(above, size)]) / (tied + 1)
    # One place needs no difference of totals, which would round.
    alone = np.where(above < size, gains[np.minimum(above, size - 1)], 0.0)
    return np.where(tied == 0, alone, averaged)


def _check(above: Int, tied: Int, k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if len(above) and (above.min() < 0 or tied.min() < 0):
        raise ValueError("counts above and tied must not be negative")


def bootstrap_means(values: Floats, users: Int, groups: Sequence[Int], samples: int, seed: int) -> Floats:
    """Cluster bootstrap: means of groups of cases when users are drawn again with replacement.

    A user's cases depend on each other, so whole users are drawn, as many as ``users`` holds; a case counts as often
    as its user was drawn, and the statistic is (sum over cases) / (number of cases). Every group sees the same draws,
    so equal ``users`` and ``seed`` give draws that can be compared between models.

    Args:
        values: [C, M] per-case metrics; NaN where a metric is not defined for a case, which then counts for the others
            only.
        users: [C] user of each case, any integers.
        groups: G arrays of case rows; groups may overlap.
        samples: draws.
        seed: of the draws.

    Returns:
        [G, samples, M] means; NaN in a draw that holds no case of the group for which the metric is defined.
    """
    distinct, code = np.unique(users, return_inverse=True)
    defined = ~np.isnan(values)
    holes = np.flatnonzero(~defined.all(axis=0))  # [P - 1] metrics that some case lacks; the others share one count
    pattern = np.zeros(values.shape[1], np.int64)
    pattern[holes] = np.arange(1, len(holes) + 1)
    counted = np.concatenate([np.ones((len(values), 1)), defined[:, holes]], axis=1)
    summed = np.concatenate([np.where(defined, values, 0.0), counted], axis=1)  # [C, M + P]
    parts = [_sums_per_user(summed, code, rows) for rows in groups]
    split = values.shape[1]
    means = np.full((len(groups), samples, values.shape[1]), np.nan)
    generator = np.random.default_rng(seed)
    size = max(1, WEIGHTS_PER_CHUNK // max(1, len(distinct)))
    for start in range(0, samples, size):
        weights = _draws(generator, len(distinct), min(size, samples - start))  # [U, S]
        for group, (members, sums) in enumerate(parts):
            drawn = weights[members].T @ sums  # [S, M + P]: sums of values, and numbers of cases behind
            with np.errstate(invalid="ignore"):
                means[group, start : start + len(drawn)] = drawn[:, :split] / drawn[:, split:][:, pattern]
    return means


def _draws(generator: np.random.Generator, users: int, samples: int) -> Floats:
    """[U, S] how often each user is drawn: columns are multinomial with equal chances."""
    if users == 0:
        return np.zeros((0, samples))
    columns = [np.bincount(generator.integers(users, size=users), minlength=users) for _ in range(samples)]
    return np.stack(columns, axis=1).astype(np.float64)


def _sums_per_user(values: Floats, code: Int, rows: Int) -> tuple[Int, Floats]:
    """Users of the group [u], and [u, columns] the sums of ``values`` over their cases."""
    members, local = np.unique(code[rows], return_inverse=True)
    columns = [np.bincount(local, values[rows, column], len(members)) for column in range(values.shape[1])]
    return members, np.stack(columns, axis=1)


def bootstrap(
    values: Floats, users: Int, groups: Sequence[Int], samples: int, seed: int, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Percentile intervals of group means: [G, M] low and [G, M] high ends, from :func:`bootstrap_means`.

    Groups are many where test windows are hours; their draws are the same in every part and need not be held at once.
    """
    parts = [groups[start : start + GROUPS_PER_PART] for start in range(0, max(1, len(groups)), GROUPS_PER_PART)]
    ends = [percentile_interval(bootstrap_means(values, users, part, samples, seed), level) for part in parts]
    return np.concatenate([low for low, _ in ends]), np.concatenate([high for _, high in ends])


BEYOND: Final = 1e300
"""Stands for infinity; no draw of a metric or of a ratio comes near."""


def percentile_interval(draws: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """[G, M] low and [G, M] high ends of [G, S, M] draws.

    Draws that are NaN say nothing and are left out; where all are, so are both ends. Draws may be infinite, and so may
    ends then.
    """
    draws = np.where(np.isposinf(draws), BEYOND, draws)  # interpolation between two infinities would give NaN
    tail = 100 * (1 - level) / 2
    ends = np.full((2, *draws.shape[::2]), np.nan)
    held = ~np.isnan(draws)
    whole: NDArray[np.bool_] = np.asarray(held.all(axis=(1, 2)))
    if whole.any():
        ends[:, whole] = np.percentile(draws[whole], [tail, 100 - tail], axis=1)
    for group, metric in np.argwhere(np.asarray(held.any(axis=1)) & ~whole[:, None]):
        ends[:, group, metric] = np.percentile(draws[group, held[group, :, metric], metric], [tail, 100 - tail])
    ends[ends > BEYOND / 1e12] = np.inf
    return ends[0], ends[1]
