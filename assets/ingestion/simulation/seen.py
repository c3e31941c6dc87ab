"""Which pairs of user and item have been: a Bloom filter, so its memory is bits and it never forgets too early.

A pair that was not there may be taken for one that was, at most one in sixteen when the filter is full. The simulator
then draws another item, which costs a draw and nothing else: a hash says nothing of users or items.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from assets.ingestion.simulation.draws import Int

Hashes = NDArray[np.uint64]
BITS_PER_PAIR = 16
LEAST_BITS = 16
BLOCKS = 4  # a memory shorter than the simulation forgets so many parts of its days one by one


def hashed(keys: Int) -> Hashes:
    """Well mixed 64-bit numbers (the finalizer of MurmurHash3), whose highest bits are the place in a table."""
    mixed = keys.astype(np.uint64)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


class Seen:
    """Remembers every pair for ``memory_days`` days at least, and a fourth longer at most.

    Args:
        days: of the whole simulation.
        memory_days: how long a pair must be remembered after its day.
        most_per_day: pairs that a day adds at most.
    """

    def __init__(self, days: int, memory_days: int, most_per_day: int) -> None:
        whole = memory_days >= days
        self._block_days = days if whole else math.ceil(memory_days / BLOCKS)
        blocks = 1 if whole else math.ceil(memory_days / self._block_days) + 1
        self._bits = _power(BITS_PER_PAIR * most_per_day * self._block_days)
        self._filters: deque[NDArray[np.uint8]] = deque(maxlen=blocks)

    def begin(self, day: int) -> None:
        """A new day, the next one; the oldest days may be forgotten."""
        if day % self._block_days == 0:
            self._filters.append(np.zeros(1 << (self._bits - 3), np.uint8))

    def holds(self, hashes: Hashes) -> NDArray[np.bool_]:
        """[n] whether a pair may have been; True for all that are remembered."""
        place, bit = self._places(hashes)
        found = np.zeros(len(hashes), np.bool_)
        for one in self._filters:
            found |= (one[place] & bit) != 0
        return found

    def add(self, hashes: Hashes) -> None:
        """Remember [n] pairs as of the day begun last."""
        newest = self._filters[-1]
        place, bit = self._places(hashes)
        # Several pairs may share a byte: written bit by bit, whoever comes last writes what all the others did.
        for value in range(8):
            here = place[bit == np.uint8(1 << value)]
            newest[here] |= np.uint8(1 << value)

    def _places(self, hashes: Hashes) -> tuple[Int, NDArray[np.uint8]]:
        at = hashes >> np.uint64(64 - self._bits)
        bit = np.left_shift(np.uint8(1), (at & np.uint64(7)).astype(np.uint8))
        return (at >> np.uint64(3)).astype(np.int64), bit


class Claims:
    """Tells repetitions within one array of pairs apart, without sorting it."""

    def __init__(self, most: int) -> None:
        self._bits = _power(8 * most)
        self._table = np.zeros(1 << self._bits, np.int32)

    def unique(self, hashes: Hashes) -> NDArray[np.bool_]:
        """[n] True once for each pair, and never for some: those whose place in the table another pair took."""
        place = (hashes >> np.uint64(64 - self._bits)).astype(np.int64)
        number = np.arange(len(hashes), dtype=np.int32)
        self._table[place] = number
        return self._table[place] == number


def _power(count: int) -> int:
    """The power of two that is not less than ``count``."""
    return max(LEAST_BITS, (max(count, 1) - 1).bit_length())
