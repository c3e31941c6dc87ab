"""Ingestion as Dagster assets: one step that writes the raw tables, one asset per table."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from assets import keys
from assets.config import Settings
from assets.ingestion.ingest import IngestionReport, ingest
from assets.storage import Storage

TABLES = {
    "interactions": (
        keys.RAW_INTERACTIONS,
        "Engagements and other events of users with items, one row each, exact duplicates dropped.",
    ),
    "items": (keys.RAW_ITEMS, "One row per item: title, creation time where known, categorical features."),
    "users": (keys.RAW_USERS, "One row per user: categorical features."),
}
PREVIEW_ROWS = 5


@dg.multi_asset(
    name="ingest",
    specs=[
        dg.AssetSpec(
            key,
            group_name=keys.INGESTION,
            description=description,
            owners=[keys.OWNER],
            kinds={"python", "parquet"},
        )
        for key, description in TABLES.values()
    ],
    description="Reads the configured dataset (a local copy, a verified download or the simulator) into raw tables.",
)
def raw_tables(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult]:
    report = ingest(settings, storage, datetime.now(UTC))
    for warning in report.warnings:
        context.log.warning(warning)
    for name, (key, _) in TABLES.items():
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=table_metadata(report, storage, name),
            data_version=dg.DataVersion(report.data_version),
        )


def table_metadata(report: IngestionReport, storage: Storage, name: str) -> dict[str, dg.MetadataValue]:
    """Metadata of one raw table: counts, terms, origin, and its first rows."""
    return {
        "dagster/row_count": dg.MetadataValue.int(report.rows[name]),
        "path": dg.MetadataValue.path(storage.raw_table(name)),
        "dataset": dg.MetadataValue.text(report.dataset),
        "duplicates_dropped": dg.MetadataValue.int(report.duplicates[name]),
        "quarantined": dg.MetadataValue.json({file: dict(counts) for file, counts in report.quarantined.items()}),
        "quarantine": dg.MetadataValue.path(storage.raw_table("quarantine")),
        "rows_read": dg.MetadataValue.json(dict(report.rows_read)),
        "first_engagement": dg.MetadataValue.text(report.first),
        "last_engagement": dg.MetadataValue.text(report.last),
        "source": dg.MetadataValue.text(report.source),
        "sha256": dg.MetadataValue.json(dict(report.digests)),
        "warnings": dg.MetadataValue.text("; ".join(report.warnings) or "none"),
        "licence": dg.MetadataValue.text(report.licence),
        "citation": dg.MetadataValue.text(report.citation),
        "data_version": dg.MetadataValue.text(report.data_version),
        "preview": dg.MetadataValue.md(preview(storage.raw_table(name))),
    }


def preview(path: Path) -> str:
    """The first rows as a markdown table, ids as written (a number parser would drop their leading zeros)."""
    file = pq.ParquetFile(path)
    first = next(file.iter_batches(batch_size=PREVIEW_ROWS), file.schema_arrow.empty_table())
    return first.to_pandas().to_markdown(index=False, disable_numparse=True)


ASSETS = [raw_tables]
