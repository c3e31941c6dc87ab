"""Schedules. All are off until somebody switches them on in the UI."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:  # Dagster does not export the type that define_asset_job returns
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def daily_refresh(job: "UnresolvedAssetJobDefinition") -> dg.ScheduleDefinition:
    """Run ``refresh_all`` every night at 03:00 UTC."""
    return dg.ScheduleDefinition(
        name="daily_refresh",
        job=job,
        cron_schedule="0 3 * * *",
        execution_timezone="UTC",
        description="Rebuild everything once a day at 03:00 UTC.",
    )
