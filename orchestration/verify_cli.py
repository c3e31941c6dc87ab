"""``thaw release`` and ``thaw verify``: a checkpoint with its record, and whether the two still belong together."""

# ruff: noqa: PLC0415 - `thaw --help` loads no torch
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assets.config import ConfigError, Settings
from orchestration.exits import exit_on
from orchestration.options import Dataset, settings_of

if TYPE_CHECKING:
    from assets.evaluation.releases.verify import Finding

app = typer.Typer()

Model = Annotated[str, typer.Option("--model", help="a trained model of the roster")]


@app.command()
def release(
    out: Annotated[Path, typer.Argument(help="folder to make; it must not exist, or be empty")],
    model: Model,
    dataset: Dataset = None,
) -> None:
    """Write a checkpoint with a record of its digests, its data and its headline metric, which is ranked anew first."""
    from assets.evaluation.progress import case_progress
    from assets.evaluation.releases.release import shown, write_release

    settings = settings_of(dataset, model)
    with _told(), case_progress(f"ranking {model}") as advance:
        made = write_release(settings, model, out, advance)
    typer.echo(f"{out}: {made.model}, {shown(made.conditions, made.headline)}, {len(made.files)} files")


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="a release, as `thaw release` made it")] = None,
    model: Annotated[
        str | None, typer.Option(help="instead: the trained model of this home, by its evaluation")
    ] = None,
    dataset: Dataset = None,
) -> None:
    """Hold a release against its record: digests of files and tables, and the headline metric, ranked anew.

    Exit status: 0 all is the same; 1 there is no record that can be read, or nothing that can be ranked; 2 options or
    settings are wrong; 3 files differ; 4 there are no tables or others, so the metric is not computed; 5 the metric
    differs. The dataset is the release's unless one is named.
    """
    from assets.evaluation.progress import case_progress
    from assets.evaluation.releases.record import CHECKPOINT, RECORD, read_release
    from assets.evaluation.releases.release import trained_release
    from assets.evaluation.releases.verify import Verdict, verdict_of
    from assets.evaluation.releases.verify import verify as hold

    if (folder is None) == (model is None):
        raise typer.BadParameter("name the folder of a release, or --model, not both")
    with _told():
        released = read_release(folder) if folder else None
    recorded = released.data.dataset if released and not dataset else None
    settings = settings_of(recorded or dataset, model, registered=recorded is None)
    with _told(), case_progress("ranking") as advance:
        record = released or trained_release(settings, str(model))
        place = folder / CHECKPOINT if folder else settings.storage.checkpoint(record.model, record.seed)
        findings = hold(record, place, settings.storage, advance)
    if folder and recorded and verdict_of(findings) is Verdict.DATA_DIFFERS:
        findings += _unknown(settings, folder / RECORD)
    for finding in findings:
        typer.secho(f"{'DIFFERS ' if finding.verdict else ''}{finding.text}", fg="red" if finding.verdict else None)
    verdict = verdict_of(findings)
    typer.echo("verified" if not verdict else f"not verified: {verdict.name.lower().replace('_', ' ')}")
    raise typer.Exit(verdict)


def _unknown(settings: Settings, record: Path) -> list["Finding"]:
    """That the dataset, which ``record`` names, is none that this machine could make tables of; nothing where it is."""
    from assets.evaluation.releases.verify import Finding, Verdict
    from assets.ingestion.registry import find

    try:
        find(settings.dataset, settings.data_dir)
    except ConfigError as error:
        return [Finding(Verdict.DATA_DIFFERS, f"data.dataset of {record}: {error}")]
    return []


@contextmanager
def _told() -> Iterator[None]:
    """Ends the command where there is no sound release, checkpoint or evaluation."""
    from assets.evaluation.files import StaleResultsError
    from assets.evaluation.releases.record import ReleaseError
    from assets.training.checkpoints import CheckpointError
    from assets.transforms.export import TablesError

    with exit_on(ReleaseError, CheckpointError, StaleResultsError, TablesError, OSError):
        yield
