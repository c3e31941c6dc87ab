"""The command ``thaw studies``: tables of the HRNN-meta paper on a dataset, and their page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestration.home import prepare_home
from orchestration.options import Dataset, Seeds, settings_of, with_seeds

app = typer.Typer()
INTERRUPTED = 130
"""Exit code of a command that a signal ended."""


@app.command()
def studies(
    dataset: Dataset = None,
    only: Annotated[str | None, typer.Option(help="comma-separated names of studies; default: all")] = None,
    seeds: Seeds = None,
    to: Annotated[Path | None, typer.Option(help="folder of the page; default: docs/results")] = None,
) -> None:
    """Make the studies of a dataset, each under the split it needs, then write their page."""
    console = Console(highlight=False)
    settings = with_seeds(settings_of(dataset), seeds)
    prepare_home(settings)
    from orchestration.report import RESULTS  # noqa: PLC0415 - imports Dagster and torch
    from orchestration.studies import chosen, make, write_page  # noqa: PLC0415
    from orchestration.summary import print_failure  # noqa: PLC0415

    try:
        wanted = chosen(only)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    failed = []
    for study in wanted:
        outcome = make(study, settings, console)
        if not outcome.success:
            failed.append(study.name)
            print_failure(settings, outcome, console)
        if outcome.interrupted:
            console.print(
                "Interrupted. What was finished is kept: the same command goes on from there.", soft_wrap=True
            )
            raise typer.Exit(INTERRUPTED)
    names = "" if only is None else f" --only {','.join(study.name for study in wanted)}"
    command = f"thaw studies --dataset {settings.dataset} --seeds {settings.training.seeds}{names}"
    try:
        console.print(str(write_page(settings, command, to or RESULTS)), soft_wrap=True)
    except FileNotFoundError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    if failed:
        console.print(f"Failed: {', '.join(failed)}", soft_wrap=True)
        raise typer.Exit(1)
