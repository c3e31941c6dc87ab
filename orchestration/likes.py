"""``thaw report --like``: results under the conditions of published experiments, each in a home of its own."""

from pathlib import Path

from rich.console import Console

from assets.config import Settings
from assets.evaluation.likes import Like, settings_for
from assets.evaluation.studies.registry import find
from orchestration import studies
from orchestration.report import make_missing, write_report
from orchestration.runner import Outcome


def make(like: Like, settings: Settings, console: Console) -> Outcome | None:
    """Materialize what the page needs and is not there: tables over the raw ones of ``settings``, models, results.

    Returns:
        Of the run that failed, else of the last one; None where nothing was missing.
    """
    own = settings_for(like, settings)
    made = studies.make_tables(settings, own, console)
    if made is not None and not made.success:
        return made
    return make_missing(own, console) or made


def make_studies(like: Like, settings: Settings, console: Console) -> list[Outcome]:
    """Materialize the studies that are the paper's tables of this dataset, under the configured split."""
    return [studies.make(find(name), settings, console) for name in like.studies.get(settings.dataset, ())]


def write_pages(like: Like, settings: Settings, command: str, folder: Path) -> list[Path]:
    """The page of the paper's conditions, and that of the studies where the paper's tables are among them."""
    pages = [write_report(settings_for(like, settings), command, folder, like)]
    if like.studies.get(settings.dataset):
        pages.append(studies.write_page(settings, command, folder))
    return pages
