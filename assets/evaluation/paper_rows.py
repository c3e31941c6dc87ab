"""Rows of a table that is laid out like a paper's: ours, their number of cases, then the published ones. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from assets.evaluation.published_rows import HEAD, OVERALL, TAIL, Cell, Figure, PublishedRow, PublishedTable
from assets.evaluation.slices import LOWER_IS_BETTER

OURS: Final = "ours"
NAMES: Final = {OVERALL: "Overall", HEAD: "Head", TAIL: "Tail"}
"""As the papers head their columns."""


@dataclass(frozen=True)
class Number:
    """One of our numbers: mean over seeds, its 95 % interval over users, standard error over seeds (NaN for one)."""

    value: float
    ci_low: float
    ci_high: float
    standard_error: float
    n: int


Numbers = Mapping[str, Mapping[Cell, Number]]
"""Per model, in the order of the table."""


class PaperTable:
    """Rows of ours, their number of cases, then the published ones.

    Args:
        cells: the columns.
        numbers: ours.
        published: tables to stand below.
        show: how a value and its standard error over seeds or trials are written.
        min_cases: columns of fewer cases are marked.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        numbers: Numbers,
        published: Sequence[PublishedTable],
        show: Callable[[float, float | None], str],
        min_cases: int,
    ) -> None:
        self.headers = ["method", "source", *(heading(cell) for cell in cells)]
        counts = [next(iter(numbers.values()))[cell].n if held_by_all(numbers, cell) else 0 for cell in cells]
        self.rows = [
            [model, OURS, *(_our_value(held.get(cell), show) for cell in cells)] for model, held in numbers.items()
        ]
        self.best = {
            (row, column)
            for column, cell in enumerate(cells, start=2)
            for row, held in enumerate(numbers.values())
            if held_by_all(numbers, cell) and held[cell].value == best_of(cell, numbers)
        }
        self.rows.append(["cases", OURS, *(count_words(count, min_cases) for count in counts)])
        self.rows += [
            [row.method, table.source, *(_published_value(row, cell, show) for cell in cells)]
            for table in published
            for row in table.rows
        ]
        several = any(not math.isnan(number.standard_error) for held in numbers.values() for number in held.values())
        conditions = {table.source: table.conditions for table in published}
        self.notes = [
            *(["±: standard error over seeds."] if several else []),
            *([few_note(min_cases)] if min(counts) < min_cases else []),
            *(f"{source}: {said}." for source, said in conditions.items()),
        ]


def held_by_all(numbers: Numbers, cell: Cell) -> bool:
    return all(cell in held for held in numbers.values())


def _our_value(number: Number | None, show: Callable[[float, float | None], str]) -> str:
    if number is None:
        return ""
    known = not math.isnan(number.standard_error)
    return show(number.value, number.standard_error if known else None)


def _published_value(row: PublishedRow, cell: Cell, show: Callable[[float, float | None], str]) -> str:
    figure = row.cells.get(cell)
    return show(*figure) if isinstance(figure, Figure) else "-"


def share(value: float, error: float | None) -> str:
    """A share as the IHM paper writes it."""
    return f"{value:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def percent(value: float, error: float | None) -> str:
    """A share as the CDN paper writes it: percent, without the sign."""
    return f"{value:.2%}"[:-1] + (f" ± {error:.2%}"[:-1] if error is not None else "")


def plain(value: float, error: float | None) -> str:
    """A perplexity."""
    return f"{value:,.1f}" + (f" ± {error:,.1f}" if error is not None else "")


def heading(cell: Cell) -> str:
    """A cell's heading."""
    name, metric, k = cell
    return f"{NAMES[name]} {metric.upper()}@{k}" if k else f"{NAMES[name]} {metric}"


def best_of(cell: Cell, numbers: Numbers) -> float:
    """The best of our values: the largest, or of what is better lower the least."""
    chosen = min if cell[1] in LOWER_IS_BETTER else max
    return chosen(held[cell].value for held in numbers.values())


def count_words(count: int, min_cases: int) -> str:
    """A number of cases, marked where it is small."""
    return f"{count:,}{'†' if count < min_cases else ''}"


def few_note(min_cases: int) -> str:
    """What the mark means."""
    return f"† fewer than {min_cases} cases."
