"""The leaderboard page: the leaderboard's markdown, read back."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.site_parts import Cell, Link, Page, Section, Table, missing

FILE = "leaderboard.html"


@dataclass(frozen=True)
class Board:
    """A markdown text's first table, the heading before it and the notes after it."""

    table: Table
    notes: Sequence[str]


def read_board(markdown: str) -> Board | None:
    """The first table of a markdown text, with the heading before it and the list after it; None without a table."""
    lines = [line.strip() for line in markdown.splitlines()]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    if len(table) < 2:
        return None
    title = next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
    notes = [line[2:] for line in lines if line.startswith("- ")]
    header, _, *body = table
    rows = [[_cell(text) for text in row] for row in body]
    return Board(Table(f"{title}; the best of a column in bold", header, rows), notes)


def _cell(text: str) -> Cell:
    best = len(text) > 4 and text.startswith("**") and text.endswith("**")
    return Cell(text[2:-2] if best else text, strong=best)


def leaderboard_page(board: Board | None, links: Sequence[Link]) -> Page:
    """The page; ``links`` are the same and other comparisons as files."""
    lead = "Every model of the roster on every test window, weights frozen at the cutoff."
    if board is None:
        return Page(FILE, "Leaderboard", lead, [missing("Leaderboard", "thaw run ranks every model.")])
    files = [Section("As files", links=links)] if links else []
    return Page(FILE, "Leaderboard", lead, [Section("Leaderboard", tables=[board.table], notes=board.notes), *files])
