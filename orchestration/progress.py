"""What a run prints while it works: one line per finished step, and what failed, instead of every event."""

import logging
import time
from collections.abc import Sequence

import dagster as dg
from rich.console import Console

from orchestration.unchanged import Plan, Unit

_FINISHED = {"STEP_SUCCESS": "[green]done[/]", "STEP_FAILURE": "[red]failed[/]", "STEP_SKIPPED": "[yellow]skipped[/]"}


class StepLines(logging.Handler):
    """Prints a line when a step starts and ends, and asset checks that fail."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self._console = console
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event") if isinstance(meta, dict) else None
        if event is None:
            if record.levelno in {logging.INFO, logging.WARNING}:  # errors are told once, at the end
                self._console.print(f"  {_said(record, meta)}", markup=False, soft_wrap=True)
            return
        self._event(event)

    def _event(self, event: dg.DagsterEvent) -> None:
        name, kind = event.step_key or "", event.event_type_value
        if kind == "STEP_START":
            self._started[name] = time.monotonic()
            self._console.print(f"[dim]start[/]  {name}")
        elif kind in _FINISHED:
            seconds = time.monotonic() - self._started.get(name, time.monotonic())
            self._console.print(f"{_FINISHED[kind]}   {name}  [dim]{seconds:.1f} s[/]")
        elif kind == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed:
                self._console.print(f"[red]check failed[/]  {check.asset_key.to_user_string()} · {check.check_name}")


def _said(record: logging.LogRecord, meta: dict[str, object]) -> str:
    """The message as it was logged, without the run and step that Dagster puts before it."""
    return str(meta.get("orig_message") or record.getMessage())


def step_lines(console: Console) -> dg.LoggerDefinition:
    """A Dagster logger that prints through :class:`StepLines`."""

    @dg.logger({}, description="one line per step")
    def lines(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("thaw.steps", logging.DEBUG)
        logger.addHandler(StepLines(console))
        return logger

    return lines


def print_plan(units: Sequence[Unit], plan: Plan, console: Console) -> None:
    """A line per stage: how many of its assets are as they would be made, and why the first of the others is not."""
    stages: dict[str, list[tuple[str, Unit]]] = {}
    for unit in units:
        for asset in unit.assets:
            stages.setdefault(asset.split("/")[0], []).append((asset, unit))
    for stage, held in stages.items():
        run = [(asset, plan.reasons[unit.name]) for asset, unit in held if unit.name in plan.reasons]
        console.print(f"[dim]{_counted(stage, len(held), run)}[/]", soft_wrap=True)
        warned = sorted({check for _, unit in held for check in _warnings(plan, unit)})
        for check in warned:
            console.print(f"[yellow]warning stands[/]  {check.replace(':', ' · ')}", soft_wrap=True)


def _counted(stage: str, count: int, run: list[tuple[str, str]]) -> str:
    left = count - len(run)
    if not run:
        return f"unchanged  {stage}: {count} of {count} assets"
    asset, reason = run[0]
    return f"to make    {stage}: {len(run)} of {count} assets ({left} unchanged); {asset}: {reason}"


def _warnings(plan: Plan, unit: Unit) -> list[str]:
    return plan.unchanged[unit.name].warnings if unit.name in plan.unchanged else []
