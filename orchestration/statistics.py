"""``thaw statistics``: describes datasets, ingesting those that are not yet, and writes the page that compares them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.config import PROJECT_ROOT, Settings
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import REPORT, ingest
from assets.ingestion.simulation.write import MANIFEST
from assets.ingestion.statistics import FIRST_RANK, LEAST_COUNT, SESSION_PAUSE_SECONDS, WARM_UP_DAYS, statistics
from assets.storage import write_bytes, write_text
from dashboards.statistics_page import Described, statistics_markdown, statistics_png

RESULTS = PROJECT_ROOT / "docs" / "results"
STEM = "statistics"
VERSION_SHOWN = 12
NOTES = (
    "Every interaction of the raw tables counts, whatever its value; exact duplicates are gone.",
    f"The slope is fitted by least squares from rank {FIRST_RANK} to the last item with {LEAST_COUNT} engagements, at "
    "up to 60 ranks evenly spaced in logarithm, so that the few popular items count as much as the many rare ones. Few "
    "logs follow a power law; R² says how far this one does.",
    "Percentiles of items are of those with an engagement.",
    f"A session ends with a pause of more than {SESSION_PAUSE_SECONDS // 60} minutes.",
    f"Ages are of engagements later than {WARM_UP_DAYS} days after the log's first one, before which every item looks "
    "new. An item's first engagement counts, with age 0. Ages since creation are of items whose creation is known.",
)


def describe(settings: Settings) -> Described:
    """Statistics of the dataset's raw tables, which are made where they are missing.

    Raises:
        ConfigError: for an unknown option.
        IngestionError: where the dataset cannot be ingested, or has no rows.
    """
    storage = settings.storage
    if not (storage.raw / REPORT).exists():
        ingest(settings, storage, datetime.now(UTC))
    found = statistics(storage.raw_table("interactions"), storage.raw_table("items"))
    return Described(settings.dataset, found.facts, found.curves, _made_of(storage.raw / REPORT))


def describe_folder(folder: Path) -> Described:
    """Statistics of a folder of part files, as ``thaw simulate`` writes it.

    Raises:
        IngestionError: where it is not one.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise IngestionError(f"{folder}: no {MANIFEST} in it; `thaw simulate` writes folders that have one")
    found = statistics(folder / "interactions-*.parquet", folder / "items.parquet")
    return Described(folder.name, found.facts, found.curves, _options(json.loads(manifest.read_text("utf-8"))))


def write_page(datasets: Sequence[Described], command: str, folder: Path) -> Path:
    """Write ``statistics.md`` and its figure."""
    figure = write_bytes(folder / f"{STEM}.png", statistics_png(datasets))
    return write_text(folder / f"{STEM}.md", statistics_markdown(datasets, command, figure.name, NOTES))


def _made_of(report: Path) -> str:
    told = json.loads(report.read_text(encoding="utf-8"))
    return f"data version {told['data_version'][:VERSION_SHOWN]}; {_options(told)}"


def _options(told: dict[str, Any]) -> str:
    given = ", ".join(f"{name} {value}" for name, value in sorted(told["options"].items()) if value is not None)
    return f"options: {given}"
