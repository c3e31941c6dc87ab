"""Evidently's workspace as an asset."""

import time

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage


@dg.asset(
    key=keys.EVIDENTLY_WORKSPACE,
    deps=[
        keys.QUALITY_OVER_TIME,
        keys.PARTITION_DRIFT,
        keys.FRESHNESS_REPORT,
        keys.ENGAGEMENT_DRIFT,
        keys.METRICS,
    ],
    group_name=keys.MONITORING,
    kinds={"evidently", "json"},
    owners=[keys.OWNER],
    description=(
        "Evidently's workspace of the dataset: one project, a snapshot per evaluation window and landed partition with"
        " its numbers and tests at stated thresholds, panels over event time. `thaw dashboards` serves it. Snapshots"
        " older than drift.keep_days before the newest are removed."
    ),
)
def evidently_workspace(
    storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.monitoring.evidently.collect import collect_moments
    from assets.monitoring.evidently.workspace import workspace_path, write_workspace

    started = time.perf_counter()
    moments = collect_moments(storage, settings)
    done = write_workspace(storage, moments, settings.drift.keep_days)
    kinds = [moment.kind for moment in moments]
    return dg.MaterializeResult(
        metadata={
            "workspace": dg.MetadataValue.path(workspace_path(storage).absolute()),
            "serve": f"thaw dashboards --dataset {storage.dataset}",
            "snapshots": done.snapshots,
            "windows": kinds.count("window"),
            "partitions": kinds.count("partition"),
            "written": done.written,
            "removed": done.removed,
            "bytes": done.bytes,
            "seconds": round(time.perf_counter() - started, 2),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [evidently_workspace]
