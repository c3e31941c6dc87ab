"""From a dataset's name to canonical raw tables on disk: all or nothing, and the same bytes for the same input."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.config import Settings
from assets.config.data_format import claim
from assets.ingestion.adapter import Adapter
from assets.ingestion.content import with_text_content
from assets.ingestion.digest import content_digest
from assets.ingestion.errors import IngestionError
from assets.ingestion.landing.merge import with_landed, without_removed
from assets.ingestion.landing.removed import read_removed
from assets.ingestion.limits import within
from assets.ingestion.origins import Located
from assets.ingestion.raw_files import write_raw_table
from assets.ingestion.registry import find, options_of
from assets.ingestion.tables import RawTables, without_duplicates
from assets.ingestion.validate import reason_counts, refuse_bad_files
from assets.schema import Columns
from assets.storage import Storage, atomic_path, write_json

REPORT = "ingestion.json"


@dataclass(frozen=True)
class IngestionReport:
    """What was ingested; written as ``ingestion.json``, last of all files.

    Args:
        source: ``generated``, ``local copy`` or ``download``.
        digests: SHA-256 per source file.
        rows_read: per source file, with the rows set aside; ``events.csv (items)`` where one file holds several tables.
        rows: per table written.
        duplicates: rows dropped per table.
        quarantined: likewise, rows set aside per reason.
        landed: per kind, rows of landed batches that were added to the source's.
        removed: per table, rows left out because their user or item was removed.
        first, last: earliest and latest engagement, ISO 8601, UTC.
        data_version: SHA-256 over the content of interactions, items and users.
    """

    dataset: str
    licence: str
    citation: str
    source: str
    options: Mapping[str, Any]
    digests: Mapping[str, str]
    warnings: tuple[str, ...]
    rows_read: Mapping[str, int]
    rows: Mapping[str, int]
    duplicates: Mapping[str, int]
    quarantined: Mapping[str, Mapping[str, int]]
    first: str
    last: str
    data_version: str
    landed: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)


def ingest(settings: Settings, storage: Storage, now: datetime) -> IngestionReport:
    """Read ``settings.dataset`` and write its raw tables, the quarantine and the report under ``storage.raw``.

    Everything is read and validated before the first file is written; all files are complete before the first of them
    replaces an older one, and the report is replaced last.

    Args:
        now: later timestamps are in the future; naive means UTC.

    Raises:
        ConfigError: for an unknown dataset or option.
        IngestionError: for files that are missing or wrong, or too many bad rows.
    """
    dataset = find(settings.dataset, settings.data_dir)
    options = options_of(dataset, settings)
    with within(settings.limits):
        located = dataset.origin.locate(dataset.name, settings.data_dir, storage.base / "source")
        raw = with_text_content(dataset.read(located.folder, options, now), options.text)
    refuse_bad_files(raw, options.max_quarantine_share)
    raw, landed = with_landed(storage, raw)
    raw, removed = without_removed(raw, read_removed(storage))
    if raw.interactions.num_rows == 0:
        raise IngestionError(f"{dataset.name}: every interaction is of a removed user or item; nothing is left")
    kept, duplicates = without_duplicates(raw)
    report = _report(dataset, options.model_dump(mode="json"), located, kept, duplicates)
    report = replace(report, landed=landed, removed=removed)
    _write(storage, kept, report)
    return report


def _report(
    dataset: Adapter[Any],
    options: Mapping[str, Any],
    located: Located,
    raw: RawTables,
    duplicates: Mapping[str, int],
) -> IngestionReport:
    span = pc.min_max(raw.interactions[Columns.TIMESTAMP])
    return IngestionReport(
        dataset=dataset.name,
        licence=dataset.licence,
        citation=dataset.citation,
        source=located.source,
        options=options,
        digests=located.digests,
        warnings=located.warnings,
        rows_read=raw.rows_read,
        rows={name: table.num_rows for name, table in raw.named.items()},
        duplicates=duplicates,
        quarantined={file: reason_counts(_of_file(raw.quarantine, file)) for file in raw.rows_read},
        first=span["min"].as_py().isoformat(),
        last=span["max"].as_py().isoformat(),
        data_version=content_digest(raw.named),
    )


def _of_file(quarantine: pa.Table, file: str) -> pa.Table:
    return quarantine.filter(pc.equal(quarantine["file"], file))


def _write(storage: Storage, raw: RawTables, report: IngestionReport) -> None:
    claim(storage)
    tables = raw.named | {"quarantine": raw.quarantine}
    with ExitStack() as stack:
        # Contexts close in reverse, so the report, opened first, is renamed last.
        write_json(stack.enter_context(atomic_path(storage.raw / REPORT)), asdict(report))
        for name, table in tables.items():
            write_raw_table(stack.enter_context(atomic_path(storage.raw_table(name))), table)
