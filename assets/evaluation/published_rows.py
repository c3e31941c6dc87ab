"""What a published table is made of: figures, rows, tables and series, and the columns of each paper's tables. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from assets.evaluation.slices import HIT_RATE, NDCG, NO_K, PERPLEXITY
from assets.schema import CaseSlice

OVERALL, HEAD, TAIL = CaseSlice.OVERALL.value, CaseSlice.HEAD.value, CaseSlice.TAIL_AND_COLD.value
"""The papers' tail is every item outside the head: our ``tail_and_cold``."""

Cell = tuple[str, str, int]
"""(slice, metric, k)."""


class Figure(NamedTuple):
    """A published number and, where it was given, its standard error over trials."""

    value: float
    error: float | None = None


@dataclass(frozen=True)
class PublishedRow:
    """One method's figures; cells that were not published are absent."""

    method: str
    cells: Mapping[Cell, Figure]


@dataclass(frozen=True)
class PublishedTable:
    """A table of figures under one protocol.

    Attributes:
        source: where it was published, as a reader can find it.
        dataset: registered name, ours.
        protocol: ours that it compares with: ``sampled_legacy``, ``leave_one_out``, ``full`` ``quantile`` or
            ``held_out_users``.
        conditions: what else has to be known to compare.
        rows: of the table.
    """

    source: str
    dataset: str
    protocol: str
    conditions: str
    rows: Sequence[PublishedRow]


@dataclass(frozen=True)
class PublishedSeries:
    """One method's HR@10 on one slice, window by window."""

    source: str
    dataset: str
    method: str
    slice: str
    hit_rates: Sequence[float]


LEAVE_ONE_OUT: Final = "leave_one_out"
QUANTILE: Final = "quantile"
FULL: Final = "full"
HELD_OUT_USERS: Final = "held_out_users"

IHM_CELLS: Final[Sequence[Cell]] = tuple(
    (name, metric, 10) for name in (OVERALL, TAIL, HEAD) for metric in (HIT_RATE, NDCG)
)
"""Columns of the IHM paper's Tables 1 and 2, in their order."""

CDN_CELLS: Final[Sequence[Cell]] = tuple(
    (name, metric, 50) for name in (OVERALL, HEAD, TAIL) for metric in (HIT_RATE, NDCG)
)
"""Columns of the CDN paper's Tables 2 to 5, in their order."""

FULL_CELLS: Final[Sequence[Cell]] = ((OVERALL, HIT_RATE, 10), (OVERALL, NDCG, 10))
"""Of published full ranking on a cutoff in time."""

HRNN_CELLS: Final[Sequence[Cell]] = ((OVERALL, PERPLEXITY, NO_K),)
"""The column of the HRNN-meta paper's Tables 1 and 8 that says what it is measured at; lower is better."""
