"""Random draws of items that belong to a case, not to its place in a list: other cases, another order, same draw.

Case ``c`` has a key, and draw ``j`` of it is ``splitmix64(key + j)``: no generator is shared, so nothing depends on how
cases are sorted, grouped or chunked.
"""

import numpy as np
from numpy.typing import NDArray

from assets.stream import PADDING, Int, batches

Keys = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""splitmix64's step: 2 ** 64 over the golden ratio, odd."""

DRAWS_PER_CHUNK = 2_000_000
"""Draws held at once (16 MB each for numbers, items and their order)."""


def case_keys(names: Int, seed: int) -> Keys:
    """[C] keys of cases named by integers of their own, such as source rows."""
    start = _mix(np.array([seed], dtype=np.int64).view(np.uint64) + GOLDEN)
    return _mix(_mix(names.astype(np.int64).view(np.uint64) + GOLDEN) ^ start)


def draw_items(keys: Keys, pool: Int, banned: tuple[Int, Int], size: int, distinct: bool) -> Int:
    """Draw ``size`` items of ``pool`` uniformly for every case, leaving out the case's banned items.

    Draws that are banned, or (``distinct``) that came before, are passed over: what is left is uniform, with or without
    replacement. Where as many draws as the pool is long would not do, the case gets the whole pool in random order.

    Args:
        keys: [C] of :func:`case_keys`.
        pool: [P] distinct item rows.
        banned: (case, item row) pairs, flat.
        size: items wanted per case.
        distinct: draw without replacement; a case with fewer than ``size`` items left gets all of them.

    Returns:
        [C, size] item rows, :data:`assets.stream.PADDING` behind a case's last.
    """
    drawn = np.full((len(keys), size), PADDING, dtype=np.int64)
    bans = _Bans(*banned, pool)
    rows, width = np.flatnonzero(bans.left(len(keys)) > 0), 2 * size
    while len(rows):
        whole = distinct and width >= len(pool)
        unfinished = []
        for part in batches(
            len(rows), max(1, DRAWS_PER_CHUNK // min(width, max(width, len(pool)) if whole else width))
        ):
            chosen = rows[part]
            places = _shuffled(keys[chosen], len(pool)) if whole else _places(keys[chosen], width, len(pool))
            fit = ~bans.hold(chosen, places)
            if distinct and not whole:
                fit &= _first_seen(places)
            enough = whole | (fit.sum(axis=1) >= size)
            drawn[chosen[enough]] = _leading(pool[places[enough]], fit[enough], size)
            unfinished.append(chosen[~enough])
        rows, width = np.concatenate(unfinished), 4 * width
    return drawn


def _mix(values: Keys) -> Keys:
    """splitmix64's finisher: a bijection of 64-bit numbers; sums and products wrap around, as they should."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _numbers(keys: Keys, width: int) -> Keys:
    """[C, width] the first random numbers of every case."""
    return _mix(keys[:, None] + np.arange(1, width + 1, dtype=np.uint64) * GOLDEN)


def _places(keys: Keys, width: int, pool: int) -> Int:
    """[C, width] places in the pool, with replacement (a bias of ``pool / 2 ** 64`` is nobody's concern)."""
    return (_numbers(keys, width) % np.uint64(pool)).astype(np.int64)


def _shuffled(keys: Keys, pool: int) -> Int:
    """[C, P] every place of the pool in random order."""
    return np.argsort(_numbers(keys, pool), axis=1, kind="stable")


def _first_seen(places: Int) -> NDArray[np.bool_]:
    """[C, W] whether a row holds the value for the first time there."""
    order = np.argsort(places, axis=1, kind="stable")
    ordered = np.take_along_axis(places, order, axis=1)
    first = np.ones(places.shape, dtype=bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    return first


def _leading(items: Int, fit: NDArray[np.bool_], size: int) -> Int:
    """[C, size] each row's first fitting items, padded behind."""
    kept = fit & (np.cumsum(fit, axis=1) <= size)
    leading = np.full((len(items), size), PADDING, dtype=np.int64)
    leading[np.arange(size) < kept.sum(axis=1)[:, None]] = items[kept]
    return leading


class _Bans:
    """Which places of the pool are banned for which case.

    Args:
        rows: [B] cases.
        items: [B] item rows; those outside the pool do not matter.
        pool: [P] distinct item rows.
    """

    def __init__(self, rows: Int, items: Int, pool: Int) -> None:
        order = np.argsort(pool)
        at = np.searchsorted(pool, items, sorter=order)
        inside = at < len(pool)
        places = order[np.where(inside, at, 0)] if len(pool) else at
        inside[inside] = pool[places[inside]] == items[inside]
        self.size = len(pool)
        self.codes = np.unique(rows[inside] * self.size + places[inside])

    def left(self, cases: int) -> Int:
        """[C] places of the pool that are not banned."""
        held = np.bincount(self.codes // max(1, self.size), minlength=cases)
        return self.size - held

    def hold(self, rows: Int, places: Int) -> NDArray[np.bool_]:
        """[R, W] whether each place is banned for the case of its row."""
        if not len(self.codes):
            return np.zeros(places.shape, dtype=bool)
        wanted = rows[:, None] * self.size + places
        at = np.searchsorted(self.codes, wanted)
        return self.codes[np.minimum(at, len(self.codes) - 1)] == wanted
