"""``thaw simulate``: a dataset of any size as Parquet files. ``thaw statistics``: what datasets are like."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from tqdm import tqdm

from orchestration.options import settings_of

app = typer.Typer()

OWN_OPTIONS = frozenset({"engagements", "users", "items", "days", "seed"})
"""What has an option of its own beside ``--set``."""

PER_USER, PER_ITEM = 10, 50
"""Mean engagements of a user and of an item, where their number is not given."""


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="folder to make; it must not exist, or be empty")],
    engagements: Annotated[int, typer.Option(min=1, help="in all; 100000 to 1000000000 is what it is for")] = 1_000_000,
    users: Annotated[int | None, typer.Option(min=2, help="default: a tenth of the engagements")] = None,
    items: Annotated[int | None, typer.Option(min=2, help="default: a fiftieth of the engagements")] = None,
    days: Annotated[int, typer.Option(min=2)] = 120,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="any other option of the simulated dataset; may be repeated"),
    ] = None,
) -> None:
    """Write a simulated dataset as Parquet part files, the same bytes for the same options."""
    from assets.ingestion.errors import IngestionError  # noqa: PLC0415 - keeps `thaw --help` fast
    from assets.ingestion.simulation.options import SimulatedOptions  # noqa: PLC0415
    from assets.ingestion.simulation.write import write_simulation  # noqa: PLC0415

    sizes = {
        "engagements": engagements,
        "users": users or max(2, engagements // PER_USER),
        "items": items or max(2, engagements // PER_ITEM),
        "days": days,
        "seed": seed,
    }
    try:
        chosen = SimulatedOptions(**(_assigned(options or []) | sizes))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'options'}: {one['msg']}" for one in error.errors())
        known = ", ".join(SimulatedOptions.model_fields)
        raise typer.BadParameter(f"{problems}. Known options: {known}") from error
    with tqdm(total=engagements, desc="engagements", unit="", unit_scale=True) as bar:
        try:
            written = write_simulation(out, chosen, datetime.now(UTC), lambda day: bar.update(len(day.users)))
        except IngestionError as error:
            raise typer.BadParameter(str(error)) from error
    counts = ", ".join(f"{count:,} {name}" for name, count in written.rows.items())
    typer.echo(f"{out}: {counts} in {len(written.files)} files")


def _assigned(options: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as a mapping; values are read as YAML does: numbers, dates, ``null``."""
    from assets.ingestion.adapter import AdapterOptions  # noqa: PLC0415

    values: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {option!r}: write NAME=VALUE, as in --set drift=0.1")
        if name in OWN_OPTIONS:
            raise typer.BadParameter(f"--set {option!r}: there is an option --{name}")
        if name in AdapterOptions.model_fields:
            raise typer.BadParameter(f"--set {option!r}: is for ingestion and changes nothing of what is written")
        values[name] = yaml.safe_load(value)
    return values


@app.command()
def statistics(
    dataset: Annotated[
        list[str] | None, typer.Option(help="registered dataset; may be repeated; default: THAW_DATASET or 'simulated'")
    ] = None,
    folder: Annotated[
        list[Path] | None, typer.Option(help="of part files, as `thaw simulate` writes them; may be repeated")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="where the page goes; default: docs/results")] = None,
) -> None:
    """Describe datasets beside each other: popularity, activity, pauses, age of items; what is not ingested yet is."""
    from orchestration.statistics import RESULTS, describe, describe_folder, write_page  # noqa: PLC0415

    datasets: list[str | None] = [*(dataset or [])]
    if not datasets and not folder:
        datasets = [None]
    try:
        described = [describe(settings_of(name)) for name in datasets]
        described += [describe_folder(one) for one in folder or []]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    asked = [f"--dataset {one.name}" for one in described[: len(datasets)]]
    asked += [f"--folder {one.name}" for one in described[len(datasets) :]]
    command = f"thaw statistics {' '.join(asked)}"
    typer.echo(str(write_page(described, command, to or RESULTS)))
