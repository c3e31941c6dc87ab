"""The sensor that tells people of failed runs."""

import dagster as dg

from assets.config import Settings
from orchestration.notify import Message, tell

MAX_STEPS = 5
"""Failed steps that a message describes."""


def failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """Tell of every failed run of this home that the daemon launched; on by default.

    Runs of the command line report on the terminal themselves.
    """

    @dg.run_failure_sensor(
        name="run_failures",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people of failed runs, as settings.notifier says: the log, a webhook, or Slack.",
    )
    def run_failures(context: dg.RunFailureSensorContext) -> None:
        tell(settings.notifier, context.log, failure_message(context, settings))

    return run_failures


def failure_message(context: dg.RunFailureSensorContext, settings: Settings) -> Message:
    """Which run failed, in which steps and why, and where to look."""
    run = context.dagster_run
    steps = {event.step_key or "?": _cause(event) for event in context.get_step_failure_events()[:MAX_STEPS]}
    lines = [f"{step}: {cause}" for step, cause in steps.items()] or [
        context.failure_event.message or "no reason given"
    ]
    text = "\n".join([*lines, f"Details: `thaw ui --dataset {settings.dataset}`, run {run.run_id}"])
    details = {"run_id": run.run_id, "job": run.job_name, "steps": list(steps), "tags": dict(run.tags)}
    return Message("failure", settings.dataset, f"{settings.dataset}: run of {run.job_name} failed", text, details)


def _cause(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    cause = error.cause if error and error.cause else error
    return cause.message.strip() if cause else ""
