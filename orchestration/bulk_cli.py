"""``thaw embed`` and ``thaw score``: vectors of all items and lists of all users, as files."""

# ruff: noqa: PLC0415 - `thaw --help` loads no torch
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from orchestration.exits import exit_on
from orchestration.options import Dataset, settings_of

app = typer.Typer()

Model = Annotated[str, typer.Argument(help="a trained model of the roster")]


@app.command()
def embed(model: Model, dataset: Dataset = None) -> None:
    """Write every item's vector as of the end of the tables; bulk.engine says who computes them."""
    from assets.serving.bulk.engines import embed_items

    settings = settings_of(dataset, model)
    with _told():
        typer.echo(embed_items(settings, model))


@app.command()
def score(model: Model, dataset: Dataset = None) -> None:
    """Write every user's best bulk.k items, by exact inner product; the items' vectors are written first."""
    from assets.serving.bulk.engines import score_users

    settings = settings_of(dataset, model)
    with _told():
        typer.echo(score_users(settings, model))


@contextmanager
def _told() -> Iterator[None]:
    """Ends the command where there are no tables, no sound checkpoint for them, or no such engine."""
    from assets.training.checkpoints import CheckpointError
    from assets.transforms.export import TablesError

    with exit_on(CheckpointError, TablesError, ModuleNotFoundError, OSError):
        yield
