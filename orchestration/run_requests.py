"""Asking for runs, one at a time: what is at work, and the requests that make a retrain."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from assets import keys
from assets.champion.challenger import challenging_models
from assets.config import Settings
from orchestration.slots import free_dead_slots

UNFINISHED: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

MAX_TAG: Final = 255
"""Characters that Dagster takes in the value of a tag."""

PRIORITY_TAG: Final = "dagster/priority"


def at_work(instance: dg.DagsterInstance, *jobs: str) -> dg.DagsterRun | None:
    """A run of these jobs that has not ended, whoever launched it; runs whose process is gone do not count."""
    free_dead_slots(instance)
    for job in jobs:
        if found := instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNFINISHED)), limit=1):
            return found[0]
    return None


def why_not(instance: dg.DagsterInstance, *jobs: str) -> str | None:
    """Why no run of these jobs may be requested now: one at a time; None where one may."""
    run = at_work(instance, *jobs)
    return None if run is None else f"run {run.run_id} of {run.job_name} has not ended ({run.status.value.lower()})"


def retrain_requests(settings: Settings, run_key: str, tags: Mapping[str, str]) -> list[dg.RunRequest]:
    """Requests that train the challengers, one after the other, the last one with the contest and the promotion.

    The heavy runs of a home go one at a time and by priority, so the last is last.

    Raises:
        ConfigError: where the settings name no net that can challenge.
        NoIndexError: where nothing serves.
    """
    models = challenging_models(settings.storage, settings)
    short = {name: clipped(value) for name, value in tags.items()}
    return [
        dg.RunRequest(
            run_key=f"{run_key}-{model}",
            partition_key=model,
            asset_selection=None if model == models[-1] else [dg.AssetKey(keys.CHALLENGER)],
            tags={**short, PRIORITY_TAG: str(len(models) - 1 - place)},
        )
        for place, model in enumerate(models)
    ]


def clipped(value: str) -> str:
    """A tag's value as long as Dagster takes it."""
    return value if len(value) <= MAX_TAG else value[: MAX_TAG - 1] + "…"
