"""``thaw push`` and ``thaw pull``: what steps made, to and from objects (``objects.url``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from assets.config import Settings
from orchestration.options import Dataset, settings_of

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.unchanged import Unit

app = typer.Typer()

Replace = Annotated[str | None, typer.Option(help="one stage, whatever the other side holds: both had changed")]


@app.command()
def push(dataset: Dataset = None, replace: Replace = None) -> None:
    """Send what steps made here and objects lack."""
    settings = settings_of(dataset)
    with _work(settings) as (units, instance):
        from orchestration.mirror import send, store_of  # noqa: PLC0415 - imports Dagster
        from orchestration.units import known_of  # noqa: PLC0415

        runs = known_of(instance, units).runs
        if replace is not None:
            _settle(settings, units, replace, dict(runs), "here")
        elif (store := store_of(settings)) is not None:
            typer.echo(_said("sent", send(store, settings, units, runs)))


@app.command()
def pull(dataset: Dataset = None, replace: Replace = None) -> None:
    """Fetch what other machines made and this one lacks."""
    settings = settings_of(dataset)
    with _work(settings) as (units, _):
        from orchestration.mirror import fetch, store_of  # noqa: PLC0415 - imports Dagster

        if replace is not None:
            _settle(settings, units, replace, {}, "there")
        elif (store := store_of(settings)) is not None:
            typer.echo(_said("fetched", fetch(store, settings, units)))


def _settle(
    settings: Settings, units: "list[Unit]", name: str, runs: dict[str, str], by: Literal["here", "there"]
) -> None:
    from orchestration.mirror import replace_stage  # noqa: PLC0415 - imports Dagster

    word = "sent" if by == "here" else "fetched"
    typer.echo(_said(word, [name] if replace_stage(settings, units, name, runs, by) else []))


def _said(word: str, names: list[str]) -> str:
    return f"{word}: {', '.join(names)}" if names else f"nothing to be {word}"


@contextmanager
def _work(settings: Settings) -> "Iterator[tuple[list[Unit], dg.DagsterInstance]]":
    """The steps and Dagster's records; troubles end the command with what to do."""
    if settings.objects.url is None:
        raise typer.BadParameter("objects.url is not set: name the objects in the file that THAW_CONFIG names")
    from assets.objects.store import ObjectsError  # noqa: PLC0415
    from orchestration.definitions import build_definitions  # noqa: PLC0415 - imports Dagster
    from orchestration.home import open_instance  # noqa: PLC0415
    from orchestration.units import units_of  # noqa: PLC0415

    try:
        with open_instance(settings) as instance:
            yield units_of(build_definitions(settings)), instance
    except (ObjectsError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
