"""The static site as an asset."""

import time
from datetime import UTC, datetime

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage

SHOWN = (
    keys.DATA_DOCS,
    keys.METRICS,
    keys.LEADERBOARD,
    keys.DECAY,
    keys.COMPARISONS,
    keys.ITEM_INDEX,
    keys.FRESHNESS_REPORT,
    keys.ENGAGEMENT_DRIFT,
    keys.PARTITION_DRIFT,
    keys.QUALITY_OVER_TIME,
    keys.PROMOTION,
)
"""What the pages show."""


@dg.asset(
    key=keys.DASHBOARD,
    deps=list(SHOWN),
    group_name=keys.MONITORING,
    kinds={"html", "plotly"},
    owners=[keys.OWNER],
    description=(
        "The static site: status at a glance, decay, leaderboard, cold start, freshness, drift, champion and data"
        " quality. Opens from disk without a network; what was not measured yet is left grey."
    ),
)
def dashboard(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.monitoring.site.build import write_site
    from dashboards.pages import SIGNS

    started = time.perf_counter()
    site = write_site(storage, settings, datetime.now(UTC))
    for problem in site.problems:
        context.log.warning(f"could not be read: {problem}")
    lines = ["| topic | status | reason |", "|---|---|---|"]
    lines += [f"| {one.name} | {SIGNS[one.state]} | {one.reason.replace('|', '/')} |" for one in site.topics]
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(site.front),
            "open": dg.MetadataValue.url(site.front.absolute().as_uri()),
            "status": dg.MetadataValue.md("\n".join(lines)),
            "pages": len(site.pages),
            "largest_page_bytes": max(path.stat().st_size for path in site.pages),
            "unreadable": dg.MetadataValue.json(site.problems),
            "seconds": round(time.perf_counter() - started, 2),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [dashboard]
