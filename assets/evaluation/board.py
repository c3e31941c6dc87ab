"""A table of results with a title and notes, rendered for a page or for a terminal."""

from dataclasses import dataclass, field

from tabulate import tabulate


@dataclass(frozen=True)
class Board:
    """A leaderboard, ready to render.

    Attributes:
        title: one line.
        headers: of the columns; none where there is no table, and the notes say why.
        rows: cells, as many per row as there are headers.
        best: (row, column) of cells to point out.
        notes: sentences below the table.
    """

    title: str
    headers: list[str]
    rows: list[list[str]]
    best: set[tuple[int, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """A GitHub table under a heading, the best in bold, notes as a list."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        if not self.headers:
            return f"### {self.title}\n\n{notes}\n"
        table = tabulate(self._cells("**{}**"), self.headers, tablefmt="github", disable_numparse=True)
        return f"### {self.title}\n\n{table}\n\n{notes}\n"

    def text(self) -> str:
        """For a terminal; the best have a star."""
        if not self.headers:
            return "\n".join([self.title, "", *self.notes]) + "\n"
        table = tabulate(self._cells("{}*"), self.headers, tablefmt="simple", disable_numparse=True)
        return "\n".join([self.title, "", table, "", *self.notes]) + "\n"

    def _cells(self, best: str) -> list[list[str]]:
        return [
            [best.format(cell) if (i, j) in self.best else cell for j, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]


def left_out(title: str, reason: str) -> Board:
    """What stands in place of a table that has no numbers: its title, and why."""
    return Board(title=title, headers=[], rows=[], notes=[f"This table is left out: {reason}."])
