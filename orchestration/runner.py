"""Running the graph from the command line: in this process, on the persistent instance, with a summary at the end."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from rich.console import Console

from assets import keys
from assets.config import Settings
from orchestration.definitions import build_definitions
from orchestration.home import open_instance
from orchestration.jobs import REFRESH_ALL, out_of_reach
from orchestration.progress import step_lines
from orchestration.slots import free_dead_slots, process_tags


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its id, whether it succeeded, what it made, and the keys of steps and checks that failed."""

    run_id: str
    success: bool
    materialized: frozenset[str]
    failed_steps: dict[str, str]
    failed_checks: list[str]

    @property
    def interrupted(self) -> bool:
        """Whether somebody ended it: Dagster turns the signal into a failure of the step at work."""
        return any(DagsterExecutionInterruptedError.__name__ in message for message in self.failed_steps.values())


def run_assets(
    settings: Settings,
    chosen: Sequence[keys.Key],
    console: Console,
    partitions: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Outcome:
    """Materialize exactly ``chosen``, with their checks.

    Args:
        partitions: of what is chosen, in their order; all of them, from the first to the last, in this one run.
        config: of ops, by their name.
    """
    definitions = build_definitions(settings, progress=step_lines(console))
    job = definitions.resolve_implicit_global_asset_job_def()
    return _execute(settings, job, list(map(dg.AssetKey, chosen)), console, partitions, config or {})


def run_graph(settings: Settings, selection: str | None, console: Console, partitions: Sequence[str] = ()) -> Outcome:
    """Materialize ``selection`` (Dagster's asset selection syntax; default: the whole roster graph).

    Of a selection, only what the settings make is run: no model that is not in the roster, no table of another split.

    Args:
        partitions: of what is selected, in their order; all of them, from the first to the last, in this one run.

    Raises:
        ValueError: when the selection holds no asset, or none that the settings make.
    """
    definitions = build_definitions(settings, progress=step_lines(console))
    job, chosen = definitions.resolve_job_def(REFRESH_ALL), None
    if selection is not None:
        job = definitions.resolve_implicit_global_asset_job_def()
        chosen = _within_reach(resolve(selection, definitions), settings)
    return _execute(settings, job, chosen, console, partitions, {})


def _execute(
    settings: Settings,
    job: dg.JobDefinition,
    chosen: list[dg.AssetKey] | None,
    console: Console,
    partitions: Sequence[str],
    ops: Mapping[str, Any],
) -> Outcome:
    with open_instance(settings) as instance:
        for run_id in free_dead_slots(instance):
            console.print(f"run {run_id} had died: marked as failed, its place in the queue freed")
        result = job.execute_in_process(
            instance=instance,
            asset_selection=chosen,
            raise_on_error=False,
            run_config={"loggers": {"progress": {}}, "ops": dict(ops)},
            tags={**process_tags(), "thaw/dataset": settings.dataset, **_range(partitions)},
        )
    return _outcome(result)


def _range(partitions: Sequence[str]) -> dict[str, str]:
    """Tags that say to Dagster which partitions a run is for."""
    if not partitions:
        return {}
    return {ASSET_PARTITION_RANGE_START_TAG: partitions[0], ASSET_PARTITION_RANGE_END_TAG: partitions[-1]}


def resolve(selection: str, definitions: dg.Definitions) -> list[dg.AssetKey]:
    """The assets of a selection.

    Raises:
        ValueError: when it holds none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # about a parameter that Dagster's own parser sets
        chosen = list(dg.AssetSelection.from_string(selection).resolve(definitions.resolve_asset_graph()))
    if not chosen:
        raise ValueError(f"--select {selection!r} holds no asset; try 'group:evaluation' or 'key:\"training/sasrec\"+'")
    return chosen


def _within_reach(chosen: list[dg.AssetKey], settings: Settings) -> list[dg.AssetKey]:
    held = set(map(dg.AssetKey, out_of_reach(settings)))
    if not (within := [key for key in chosen if key not in held]):
        names = ", ".join(sorted(key.to_user_string() for key in chosen))
        raise ValueError(
            f"--select holds only what these settings do not make: {names}; name the models with --models, or set the"
            " split that the table is for (partitions of landed files are made by the job freshen: `thaw ui`)"
        )
    return within


def _outcome(result: dg.ExecuteInProcessResult) -> Outcome:
    failed = {}
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            failed[event.step_key or "?"] = cause.message.strip() if cause else ""
    checks = [
        f"{check.asset_key.to_user_string()} · {check.check_name}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]
    made = frozenset(
        event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key
    )
    return Outcome(result.run_id, result.success and not checks, made, failed, checks)
