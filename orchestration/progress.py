"""What a run prints while it works: one line per finished step, and what failed, instead of every event."""

import logging
import time

import dagster as dg
from rich.console import Console

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
