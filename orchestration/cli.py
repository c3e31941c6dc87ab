"""The ``thaw`` command. Every Makefile target is one of these."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from assets.config import Settings
from orchestration.champion_cli import app as champion_app
from orchestration.dashboards_cli import app as dashboards_app
from orchestration.home import QUIET, prepare_home
from orchestration.live_cli import app as live_app
from orchestration.options import Dataset, Models, settings_of
from orchestration.study_cli import app as study_app

if TYPE_CHECKING:  # importing the runner imports Dagster: `thaw --help` does without
    from orchestration.runner import Outcome

app = typer.Typer(
    help="Thaw keeps new and long-tail items retrievable.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(live_app)
app.add_typer(study_app)
app.add_typer(champion_app)
app.add_typer(dashboards_app)


@app.command()
def setup(force: Annotated[bool, typer.Option(help="parse even if nothing changed")] = False) -> None:
    """Prepare what loading the definitions needs: the manifest of the dbt project."""
    os.environ.update(QUIET)
    from assets.transforms.project import prepare_manifest  # noqa: PLC0415

    prepare_manifest(force=force)


@app.command()
def run(
    dataset: Dataset = None,
    models: Models = None,
    select: Annotated[
        str | None, typer.Option(help="only these assets, in Dagster's selection syntax: 'group:evaluation'")
    ] = None,
) -> None:
    """Materialize the whole graph, then print the leaderboard and the index's self-check."""
    console = Console(highlight=False)
    settings = settings_of(dataset, models)
    prepare_home(settings)
    from orchestration.runner import run_graph  # noqa: PLC0415
    from orchestration.summary import print_summary  # noqa: PLC0415

    try:
        outcome = run_graph(settings, select, console)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not outcome.success:
        _fail(settings, outcome, console)
    print_summary(settings, outcome.materialized, console)


@app.command()
def report(
    dataset: Dataset = None,
    models: Models = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="train the nets with this many seeds")] = None,
    to: Annotated[Path | None, typer.Option(help="folder of the pages; default: docs/results")] = None,
) -> None:
    """Run what is missing for a dataset's page of results, then write the page and its figures."""
    console = Console(highlight=False)
    settings = settings_of(dataset, models)
    if seeds:
        settings = settings.model_copy(update={"training": settings.training.model_copy(update={"seeds": seeds})})
    prepare_home(settings)
    from orchestration.report import RESULTS, make_missing, write_report  # noqa: PLC0415

    outcome = make_missing(settings, console)
    if outcome is not None and not outcome.success:
        _fail(settings, outcome, console)
    asked = f"make report DATASET={settings.dataset} SEEDS={settings.training.seeds}"
    command = asked + (f" MODELS={','.join(settings.models)}" if settings.models else "")
    console.print(str(write_report(settings, command, to or RESULTS)), soft_wrap=True)


@app.command()
def ui(dataset: Dataset = None, models: Models = None, port: Annotated[int, typer.Option(min=1)] = 3000) -> None:
    """Serve Dagster's UI and daemon on this project, on the loopback address, until interrupted."""
    settings = settings_of(dataset, models)
    prepare_home(settings)
    from orchestration.ui import HOST, command, serve  # noqa: PLC0415

    typer.echo(f"Dagster for {settings.dataset} at http://{HOST}:{port} (Ctrl-C stops it)")
    raise typer.Exit(serve(command(port)))


@app.command()
def datasets() -> None:
    """List the registered datasets."""
    from assets.ingestion.registry import DATASETS  # noqa: PLC0415

    _table(["dataset", "licence"], [(name, adapter.licence) for name, adapter in DATASETS.items()])


@app.command()
def models() -> None:
    """List the registered models; the default roster is marked."""
    from assets.training.registry import DEFAULT_ROSTER, MODELS  # noqa: PLC0415

    rows = [(name, entry.kind, "yes" if name in DEFAULT_ROSTER else "") for name, entry in MODELS.items()]
    _table(["model", "kind", "default roster"], rows)


def _fail(settings: Settings, outcome: "Outcome", console: Console) -> NoReturn:
    """Say which steps and checks failed, and where to look; end with exit code 1."""
    from orchestration.summary import print_failure  # noqa: PLC0415

    print_failure(settings, outcome, console)
    raise typer.Exit(1)


def _table(headers: list[str], rows: list[tuple[Any, ...]]) -> None:
    from tabulate import tabulate  # noqa: PLC0415

    typer.echo(tabulate(rows, headers=headers))


if __name__ == "__main__":
    app()
