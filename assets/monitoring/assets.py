"""Drift reports as assets."""

import time

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.monitoring.places import summary_path
from assets.schema import Columns
from assets.storage import Storage


@dg.asset(
    key=keys.ENGAGEMENT_DRIFT,
    deps=[keys.TABLES],
    group_name=keys.MONITORING,
    kinds={"evidently", "html"},
    owners=[keys.OWNER],
    description="Engagement drift: every test window (of many, 50 evenly spread) against train time, one Evidently "
    "report each, on samples of drift.sample_rows engagements per side. The pages open without a network.",
)
def engagement_drift(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from tqdm import tqdm

    from assets.monitoring.drift import (
        remove_old_reports,
        reported_windows,
        score_board,
        write_drift_reports,
        write_summary,
    )
    from assets.monitoring.tables import record

    started, drifts = time.perf_counter(), []
    reports = write_drift_reports(storage, settings)
    total = len(reported_windows(storage.read_table("interactions", [Columns.WINDOW])[Columns.WINDOW]))
    for drift in tqdm(reports, total=total, desc="drift reports", unit="window"):
        drifted = int(drift.scores["drifted"].sum())
        context.log.info(f"window {drift.subject.window}: {drifted} of {len(drift.scores)} columns drifted")
        drifts.append(drift)
    summary = write_summary(storage, drifts)
    record(storage, [drift.verdict for drift in drifts], {str(drift.subject.window) for drift in drifts})
    remove_old_reports(storage, drifts)
    pages = {f"window_{drift.subject.window}": dg.MetadataValue.url(drift.path.absolute().as_uri()) for drift in drifts}
    return dg.MaterializeResult(
        metadata={
            **pages,
            "scores": dg.MetadataValue.md(score_board(summary)),
            "drifted_share": dg.MetadataValue.json(
                {f"window {drift.subject.window}": float(drift.scores["drifted"].mean()) for drift in drifts}
            ),
            "reference_rows": dg.MetadataValue.int(drifts[0].subject.reference_rows),
            "window_rows": dg.MetadataValue.json({str(d.subject.window): d.subject.current_rows for d in drifts}),
            "summary": dg.MetadataValue.path(summary_path(storage)),
            "folder": dg.MetadataValue.path(summary_path(storage).parent),
            "seconds": round(time.perf_counter() - started, 2),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [engagement_drift]
