"""``thaw studies``: make registered studies, each under the split that it needs, then render their page."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from assets import keys
from assets.config import Settings
from assets.evaluation.files import StaleResultsError
from assets.evaluation.needed import current_tables
from assets.evaluation.studies.files import AGAIN, read_study
from assets.evaluation.studies.homes import settings_for, share_raw
from assets.evaluation.studies.page import PageOrigin, Section, page
from assets.evaluation.studies.registry import STUDIES, Step, Study
from assets.storage import write_bytes, write_text
from assets.transforms.export import TablesError
from orchestration.report import commit, facts, split_words
from orchestration.runner import Outcome, run_graph

TABLES = '+key:"{}"'.format("/".join(keys.TABLES))
TABLES_OF_RAW = f"{TABLES} and not group:{keys.INGESTION}"


def make(study: Study, settings: Settings, console: Console) -> Outcome:
    """Materialize a study's assets, with the tables of its split before them where they are missing.

    Returns:
        Of the last run: the one that failed, or that of the study's last asset.
    """
    own = settings_for(study, settings)
    outcome = make_tables(settings, own, console)
    for step in study.steps:
        if outcome is not None and not outcome.success:
            return outcome
        outcome = _run(step, own, console)
    if outcome is None:
        raise ValueError(f"study {study.name} has no step")
    return outcome


def make_tables(settings: Settings, own: Settings, console: Console) -> Outcome | None:
    """Bring the tables of ``own`` up to date with the raw ones of ``settings``; None where they were."""
    if own.home == settings.home:
        return run_graph(own, TABLES, console) if current_tables(own.storage, own) is None else None
    try:
        share_raw(settings.storage, own.storage)
    except FileNotFoundError:
        outcome = run_graph(settings, TABLES, console)
        if not outcome.success:
            return outcome
        share_raw(settings.storage, own.storage)
    return run_graph(own, TABLES_OF_RAW, console) if current_tables(own.storage, own) is None else None


def _run(step: Step, own: Settings, console: Console) -> Outcome:
    partitions = step.partitions.of(own.storage, own) if step.partitions else ()
    return run_graph(own, 'key:"{}"'.format("/".join(step.key)), console, partitions)


def write_page(settings: Settings, command: str, folder: Path) -> Path:
    """Render ``<dataset>-hrnn.md`` from every registered study's results that are there and hold; figures beside it.

    Args:
        command: what was asked for, as typed.
        folder: of the pages.

    Raises:
        FileNotFoundError: when there is no study to show.
    """
    stem, sections, missing = f"{settings.dataset}-hrnn", [], {}
    for study in STUDIES:
        try:
            sections.append(_section(study, settings, folder, stem))
        except (FileNotFoundError, StaleResultsError, TablesError) as error:
            missing[study.title] = _why(error, study, settings)
    if not sections:
        raise FileNotFoundError(f"no study of {settings.dataset} can be shown: {'; '.join(missing.values())}")
    origin = PageOrigin(command, commit(), _facts(settings), missing)
    return write_text(folder / f"{stem}.md", page(settings.dataset, sections, origin))


def _section(study: Study, settings: Settings, folder: Path, stem: str) -> Section:
    own = settings_for(study, settings)
    results, figure = read_study(own.storage, own, study), None
    if results.figure is not None:
        figure = write_bytes(folder / f"{stem}-{study.name}.png", results.figure.read_bytes()).name
    return Section(study, results, split_words(own.split), figure)


def _facts(settings: Settings) -> Sequence[tuple[str, str]]:
    """Of the dataset under its own split; nothing where only studies under another one were made."""
    try:
        return facts(settings.storage)
    except FileNotFoundError:
        return ()


def _why(error: Exception, study: Study, settings: Settings) -> str:
    """What is wrong and what to do, without where this machine keeps its files."""
    if isinstance(error, FileNotFoundError | TablesError):
        return f"not made yet: {AGAIN.format(dataset=settings.dataset, name=study.name)}"
    return str(error).replace(f"{settings.home}/", "")


def chosen(only: str | None) -> Sequence[Study]:
    """The studies of a comma-separated list of names, in the registry's order; all of them without one.

    Raises:
        ValueError: for a name that no study has, naming the known ones; for a list of nothing.
    """
    if only is None:
        return STUDIES
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {study.name for study in STUDIES}
    if not names or (unknown := [name for name in names if name not in known]):
        wrong = repr(unknown[0]) if names else "nothing"
        raise ValueError(f"--only names {wrong}; known: {', '.join(study.name for study in STUDIES)}")
    return [study for study in STUDIES if study.name in names]
