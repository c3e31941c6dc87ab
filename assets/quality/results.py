"""Results of validation: which tables have one, where it lies, whether it still speaks of the table as it is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from assets import keys
from assets.storage import Storage, write_json
from dashboards.data_docs import Sample, TableResult

RAW: Final[dict[str, keys.Key]] = {
    "raw_interactions": keys.RAW_INTERACTIONS,
    "raw_items": keys.RAW_ITEMS,
    "raw_users": keys.RAW_USERS,
}
"""Result names of the raw tables, with their assets."""
EXPORTED: Final = (
    "interactions",
    "split_bounds",
    "items",
    "users",
    "test_cases",
    "user_histories",
    "item_histories",
)
LEAKAGE: Final = "leakage"
NAMES: Final = (*RAW, *EXPORTED, LEAKAGE)
"""Every result, in the order of the page."""

SAMPLE_ROWS: Final = 20
CELL_CHARACTERS: Final = 120


def table_path(storage: Storage, name: str) -> Path:
    """File of the table that a result is about; for the leakage rules, which look at all of them, the interactions."""
    if name in RAW:
        return storage.raw_table(name.removeprefix("raw_"))
    return storage.table("interactions" if name == LEAKAGE else name)


def result_path(storage: Storage, name: str) -> Path:
    return storage.quality / "results" / f"{name}.json"


def page_path(storage: Storage) -> Path:
    return storage.quality / "index.html"


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written_at(storage: Storage, name: str) -> str:
    """When a result's table was last written, to the nanosecond; empty where there is no such file."""
    path = table_path(storage, name)
    return str(np.datetime64(path.stat().st_mtime_ns, "ns")) if path.exists() else ""


@dataclass(frozen=True)
class Results:
    """What a page shows: results in page order, tables without one, tables written again since."""

    tables: list[TableResult]
    missing: list[str]
    stale: list[str]


def write_result(storage: Storage, result: TableResult) -> Path:
    return write_json(result_path(storage, result["name"]), result)


def read_results(storage: Storage) -> Results:
    """Read every result there is."""
    found = {name: _read(result_path(storage, name)) for name in NAMES if result_path(storage, name).exists()}
    return Results(
        tables=list(found.values()),
        missing=[name for name in NAMES if name not in found],
        stale=[name for name, result in found.items() if result["written_at"] != written_at(storage, name)],
    )


def _read(path: Path) -> TableResult:
    try:
        return cast(TableResult, json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a validation result: {error}; materialize the table's check again") from error


def sample(rows: pd.DataFrame) -> Sample:
    """The first :data:`SAMPLE_ROWS` rows as text, long cells cut."""
    return {
        "columns": [str(column) for column in rows.columns],
        "rows": [[cell_text(cell) for cell in row] for row in rows.head(SAMPLE_ROWS).itertuples(index=False)],
    }


def cell_text(cell: Any) -> str:
    """A value as one short line of text; missing values are empty."""
    if isinstance(cell, np.ndarray | list | tuple):
        text = f"[{', '.join(map(cell_text, cell[:6]))}{', ...' if len(cell) > 6 else ''}]"
    else:
        text = "" if pd.isna(cell) else str(cell)
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 3]}..."


def markdown(table: Sample) -> str:
    """A sample as a markdown table; bars and line ends in cells are escaped."""
    lines: Sequence[Sequence[str]] = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def not_met_markdown(result: TableResult) -> str:
    """Failed expectations and warnings of a result as a markdown table."""
    rows = [
        [one["severity"], one["about"], one["column"], str(one["unexpected"] or ""), one["error"] or one["observed"]]
        for one in result["expectations"]
        if not one["success"]
    ]
    return markdown({"columns": ["severity", "expectation", "column", "rows", "observed"], "rows": rows})
