"""The ``thaw`` command. Every Makefile target is one of these."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from assets.config import Settings
from orchestration.bulk_cli import app as bulk_app
from orchestration.champion_cli import app as champion_app
from orchestration.dashboards_cli import app as dashboards_app
from orchestration.home import QUIET, prepare_home
from orchestration.live_cli import app as live_app
from orchestration.objects_cli import app as objects_app
from orchestration.options import Dataset, Models, settings_of
from orchestration.report_cli import app as report_app
from orchestration.simulate_cli import app as simulate_app
from orchestration.study_cli import app as study_app
from orchestration.together_cli import app as together_app
from orchestration.verify_cli import app as verify_app

if TYPE_CHECKING:  # importing the runner imports Dagster: `thaw --help` does without
    from orchestration.runner import Outcome

app = typer.Typer(
    help="Thaw keeps new and long-tail items retrievable.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(live_app)
app.add_typer(report_app)
app.add_typer(study_app)
app.add_typer(champion_app)
app.add_typer(dashboards_app)
app.add_typer(simulate_app)
app.add_typer(together_app)
app.add_typer(bulk_app)
app.add_typer(objects_app)
app.add_typer(verify_app)


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
    force: Annotated[bool, typer.Option(help="make unchanged assets too")] = False,
) -> None:
    """Materialize what of the whole graph is not current, then print the leaderboard and the index's self-check."""
    console = Console(highlight=False)
    settings = settings_of(dataset, models)
    try:
        outcome = _run(settings, select, console, force=force)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not outcome.success:
        _fail(settings, outcome, console)
    from orchestration.summary import print_summary  # noqa: PLC0415

    print_summary(settings, outcome.current, console)


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
    """List the registered datasets, and folders of THAW_DATA_DIR with a mapping."""
    from assets.ingestion.registry import listed  # noqa: PLC0415

    data_dir = Path(folder) if (folder := os.environ.get("THAW_DATA_DIR")) else None
    _table(["dataset", "licence"], [(name, adapter.licence) for name, adapter in listed(data_dir).items()])


@app.command()
def models() -> None:
    """List the registered models; the default roster is marked."""
    from assets.training.registry import DEFAULT_ROSTER, MODELS  # noqa: PLC0415

    rows = [(name, entry.kind, "yes" if name in DEFAULT_ROSTER else "") for name, entry in MODELS.items()]
    _table(["model", "kind", "default roster"], rows)


def _run(settings: Settings, select: str | None, console: Console, *, force: bool) -> "Outcome":
    """The run; troubles of the machine that no step can report end the command with a way out, not a traceback."""
    from orchestration.remedies import TROUBLE, explain  # noqa: PLC0415

    try:
        prepare_home(settings)
        from orchestration.runner import run_graph  # noqa: PLC0415

        return run_graph(settings, select, console, force=force)
    except TROUBLE as error:
        console.print(explain(error, settings), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


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
