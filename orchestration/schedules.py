"""Schedules. All are off until somebody switches them on in the UI."""

import dagster as dg

from orchestration.jobs import AssetJob, index_config


def daily_refresh(job: AssetJob) -> dg.ScheduleDefinition:
    """Run ``refresh_all`` every night at 03:00 UTC."""
    return dg.ScheduleDefinition(
        name="daily_refresh",
        job=job,
        cron_schedule="0 3 * * *",
        execution_timezone="UTC",
        description="Rebuild everything once a day at 03:00 UTC.",
    )


def daily_quantizer(job: AssetJob) -> dg.ScheduleDefinition:
    """Run ``retrain_quantizer`` every night at 03:30 UTC."""
    return dg.ScheduleDefinition(
        name="daily_quantizer",
        job=job,
        cron_schedule="30 3 * * *",
        execution_timezone="UTC",
        run_config=index_config(build=False, retrain=True),
        description=(
            "Train the index's quantizer on the vectors of the day, aside, and swap it in; then compare the live state"
            " with batch code. 03:30 UTC."
        ),
    )
