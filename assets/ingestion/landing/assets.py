"""Landed files as an asset: one step that reads and validates what the landing sensor claimed."""

from collections import Counter

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.ingestion.landing.intake import Intake, ingest_claimed
from assets.ingestion.landing.places import landed_folder
from assets.ingestion.limits import within
from assets.ingestion.registry import text_options
from assets.instants import wall_clock
from assets.partitions import LANDED, SINGLE_RUN
from assets.storage import Storage

SHOWN = 20
"""Files that metadata names, at most."""


@dg.asset(
    key=keys.LANDED_ENGAGEMENTS,
    partitions_def=LANDED,
    backfill_policy=SINGLE_RUN,
    group_name=keys.INGESTION,
    kinds={"python", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Files dropped into landing/, read and validated, as canonical Parquet named by content. The partition is the"
        " UTC day (or hour) of a file's first row; of an item file, of its arrival. A file that cannot be used goes to"
        " landing/quarantine with the reason, and the files behind it are read."
    ),
)
def landed_engagements(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    with within(settings.limits):
        intake = ingest_claimed(
            storage, settings.freshness, set(context.partition_keys), wall_clock(), text_options(settings)
        )
    for reason in intake.refused.values():
        context.log.warning(f"quarantined {reason}")
    for name in intake.unfinished:
        context.log.info(f"{name} is still being written")
    for partition in context.partition_keys:
        context.add_asset_metadata(partition_metadata(intake, partition), partition_key=partition)
    return dg.MaterializeResult(
        metadata={
            "refused": dg.MetadataValue.json(dict(list(intake.refused.items())[:SHOWN])),
            "folder": dg.MetadataValue.path(landed_folder(storage, "engagements").parent),
        }
    )


def partition_metadata(intake: Intake, partition: str) -> dict[str, dg.MetadataValue]:
    """What a run took of one partition."""
    taken = [batch for batch in intake.batches if batch.partition == partition]
    batches = list({batch.digest: batch for batch in taken}.values())  # a file that lands twice is one batch
    kinds = Counter(batch.kind for batch in batches)
    return {
        "dagster/row_count": dg.MetadataValue.int(sum(batch.rows for batch in batches)),
        "files": dg.MetadataValue.int(len(taken)),
        "item_files": dg.MetadataValue.int(kinds["items"]),
        "rejected_rows": dg.MetadataValue.int(sum(batch.rejected for batch in batches)),
        "sources": dg.MetadataValue.text(", ".join(batch.source for batch in batches[:SHOWN]) or "none"),
    }


ASSETS: list[dg.AssetsDefinition] = [landed_engagements]
