"""The freshness path as assets: features, embeddings and the report, per partition of landed engagements."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.instants import wall_clock
from assets.partitions import LANDED, SINGLE_RUN
from assets.serving.servable import servable
from assets.storage import Storage
from assets.training.registry import MODELS
from dashboards.figures import inline_png

if TYPE_CHECKING:
    import pandas as pd

FIGURE_SECONDS = 300
"""A figure younger than this is not drawn again."""


@dg.asset(
    key=keys.ITEM_FEATURES,
    deps=[keys.LANDED_ENGAGEMENTS],
    partitions_def=LANDED,
    backfill_policy=SINGLE_RUN,
    group_name=keys.SERVING,
    kinds={"lmdb"},
    owners=[keys.OWNER],
    description=(
        "Landed engagements in the feature store: histories of items and users, totals and decayed counts, what users"
        " have seen, and which items wait for an embedding. A batch and its ledger entry commit together, so it counts"
        " once however often it lands or is tried."
    ),
)
def item_features(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.serving.live.process import apply_landed

    started, partitions = time.perf_counter(), set(context.partition_keys)
    done = apply_landed(storage, settings, partitions, wall_clock())
    for reason in done.refused.values():
        context.log.warning(f"quarantined {reason}")
    logged = done.entries
    seconds = time.perf_counter() - started
    for partition in context.partition_keys:
        entries = [entry for entry in logged if entry.partition == partition]
        context.add_asset_metadata(
            {
                "dagster/row_count": sum(entry.applied for entry in entries if entry.kind == "engagements"),
                "batches": len(entries),
                "items_touched": sum(entry.items_touched for entry in entries),
                "duplicates": sum(entry.duplicates for entry in entries),
                "beyond_retention": sum(entry.beyond_retention for entry in entries),
                "of_removed": sum(entry.removed for entry in entries),
                "no_engagements": sum(entry.other_events for entry in entries),
            },
            partition_key=partition,
        )
    rows = sum(entry.rows for entry in done.entries)
    return dg.MaterializeResult(
        metadata={
            "refused": dg.MetadataValue.json(done.refused),
            "seconds": round(seconds, 3),
            "rows_per_second": round(rows / max(seconds, 1e-9)),
        }
    )


@dg.asset(
    key=keys.FRESH_ITEM_EMBEDDINGS,
    deps=[keys.ITEM_FEATURES, *(keys.checkpoint(model) for model in MODELS if servable(model))],
    partitions_def=LANDED,
    backfill_policy=SINGLE_RUN,
    group_name=keys.SERVING,
    kinds={"torch", "lmdb"},
    owners=[keys.OWNER],
    description=(
        "Items whose embedding is due, embedded by the promoted checkpoint, with the index delta that makes them"
        " searchable: one transaction. What the minimum interval puts off stays pending and is embedded when it is due."
    ),
)
def fresh_item_embeddings(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.serving.live.process import embed_due

    started = time.perf_counter()
    refreshed = embed_due(storage, settings, wall_clock)
    context.log.info(f"{refreshed.embedded} items embedded, {refreshed.deferred} wait, delta {refreshed.seq}")
    known = {name: value for name, value in asdict(refreshed).items() if value is not None}
    return dg.MaterializeResult(metadata={**known, "seconds": round(time.perf_counter() - started, 3)})


@dg.asset(
    key=keys.FRESHNESS_REPORT,
    deps=[keys.ITEM_INDEX],
    partitions_def=LANDED,
    backfill_policy=SINGLE_RUN,
    group_name=keys.SERVING,
    kinds={"matplotlib", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Action-to-serving latency per partition, weighted by engagements: from the event (in a replay, the landing) to"
        " the index and to the first query that a service answered with it, hop by hop."
    ),
)
def freshness_report(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.ingestion.landing.merge import is_replay
    from assets.serving.live import ats
    from assets.serving.live.freshness import MEASURED, by_partition, figure_path, make_report, report_path
    from assets.serving.live.generation import require_current
    from assets.serving.live.ledger import latest

    with require_current(storage).open_store() as store, store.read() as reader:
        applied = latest(reader, MEASURED)
    table = make_report(storage, applied)
    shown = table[table["group"].isin([*context.partition_keys, ats.ALL, ats.NEW_ITEMS])]
    for partition, numbers in by_partition(table, context.partition_keys).items():
        context.add_asset_metadata(numbers, partition_key=partition)
    # On one partition: every materialization keeps its metadata for good.
    extra = {"report": dg.MetadataValue.md(ats.markdown(shown)), **_figure(storage, table, settings)}
    context.add_asset_metadata(extra, partition_key=context.partition_keys[-1])
    return dg.MaterializeResult(
        metadata={
            "since": "landing (replay)" if is_replay(storage) else "event",
            "path": dg.MetadataValue.path(report_path(storage)),
            "figure_path": dg.MetadataValue.path(figure_path(storage)),
        }
    )


def _figure(storage: Storage, table: "pd.DataFrame", settings: Settings) -> dict[str, dg.MetadataValue]:
    """The figure as metadata, where the last one is old: drawing takes longer than all else, and it is large."""
    from assets.serving.live.freshness import draw_report, figure_path

    path = figure_path(storage)
    if path.exists() and time.time() - path.stat().st_mtime < FIGURE_SECONDS:
        return {}
    png = draw_report(storage, table, settings.freshness.ats_p95_seconds)
    if png is None:
        return {}
    return {"figure": dg.MetadataValue.md(inline_png(png, "freshness"))}


ASSETS: list[dg.AssetsDefinition] = [item_features, fresh_item_embeddings, freshness_report]
