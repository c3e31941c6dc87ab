"""Asking for runs, one at a time: what is at work, and the requests that make a retrain.

The command line and a click in the UI run parts of a job under a job of Dagster's own, so a run is known by more than
its job's name: by the tag :data:`PART_OF`, and by assets of which only one run at a time may make any.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import dagster as dg

from assets import keys
from assets.champion.challenger import challenging_models
from assets.config import Settings
from orchestration.jobs import REFRESH_ALL, RETRAIN
from orchestration.slots import UNFINISHED, free_dead_slots, process_tags

MAX_TAG: Final = 255
"""Characters that Dagster takes in the value of a tag."""

DAGSTERS_OWN: Final = "__"
"""What names of Dagster's own jobs begin with."""

SHOWN: Final = 3
"""Assets that a message names, at most."""

PRIORITY_TAG: Final = "dagster/priority"


PART_OF: Final = "thaw/part_of"
"""Tag of a run of the command line: the job that it does a part of."""

ALONE: Final[Mapping[str, frozenset[str]]] = {RETRAIN: frozenset("/".join(key) for key in keys.RETRAINING)}
"""Job -> its assets, where a run that makes any of them is one of the job, whoever asked for it."""


def part_of(chosen: Iterable[dg.AssetKey]) -> dict[str, str]:
    """The tag of a run of the command line that makes ``chosen``."""
    retrains = ALONE[RETRAIN].issuperset(key.to_user_string() for key in chosen)
    return {PART_OF: RETRAIN if retrains else REFRESH_ALL}


def at_work(instance: dg.DagsterInstance, *jobs: str) -> dg.DagsterRun | None:
    """A run of these jobs that has not ended, whoever launched it; runs whose process is gone do not count."""
    free_dead_slots(instance)
    unfinished = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    return next((run for job in jobs for run in unfinished if _is_of(run, job)), None)


def _is_of(run: dg.DagsterRun, job: str) -> bool:
    """Whether a run is one of ``job``, or does a part of it."""
    return job in (run.job_name, run.tags.get(PART_OF)) or not ALONE.get(job, frozenset()).isdisjoint(_chosen(run))


def _chosen(run: dg.DagsterRun) -> set[str]:
    """What a run makes, where it is less than its job; steps are called as their assets, checks as theirs."""
    if run.asset_selection is not None:
        return {key.to_user_string() for key in run.asset_selection}
    return {step.replace("__", "/") for step in run.step_keys_to_execute or ()}


def why_not(instance: dg.DagsterInstance, *jobs: str) -> str | None:
    """Why no run of these jobs may be requested now: one at a time; None where one may."""
    run = at_work(instance, *jobs)
    return None if run is None else f"run {run.run_id} of {_told(run)} has not ended ({run.status.value.lower()})"


def _told(run: dg.DagsterRun) -> str:
    """What a run is of, in words: its job; of one that chose assets itself, those."""
    if not run.job_name.startswith(DAGSTERS_OWN):
        return run.job_name
    names = sorted(_chosen(run))
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


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
            tags={**process_tags(), **short, PRIORITY_TAG: str(len(models) - 1 - place)},
        )
        for place, model in enumerate(models)
    ]


def clipped(value: str) -> str:
    """A tag's value as long as Dagster takes it."""
    return value if len(value) <= MAX_TAG else value[: MAX_TAG - 1] + "…"
