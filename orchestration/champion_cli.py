"""Commands about the model that serves: challenge it, take a promotion back, look at its record.

What a command needs is imported in it: `thaw --help` loads neither torch nor Dagster.
"""

# ruff: noqa: PLC0415
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from assets import keys
from assets.config import ConfigError, Settings
from assets.instants import to_the_minute, wall_clock
from orchestration.home import prepare_home
from orchestration.options import Dataset, settings_of

if TYPE_CHECKING:
    from assets.champion.record import RecordEntry
    from orchestration.runner import Outcome

app = typer.Typer()

SHOWN = 20
"""Entries of the record, the newest."""


@app.command()
def retrain(
    dataset: Dataset = None,
    models: Annotated[
        str | None, typer.Option(help="comma-separated nets to train; default: retraining.models, or what serves")
    ] = None,
) -> None:
    """Train challengers, let the best of them meet the model that serves, and promote it if it wins."""
    from assets.champion.challenger import challenging_models
    from assets.champion.contest import latest_contest
    from assets.champion.grounds import why_not_comparable
    from assets.champion.record import decided
    from assets.serving.live.generation import GenerationError, NoIndexError

    console, settings = _console(), settings_of(dataset)
    if models:
        named = tuple(name.strip() for name in models.split(",") if name.strip())
        settings = settings.model_copy(update={"retraining": settings.retraining.model_copy(update={"models": named})})
    try:
        nets = challenging_models(settings.storage, settings)
        reason = why_not_comparable(settings.storage, settings)
    except (ConfigError, NoIndexError, GenerationError) as error:
        _fail(str(error), console)
    if reason is not None:
        _fail(f"Nothing was trained: {reason}.", console)
    prepare_home(settings)
    from orchestration.runner import run_assets

    _require_alone(settings, console)
    for net in nets:  # a run each: a range of partitions would hold those between them too
        _require(settings, run_assets(settings, [keys.CHALLENGER], console, [net]), console)
    _require(settings, run_assets(settings, [keys.CONTEST, keys.PROMOTION], console), console)
    account = latest_contest(settings.storage)
    entry = decided(settings.storage, account["name"])
    console.print(f"{account['verdict']}: {account['reason']}", markup=False, soft_wrap=True)
    if entry is not None:
        console.print(f"{entry.model} serves, generation {entry.generation}.", markup=False, soft_wrap=True)


@app.command()
def rollback(dataset: Dataset = None) -> None:
    """Let the generation serve again that served before, with everything that has landed since."""
    from assets.champion.promote import roll_back
    from assets.serving.live.generation import GenerationError, NoIndexError
    from assets.serving.live.succession import RecallError

    console, settings = _console(), settings_of(dataset)
    try:
        entry = roll_back(
            settings.storage, settings, wall_clock(), lambda line: console.print(line, markup=False, soft_wrap=True)
        )
    except (GenerationError, NoIndexError, RecallError) as error:
        _fail(str(error), console)
    told = f"{entry.model} serves again, generation {entry.generation}; `thaw rollback` goes back to {entry.previous}."
    console.print(told, markup=False, soft_wrap=True)


@app.command()
def champion(
    dataset: Dataset = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="let the roster's best model serve, even where the champion won a contest")
    ] = False,
) -> None:
    """Show which model serves, since when, and what it won against."""
    from assets.champion.record import read_record
    from assets.serving.live.generation import GenerationError, NoIndexError, require_current

    console, settings = _console(), settings_of(dataset)
    if replace:
        _replace(settings, console)
    try:
        generation = require_current(settings.storage)
        record = generation.record()
    except (GenerationError, NoIndexError) as error:
        _fail(str(error), console)
    entries = read_record(settings.storage)
    since = [entry.at for entry in entries if entry.generation == generation.name and entry.kind != "lost"]
    at = to_the_minute(since[-1] if since else record.created_at)
    origin = "won a contest" if record.origin == "contest" else "made by `thaw run`"
    console.print(
        f"{record.model} serves {settings.dataset} since {at}: generation {generation.name}, {origin}.",
        markup=False,
        soft_wrap=True,
    )
    if entries:
        console.print(_table(entries[-SHOWN:]))


def _require_alone(settings: Settings, console: Console) -> None:
    """End the command where a retrain is at work: two would write the same challengers."""
    from orchestration.home import open_instance
    from orchestration.jobs import RETRAIN
    from orchestration.run_requests import why_not

    with open_instance(settings) as instance:
        held = why_not(instance, RETRAIN)
    if held is not None:
        way_out = "wait for it, or end it in the UI (`thaw ui`, page Runs), then run this again"
        _fail(f"Nothing was trained: {held}; {way_out}.", console)


def _replace(settings: Settings, console: Console) -> None:
    prepare_home(settings)
    from orchestration.runner import run_assets

    config = {"__".join(keys.ITEM_INDEX): {"config": {"build": True, "retrain": False, "replace": True}}}
    _require(settings, run_assets(settings, [keys.ITEM_INDEX], console, config=config), console)


def _table(entries: "list[RecordEntry]") -> Table:
    table = Table("when", "events until", "what", "serves", "generation", "why")
    for entry in reversed(entries):
        reason = str(entry.evidence.get("reason", ""))
        table.add_row(
            to_the_minute(entry.at), to_the_minute(entry.event_at), entry.kind, entry.model, entry.generation, reason
        )
    return table


def _require(settings: Settings, outcome: "Outcome", console: Console) -> None:
    if outcome.success:
        return
    from orchestration.summary import print_failure

    print_failure(settings, outcome, console)
    raise typer.Exit(1)


def _fail(message: str, console: Console) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _console() -> Console:
    return Console(highlight=False)
