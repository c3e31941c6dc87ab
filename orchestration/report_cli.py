"""The command ``thaw report``: a dataset's page of results, and its pages under the conditions of papers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from assets.config import Settings
from orchestration.home import prepare_home
from orchestration.options import Dataset, Models, Seeds, settings_of, with_seeds

if TYPE_CHECKING:  # both import Dagster or torch: `thaw --help` does without
    from assets.evaluation.likes import Like
    from orchestration.runner import Outcome

app = typer.Typer()


@app.command()
def report(
    dataset: Dataset = None,
    models: Models = None,
    seeds: Seeds = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="comma-separated: ihm, cdn, time-to-split, hrnn; these papers' conditions alone. none: the configured "
            "ones alone. Default: the configured ones, and of every paper that has figures of the dataset"
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="folder of the pages; default: docs/results")] = None,
) -> None:
    """Run what is missing for a dataset's pages of results, then write the pages and their figures."""
    console = Console(highlight=False)
    settings = with_seeds(settings_of(dataset, models), seeds)
    prepare_home(settings)
    from orchestration.report import RESULTS  # noqa: PLC0415

    likes = _likes(like, settings)
    asked = f"make report DATASET={settings.dataset} SEEDS={settings.training.seeds}"
    asked += f" MODELS={','.join(settings.models)}" if settings.models else ""
    folder = to or RESULTS
    if like is None or not likes:
        _own(settings, asked, folder, console)
    if failed := [each.name for each in likes if not _like(each, settings, asked, folder, console)]:
        console.print(f"Failed: {', '.join(failed)}. What was finished is kept; the same command goes on.")
        raise typer.Exit(1)


def _likes(asked: str | None, settings: Settings) -> "list[Like]":
    from assets.evaluation.likes import chosen, settings_for  # noqa: PLC0415

    try:
        likes = chosen(asked, settings.dataset)
        for each in likes:
            settings_for(each, settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return likes


def _own(settings: Settings, command: str, folder: Path, console: Console) -> None:
    """The page of the configured split; without it there is nothing to go on with."""
    from orchestration.report import make_missing, write_report  # noqa: PLC0415

    if not _succeeded(settings, make_missing(settings, console), console):
        raise typer.Exit(1)
    console.print(str(write_report(settings, command, folder)), soft_wrap=True)


def _like(like: "Like", settings: Settings, asked: str, folder: Path, console: Console) -> bool:
    """The pages under one paper's conditions; False where something failed, which was said."""
    from orchestration.likes import make, make_studies, write_pages  # noqa: PLC0415

    console.print(f"Under the conditions of {like.paper}", soft_wrap=True)
    if not _succeeded(settings, make(like, settings, console), console):
        return False
    held = [_succeeded(settings, outcome, console) for outcome in make_studies(like, settings, console)]
    for page in write_pages(like, settings, f"{asked} LIKE={like.name}", folder):
        console.print(str(page), soft_wrap=True)
    return all(held)  # a study that failed is named on the page


def _succeeded(settings: Settings, outcome: "Outcome | None", console: Console) -> bool:
    """Whether it did; else say which steps and checks failed, and where to look."""
    from orchestration.summary import print_failure  # noqa: PLC0415

    if outcome is None or outcome.success:
        return True
    print_failure(settings, outcome, console)
    return False
