"""What serving must know of all items at once, kept beside the index: who is new, and who is popular."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assets.instants import DAY
from assets.serving.store.interface import Reader, Table
from assets.serving.store.records import NEVER, Records, id_keys, new_items, numbers_of, unpack
from assets.stream import Int

TOP: Final = 1024
"""Popular items found without sorting the whole catalog: enough for nearly every list."""


@dataclass(frozen=True)
class Catalog:
    """Arrays over item numbers; a number that is not in the store is never available and has no engagements.

    Attributes:
        half_life: of the decayed counts, microseconds.
        available_at: [M] microseconds, event clock; NEVER where unknown.
        popularity: [M] log2 of the decayed count as of instant 0; -inf without engagements. All counts decay alike, so
            its order is that of the counts at any instant, and only engaged items change it.
    """

    half_life: float
    available_at: Int
    popularity: NDArray[np.float64]

    @classmethod
    def load(cls, reader: Reader, half_life_days: float) -> "Catalog":
        """Every item of the store."""
        pairs = list(reader.scan(Table.ITEMS))
        numbers = numbers_of([key for key, _ in pairs])
        records = unpack([value for _, value in pairs], new_items(1)[0])
        empty = cls(half_life_days * DAY, np.empty(0, np.int64), np.empty(0, np.float64))
        return empty._with(numbers, records)

    def updated(self, reader: Reader, items: Sequence[str]) -> "Catalog":
        """With the present state of ``items``; those that the store does not know any more stay as they were."""
        keys = [key for key in reader.get_many(Table.NUMBERS, id_keys(items)) if key is not None]
        return self._with(numbers_of(keys), unpack(reader.get_many(Table.ITEMS, keys), new_items(1)[0]))

    def new(self, since: int, until: int) -> Int:
        """Numbers of the items that became available from ``since`` to ``until``, microseconds, both included.

        Announced items become available later and are not new yet.
        """
        joined = (self.available_at >= since) & (self.available_at <= until)
        return np.flatnonzero(joined & (self.available_at != NEVER))

    def ranked(self, among: Int | None = None) -> Iterator[Int]:
        """Numbers in parts, the most popular first, the lower number first among equals."""
        if among is not None:
            yield among[np.lexsort((among, -self.popularity[among]))]
            return
        yield self._top
        yield self._order[len(self._top) :]

    def count(self, number: int, instant: int) -> float:
        """Decayed count of an item at ``instant``."""
        return float(np.exp2(self.popularity[number] - instant / self.half_life))

    @cached_property
    def _top(self) -> Int:
        if len(self.popularity) <= TOP:
            return self._order
        bound = np.partition(self.popularity, -TOP)[-TOP]
        above, equal = np.flatnonzero(self.popularity > bound), np.flatnonzero(self.popularity == bound)
        numbers = np.concatenate([above, equal[: TOP - len(above)]])
        return numbers[np.lexsort((numbers, -self.popularity[numbers]))]

    @cached_property
    def _order(self) -> Int:
        return np.argsort(-self.popularity, kind="stable")

    def _with(self, numbers: Int, records: Records) -> "Catalog":
        room = max(0, int(numbers.max(initial=-1)) + 1 - len(self.available_at))
        available_at = np.append(self.available_at, np.full(room, NEVER, np.int64))
        popularity = np.append(self.popularity, np.full(room, -np.inf))
        available_at[numbers] = records["available_at"]
        with np.errstate(divide="ignore"):
            popularity[numbers] = np.log2(records["decayed"]) + records["decayed_at"] / self.half_life
        return Catalog(self.half_life, available_at, popularity)
