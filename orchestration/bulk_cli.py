"""``thaw embed`` and ``thaw score``: vectors of all items and lists of all users, as files."""

from typing import Annotated

import typer

from orchestration.options import Dataset, settings_of

app = typer.Typer()

Model = Annotated[str, typer.Argument(help="a trained model of the roster")]


@app.command()
def embed(model: Model, dataset: Dataset = None) -> None:
    """Write every item's vector as of the end of the tables; bulk.engine says who computes them."""
    from assets.serving.bulk.engines import embed_items  # noqa: PLC0415

    typer.echo(embed_items(settings_of(dataset, None), model))


@app.command()
def score(model: Model, dataset: Dataset = None) -> None:
    """Write every user's best bulk.k items, by exact inner product; the items' vectors are written first."""
    from assets.serving.bulk.engines import score_users  # noqa: PLC0415

    typer.echo(score_users(settings_of(dataset, None), model))
