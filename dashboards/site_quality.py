"""The data quality page: a line per table, linking the full page of expectations and failing rows."""

from collections.abc import Sequence
from typing import Final

from dashboards.data_docs import FAILED, PASSED, SIGNS, WARNED, TableResult, table_state
from dashboards.site_parts import Cell, Link, Page, Section, State, Table, missing, number

FILE = "data-quality.html"
STATES: Final = {PASSED: State.GOOD, WARNED: State.WARN, FAILED: State.BAD}


def quality_page(tables: Sequence[TableResult], not_yet: Sequence[str], stale: Sequence[str], docs: str | None) -> Page:
    """The page; ``docs`` is the address of the full one, None where it was not written."""
    lead = "Whether every table is as it has to be; what fails a check stops everything behind it."
    if not tables:
        return Page(FILE, "Data quality", lead, [missing("Tables", "thaw run validates every table.")])
    rows = [_row(result, docs) for result in tables]
    columns = ["table", "status", "rows", "expectations", "not met", "validated (UTC)"]
    table = Table("Every table and rule", columns, rows, frozenset({"rows", "expectations", "not met"}))
    notes = [
        f"{words}: {', '.join(names)}."
        for words, names in (("Not validated yet", not_yet), ("Written again since validated", stale))
        if names
    ]
    links = [Link(docs, "Every expectation, and the rows that fail", "the whole page")] if docs else []
    return Page(FILE, "Data quality", lead, [Section("Tables", tables=[table], notes=notes, links=links)])


def _row(result: TableResult, docs: str | None) -> list[Cell]:
    state, expectations = table_state(result), result["expectations"]
    return [
        Cell(result["name"], href=f"{docs}#{result['name']}" if docs else ""),
        Cell(SIGNS[state], state=STATES[state]),
        Cell(number(result["rows"])),
        Cell(number(len(expectations))),
        Cell(number(sum(not one["success"] for one in expectations))),
        Cell(result["started_at"].replace("T", " ").removesuffix("Z")),
    ]
