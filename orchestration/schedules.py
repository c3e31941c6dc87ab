"""Schedules, all in UTC. A tick passes, and says why, while a run of its job has not ended or there is nothing yet.

The night's quantizer and the week's drift report are on by default. The daily refresh is off: most sources are
published files that never change, and where one does, checkpoints and evaluation are of the former tables until
``thaw run``. The monthly retrain is off: it takes minutes of every core, and a decay alert asks for one when it is
needed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from assets.config import Settings
from assets.serving.live.generation import current
from orchestration.jobs import REFRESH_ALL, AssetJob, index_config
from orchestration.run_requests import retrain_requests, why_not

TRIGGER_TAG: Final = "thaw/trigger"
RUNNING: Final = dg.DefaultScheduleStatus.RUNNING
STOPPED: Final = dg.DefaultScheduleStatus.STOPPED

Ready = Callable[[], str | None]
"""Why there is nothing to do yet; None where there is."""


def daily_refresh(job: AssetJob) -> dg.ScheduleDefinition:
    """Run ``refresh_data`` every night at 03:00 UTC."""
    return _one_at_a_time("daily_refresh", job, "0 3 * * *", STOPPED, "Read the source anew at 03:00 UTC; no training.")


def daily_quantizer(job: AssetJob, settings: Settings) -> dg.ScheduleDefinition:
    """Run ``retrain_quantizer`` every night at 03:30 UTC."""
    return _one_at_a_time(
        "daily_quantizer",
        job,
        "30 3 * * *",
        RUNNING,
        "Train the index's quantizer on the vectors of the day, aside, and swap it in; then compare the live state with"
        " batch code. 03:30 UTC.",
        run_config=index_config(build=False, retrain=True),
        ready=lambda: _serves(settings),
    )


def weekly_drift(job: AssetJob, settings: Settings) -> dg.ScheduleDefinition:
    """Run ``drift_report`` on Mondays at 04:30 UTC."""
    return _one_at_a_time(
        "weekly_drift",
        job,
        "30 4 * * 1",
        RUNNING,
        "Drift of the test windows, Evidently's workspace and the pages, made anew on Mondays at 04:30 UTC.",
        ready=lambda: _has_tables(settings),
    )


def monthly_retrain(job: AssetJob, settings: Settings) -> dg.ScheduleDefinition:
    """Run ``retrain`` on the first of the month at 05:00 UTC: the cadence of the IHM paper."""

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        if reason := _serves(settings) or why_not(context.instance, job.name, REFRESH_ALL):
            yield dg.SkipReason(reason)
            return
        day = f"{context.scheduled_execution_time:%Y-%m-%d}"
        yield from retrain_requests(settings, f"monthly-{day}", {TRIGGER_TAG: "month"})

    description = "A challenger, its contest with the champion, and promotion of a winner; on the 1st at 05:00 UTC."
    return _schedule("monthly_retrain", job, "0 5 1 * *", STOPPED, description, tick)


def _one_at_a_time(
    name: str,
    job: AssetJob,
    cron: str,
    status: dg.DefaultScheduleStatus,
    description: str,
    *,
    run_config: Mapping[str, Any] | None = None,
    ready: Ready = lambda: None,
) -> dg.ScheduleDefinition:
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if reason := ready() or why_not(context.instance, job.name, REFRESH_ALL):
            return dg.SkipReason(reason)
        return dg.RunRequest(run_config=dict(run_config or {}), tags={TRIGGER_TAG: name})

    return _schedule(name, job, cron, status, description, tick)


def _schedule(
    name: str, job: AssetJob, cron: str, status: dg.DefaultScheduleStatus, description: str, tick: Callable[..., Any]
) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=status,
        description=description,
        execution_fn=tick,
    )


def _serves(settings: Settings) -> str | None:
    return None if current(settings.storage) else "nothing serves yet: run `thaw run` first"


def _has_tables(settings: Settings) -> str | None:
    return None if settings.storage.table("interactions").exists() else "there are no tables yet: run `thaw run` first"


def all_schedules(
    settings: Settings, refresh: AssetJob, quantizer: AssetJob, drift: AssetJob, retrain: AssetJob
) -> Sequence[dg.ScheduleDefinition]:
    """Every schedule, each on its job."""
    return [
        daily_refresh(refresh),
        daily_quantizer(quantizer, settings),
        weekly_drift(drift, settings),
        monthly_retrain(retrain, settings),
    ]
