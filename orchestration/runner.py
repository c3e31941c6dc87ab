"""Running the graph from the command line: in this process, on the persistent instance, with a summary at the end."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
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
from orchestration.mirror import following
from orchestration.progress import print_plan, step_lines
from orchestration.run_requests import part_of
from orchestration.slots import free_dead_slots, process_tags
from orchestration.unchanged import Plan, forget, inputs_before, plan, record
from orchestration.units import finished_of, known_of, units_of


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run_id: Dagster's; empty where nothing had to run.
        success: whether every step and check did.
        materialized: assets that it made.
        failed_steps: their keys, each with its message.
        failed_checks: of severity error.
        unchanged: assets that it left out, because they are what it would have made.
    """

    run_id: str
    success: bool
    materialized: frozenset[str]
    failed_steps: dict[str, str]
    failed_checks: list[str]
    unchanged: frozenset[str] = frozenset()

    @property
    def current(self) -> frozenset[str]:
        """Assets that are now what the settings and sources make of them."""
        return self.materialized | self.unchanged

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
    chosen_keys = list(map(dg.AssetKey, chosen))
    with _instance(settings, console) as instance:
        work = Work(definitions, instance, settings)
        with _mirrored(work, console):
            return _execute(work, job, chosen_keys, partitions, config or {})


def run_graph(
    settings: Settings,
    selection: str | None,
    console: Console,
    partitions: Sequence[str] = (),
    *,
    force: bool = False,
) -> Outcome:
    """Materialize ``selection`` (Dagster's asset selection syntax), or what of the whole roster graph is not current.

    Of a selection, only what the settings make is run: no model that is not in the roster, no table of another split.
    What is selected is made whether it is current or not.

    Args:
        partitions: of what is selected, in their order; all of them, from the first to the last, in this one run.
        force: without a selection, make what is current too.

    Raises:
        ValueError: when the selection holds no asset, or none that the settings make.
    """
    definitions = build_definitions(settings, progress=step_lines(console))
    if selection is not None:
        job = definitions.resolve_implicit_global_asset_job_def()
        chosen = _within_reach(resolve(selection, definitions), settings)
        with _instance(settings, console) as instance, _mirrored(Work(definitions, instance, settings), console):
            return _execute(Work(definitions, instance, settings), job, chosen, partitions, {})
    with _instance(settings, console) as instance:
        work = Work(definitions, instance, settings)
        with _mirrored(work, console):
            return _run_changed(work, partitions, console, force)


@dataclass(frozen=True)
class Work:
    """What runs are made of."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    settings: Settings


@contextmanager
def _mirrored(work: Work, console: Console) -> Iterator[None]:
    """What other machines made is fetched before the block, what was made in it sent after it; both are printed."""
    if work.settings.objects.url is None:
        yield
        return
    with following(work.settings, work.instance, units_of(work.definitions)) as (fetched, sent):
        if fetched:
            console.print(f"fetched from {work.settings.objects.url}: {', '.join(fetched)}")
        yield
    if sent:
        console.print(f"sent to {work.settings.objects.url}: {', '.join(sent)}")


def _run_changed(work: Work, partitions: Sequence[str], console: Console, force: bool) -> Outcome:
    """The whole graph's job, without the steps that would only do again what they did."""
    units = units_of(work.definitions)
    known = known_of(work.instance, units)
    made = Plan(dict.fromkeys((unit.name for unit in units), "--force"), {})
    if not force:
        made = plan(units, work.settings, known, datetime.now(UTC))
    print_plan(units, made, console)
    unchanged = frozenset(asset for unit in units if unit.name in made.unchanged for asset in unit.assets)
    chosen = [dg.AssetKey.from_user_string(asset) for unit in units for asset in unit.assets if asset not in unchanged]
    if not chosen:
        return Outcome("", True, frozenset(), {}, [], unchanged)
    job = work.definitions.resolve_job_def(REFRESH_ALL)
    return replace(_execute(work, job, chosen if unchanged else None, partitions, {}), unchanged=unchanged)


@contextmanager
def _instance(settings: Settings, console: Console) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as instance:
        for run_id in free_dead_slots(instance):
            console.print(f"run {run_id} had died: marked as failed, its place in the queue freed")
        yield instance


def _execute(
    work: Work,
    job: dg.JobDefinition,
    chosen: list[dg.AssetKey] | None,
    partitions: Sequence[str],
    ops: Mapping[str, Any],
) -> Outcome:
    """Run a job, keeping the accounts of :mod:`orchestration.unchanged` right, whatever was chosen of it."""
    names = None if chosen is None else {key.to_user_string() for key in chosen}
    units = units_of(work.definitions)
    touched = [unit for unit in units if names is None or names.intersection(unit.assets)]
    forget(work.settings.storage, touched)
    before = inputs_before(touched, units, work.settings)
    started = datetime.now(UTC)
    result = job.execute_in_process(
        instance=work.instance,
        asset_selection=chosen,
        raise_on_error=False,
        run_config={"loggers": {"progress": {}}, "ops": dict(ops)},
        tags={
            **process_tags(),
            **(part_of(chosen) if chosen else {}),
            "thaw/dataset": work.settings.dataset,
            **_range(partitions),
        },
    )
    record(touched, units, work.settings, finished_of(result, work.instance, touched), started, before)
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
