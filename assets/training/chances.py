"""Negatives of every refresh of a training, drawn exactly by its own counts from a few alias tables.

A table over a million items takes 0.1 s to build, more than a training step; a training has hundreds of refreshes and
visits them in any order. Where not all tables fit, refreshes share them: consecutive ones propose from the table of the
last of them, and a proposal i is accepted with probability w_t(i) / w_last(i), where w_t(i) is (count_t(i) + 1) **
power, and 0 before i joins the catalog. Counts only grow, so that is at most 1, and those accepted follow w_t exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from assets.stream import Catalog, EngagementStream, Int, Time
from assets.training.item_times import ItemTimes
from assets.training.negatives import AliasTable, frequencies

KEPT_CELLS = 1 << 22
"""Cells of alias tables that are kept, 32 bytes each: small catalogs have a table per refresh, a million items four."""

SPARE = 1.1
"""Proposals per draw beyond what is accepted on average, so that a second round is rare."""


@dataclass(frozen=True)
class Proposals:
    """What is proposed for the refreshes of a block.

    Attributes:
        last: the block's last refresh, whose own draws these are.
        items: [A] universe rows on the catalog then, ascending.
        counts: [A] engagements before it.
        table: draws by (count + 1) ** power.
    """

    last: np.datetime64
    items: Int
    counts: Int
    table: AliasTable


class Chances:
    """Draws of negatives by (engagements before the refresh + 1) ** ``power`` from the refresh's catalog.

    Args:
        times: of all engagements of ``known``.
        refreshes: those that will be asked for, in any order, repeats allowed.
        kept_cells: of tables; at least one is kept.
    """

    def __init__(
        self,
        known: EngagementStream,
        catalog: Catalog,
        times: ItemTimes,
        refreshes: Time,
        power: float,
        kept_cells: int = KEPT_CELLS,
    ) -> None:
        self.known, self.catalog, self.times, self.power = known, catalog, times, power
        distinct = np.unique(refreshes)
        blocks = min(len(distinct), max(1, kept_cells // max(1, known.n_items)))
        ends = np.arange(1, blocks + 1) * len(distinct) // blocks  # of about equal length
        self.lasts = distinct[ends - 1]
        self.proposals: Callable[[np.datetime64], Proposals] = cache(self._proposals)
        self.total: Callable[[np.datetime64], float] = cache(self._total)

    def draw(self, instant: np.datetime64, count: int, generator: torch.Generator) -> Int:
        """[count] universe rows, with replacement."""
        proposals = self.proposals(self.lasts[np.searchsorted(self.lasts, instant)])
        if proposals.last == instant:
            return proposals.items[proposals.table.draw(count, generator)]
        share = self.total(instant) / self.total(proposals.last)  # of proposals, that are accepted
        found = np.zeros(0, np.int64)
        while len(found) < count:
            wanted = int((count - len(found)) / share * SPARE) + 1
            column = proposals.table.draw(wanted, generator)
            rows = proposals.items[column]
            ratio = self.weights(instant, rows) / (proposals.counts[column] + 1.0) ** self.power
            accepted = torch.rand(wanted, generator=generator, dtype=torch.float64).numpy() < ratio
            found = np.concatenate([found, rows[accepted]])
        return found[:count]

    def weights(self, instant: np.datetime64, rows: Int) -> NDArray[np.float64]:
        """[M] (count + 1) ** power of universe rows; 0 where an item is not on the catalog."""
        counts = self.times.counts(rows, instant)
        return np.where(self.catalog.available_at[rows] <= instant, (counts + 1.0) ** self.power, 0.0)

    def log_probabilities(self, instant: np.datetime64, rows: Int) -> NDArray[np.float64]:
        """[M] of a draw to be that universe row; minus infinity where an item is not on the catalog."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights(instant, rows) / self.total(instant))

    def _counts(self, instant: np.datetime64) -> tuple[Int, Int]:
        """[A] universe rows on the catalog, and [A] their engagements before ``instant``."""
        items = self.catalog.rows_at(instant)
        return items, np.bincount(self.known.before(instant).items, minlength=self.known.n_items)[items]

    def _proposals(self, last: np.datetime64) -> Proposals:
        items, counts = self._counts(last)
        return Proposals(last, items, counts, AliasTable.build(frequencies(counts, self.power)))

    def _total(self, instant: np.datetime64) -> float:
        return float(((self._counts(instant)[1] + 1.0) ** self.power).sum())
