"""Drift of landed partitions as an asset."""

import math
import time
from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.partitions import LANDED, SINGLE_RUN
from assets.storage import Storage
from dashboards.figures import inline_png

if TYPE_CHECKING:
    from assets.monitoring.tables import Verdict


@dg.asset(
    key=keys.PARTITION_DRIFT,
    deps=[keys.FRESH_ITEM_EMBEDDINGS],
    partitions_def=LANDED,
    backfill_policy=SINGLE_RUN,
    group_name=keys.MONITORING,
    kinds={"evidently", "duckdb", "html"},
    owners=[keys.OWNER],
    description=(
        "Each landed partition against the weeks before the champion's cutoff (drift.reference_days): volumes of all"
        " its engagements, drift scores on a sample of drift.sample_rows with thresholds calibrated on the reference,"
        " and a verdict. Of the newest drift.keep_reports there is a full Evidently report."
    ),
)
def partition_drift(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.monitoring.partitions.measure import measure_partitions
    from assets.monitoring.partitions.reports import newest, remove_older, write_report
    from assets.monitoring.tables import drift_path, record

    started, partitions = time.perf_counter(), sorted(context.partition_keys)
    with_report = newest(storage, partitions, settings.drift.keep_reports)
    verdicts = []
    for measured in measure_partitions(storage, settings, partitions):
        verdict = measured.verdict
        page = write_report(storage, settings, measured) if verdict.name in with_report else None
        verdicts.append(verdict)
        context.log.info(f"{verdict.name}: {verdict.reason}")
        links = {} if page is None else {"page": dg.MetadataValue.url(page.absolute().as_uri())}
        context.add_asset_metadata({**_said(verdict), **links}, partition_key=verdict.name)
    record(storage, verdicts)
    removed = remove_older(storage, settings.drift.keep_reports)
    return dg.MaterializeResult(
        metadata={
            "partitions": len(verdicts),
            "alarms": sum(verdict.alarm for verdict in verdicts),
            "reports_removed": len(removed),
            "scores": dg.MetadataValue.path(drift_path(storage)),
            **_figure(storage),
            "seconds": round(time.perf_counter() - started, 2),
        }
    )


def _said(verdict: "Verdict") -> dict[str, dg.MetadataValue]:
    volumes = {name: value for name, value in verdict.volumes.items() if math.isfinite(value)}  # NaN is no JSON
    scores = verdict.scores.round(4).to_markdown(index=False)
    return {
        "dagster/row_count": dg.MetadataValue.int(int(verdict.volumes["engagements"])),
        "alarm": dg.MetadataValue.bool(verdict.alarm),
        "judged": dg.MetadataValue.bool(verdict.judged),
        "reason": dg.MetadataValue.text(verdict.reason),
        "volumes": dg.MetadataValue.json(volumes),
        "score_table": dg.MetadataValue.md(scores or ""),
    }


def _figure(storage: Storage) -> dict[str, dg.MetadataValue]:
    from assets.monitoring.tables import read_drift
    from dashboards.partition_figure import partition_figure

    scores = read_drift(storage)
    scores = scores[scores["kind"] == "partition"]
    if scores.empty:
        return {}
    picture = inline_png(partition_figure(scores, storage.dataset), "score over threshold per partition")
    return {"figure": dg.MetadataValue.md(picture)}


ASSETS: list[dg.AssetsDefinition] = [partition_drift]
