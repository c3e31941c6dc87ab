"""What an index needs beside searching to be served from: changes in two parts, and search that is tuned for recall."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from assets.serving.exact_index import ExactIndex
from assets.serving.selfcheck import recall_of
from assets.serving.vector_index import Exclude, Float, VectorIndex
from assets.stream import Int


def _no_cells() -> Int:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Change:
    """Removals and then upserts, checked and prepared: what is left to do takes little time and cannot fail.

    Attributes:
        ids: [n] items to add or replace, each once.
        vectors: [n, D].
        removed: items to remove; unknown ones are passed over.
        cells: [n] the cell each vector belongs to, where the index has its cells in this process.
    """

    ids: list[str]
    vectors: Float
    removed: list[str]
    cells: Int = field(default_factory=_no_cells)


class ServedIndex(VectorIndex):
    """Searches the ``nprobe`` cells nearest to the query out of ``nlist``.

    Until :meth:`tune` has found a smaller one, ``nprobe`` is ``nlist``: exact, and as slow as brute force.

    Attributes:
        nprobe: cells that a search looks into.
        threads: that a search may use, where it happens in this process.
    """

    nprobe: int
    threads: int

    @property
    @abstractmethod
    def nlist(self) -> int:
        """Number of cells."""

    def prepare(self, ids: Sequence[str], vectors: Float, removed: Sequence[str] = ()) -> Change:
        """The slow part of a change: checking it and finding its cells. Other threads may search meanwhile.

        The change fits every index with the same cells, such as one loaded from the same file.

        Args:
            vectors: [n, D]; where an id comes twice, its last vector wins.

        Raises:
            ValueError: for a wrong shape or a vector that is not finite.
        """
        vectors = self._checked(ids, vectors)
        last = {item: row for row, item in enumerate(ids)}
        return Change(list(last), vectors[list(last.values())], list(removed))

    def apply(self, change: Change) -> None:
        """The quick part of a change, with no search running."""
        self.remove(change.removed)
        self._put(self._labels.add(change.ids), change.vectors)

    def tune(self, queries: Float, target: float = 0.98, k: int = 10, exclude: Exclude | None = None) -> float:
        """Set ``nprobe`` to about the smallest at which recall@k on ``queries`` [Q, D] reaches ``target``.

        Doubles from 1, then bisects. Without queries it stays ``nlist``.

        Returns:
            The recall on these queries, which flatters: measure on others.
        """
        self.nprobe = self.nlist
        if len(queries) == 0 or self.size == 0:
            return 1.0
        exact = ExactIndex(self.dimension)
        exact.build(self.ids, self.vectors(self.ids))
        expected = exact.search(queries, k, exclude)

        def reached(nprobe: int) -> float:
            self.nprobe = nprobe
            return recall_of(self.search(queries, k, exclude), expected, exact, queries, exclude)

        low, high = 0, 1  # recall at low is below the target; high doubles until it is not
        while high < self.nlist and reached(high) < target:
            low, high = high, min(2 * high, self.nlist)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if reached(middle) < target else (low, middle)
        return reached(high)
