"""Commands of the freshness path: land and replay engagements, ask the live index, remove from it, serve it.

What a command needs is imported in it: `thaw --help` loads neither torch nor FAISS.
"""

# ruff: noqa: PLC0415
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as Bars

from assets.config import Settings
from assets.instants import wall_clock
from orchestration.options import Dataset, Models, settings_of

if TYPE_CHECKING:
    from assets.serving.retrieval.retriever import Retriever

app = typer.Typer()

K = Annotated[int, typer.Option("-k", min=1, help="items to return")]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = "THAW_SERVICE_TOKEN"
SWITCH_SECONDS = 0.0005
"""A query waits at most this long for its turn behind the thread that applies updates, instead of Python's 5 ms."""


@app.command()
def land(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV or Parquet files")],
    dataset: Dataset = None,
    items: Annotated[bool, typer.Option("--items", help="the files hold items, not engagements")] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="land the good rows of a file that has bad ones, within the bound")
    ] = False,
) -> None:
    """Validate files and put them into the drop zone; if one of them cannot be used, none lands."""
    from assets.ingestion.landing.errors import LandingError
    from assets.ingestion.landing.land import land as land_files
    from assets.ingestion.landing.places import Kind
    from assets.ingestion.limits import within
    from assets.ingestion.validate import reason_counts
    from assets.storage import encodable

    settings, console = settings_of(dataset), _console()
    freshness = settings.freshness
    share = freshness.max_quarantine_share if skip_bad_rows else 0.0
    kind = Kind.ITEMS if items else Kind.ENGAGEMENTS
    try:
        with within(settings.limits):
            landing = land_files(settings.storage, files, freshness.partition, wall_clock(), kind, share)
    except LandingError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        allowed = f"; --skip-bad-rows leaves out up to {freshness.max_quarantine_share:.0%} of the rows of a file"
        console.print(f"Nothing has landed{'' if skip_bad_rows else allowed}.", soft_wrap=True)
        raise typer.Exit(1) from error
    for piece in landing.files:
        console.print(f"{piece.source} \u2192 {piece.path}: {piece.rows:,} rows", soft_wrap=True, markup=False)
    for source in dict.fromkeys(encodable(path.name) for path in files):
        if source not in {piece.source for piece in landing.files}:
            console.print(f"{source}: no rows, nothing to land", soft_wrap=True, markup=False)
    for source, rejected in landing.rejected.items():
        reasons = ", ".join(f"{count:,} x {reason}" for reason, count in reason_counts(rejected).items())
        console.print(f"{source}: {rejected.num_rows:,} rows left out: {reasons}", markup=False, soft_wrap=True)


@app.command()
def replay(
    dataset: Dataset = None,
    models: Models = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="seconds of the dataset per second; default: a partition when the last is applied"
        ),
    ] = None,
    without_dagster: Annotated[bool, typer.Option("--without-dagster", help="apply in this process")] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="replay although engagements have landed; they are kept")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a replay that was interrupted")] = False,
    end: Annotated[bool, typer.Option("--end", help="end the replay and bring back what had landed before")] = False,
) -> None:
    """Land the held-back half of a dataset day by day, as if it happened now."""
    from assets.serving.live import replay as replaying
    from assets.serving.live.generation import NoIndexError
    from assets.serving.promotion import best_servable
    from assets.stream import load_tables
    from assets.training.checkpoints import CheckpointError

    settings, console = settings_of(dataset, models), _console()
    storage = settings.storage
    with _told(console, replaying.ReplayError, NoIndexError, CheckpointError, FileNotFoundError, ValueError):
        if end:
            ended = replaying.end_replay(storage)
            console.print(
                "The replay has ended: `thaw run` builds the index anew." if ended else "No replay is going on."
            )
            return
        if resume:
            replaying.require_replay(storage)
        tables = load_tables(storage)
        days = replaying.replay_days(tables, settings.freshness.partition)
        if not resume:
            try:
                name, seed = best_servable(storage, settings), settings.training.seed
            except CheckpointError as error:
                raise CheckpointError(f"{error}; or name the models that were run with --models") from error
            replaying.start_replay(storage, settings, tables, name, seed, wall_clock(), reset, console.print)
        if not without_dagster:
            console.print(f"Dagster applies what lands: keep `thaw ui --dataset {settings.dataset}` running.")
        process = replaying.inline(storage, settings, wall_clock) if without_dagster else None
        last = replaying.run_replay(storage, days, speed, wall_clock, process, _changes(console))
    console.print(f"Done: {last}", soft_wrap=True)


@app.command()
def recommend(
    user: Annotated[list[str], typer.Option(help="user id; may be given several times")],
    dataset: Dataset = None,
    k: K = 10,
    new_only: Annotated[bool, typer.Option("--new-only", help="choose among new items alone")] = False,
    why: Annotated[bool, typer.Option("--why", help="name the nearest items of the user's history")] = False,
    at: Annotated[str | None, typer.Option(help="ask as of an instant, e.g. 2024-05-01T18:00:00Z")] = None,
) -> None:
    """Show the best items for users, from the live index as it is now."""
    from datetime import datetime

    from orchestration.answers import answer_table, user_title

    console = _console()
    with _asking(settings_of(dataset), console) as retriever:
        answers = retriever.recommend(user, k, new_only, why, None if at is None else datetime.fromisoformat(at))
    for answer in answers:
        console.print(answer_table(answer.results, user_title(answer.user_id, answer.has_history), why))


@app.command()
def similar(
    item: Annotated[str, typer.Option(help="item id")],
    dataset: Dataset = None,
    k: K = 10,
) -> None:
    """Show the items whose embeddings are nearest to an item's."""
    from rich.markup import escape

    from orchestration.answers import answer_table

    console = _console()
    with _asking(settings_of(dataset), console) as retriever:
        answer = retriever.similar(item, k)
    console.print(answer_table(answer.results, f"Near to {escape(answer.title or answer.item_id)}", why=False))


@app.command()
def forget(user: Annotated[str, typer.Option(help="user id")], dataset: Dataset = None) -> None:
    """Forget a user: gone from features, histories and results at once, and from everything built later."""
    from assets.serving.live.removal import forget_user

    _remove(settings_of(dataset), f"user {user}", lambda settings: forget_user(settings.storage, user, settings))


@app.command()
def takedown(item: Annotated[str, typer.Option(help="item id")], dataset: Dataset = None) -> None:
    """Take an item down: gone from index, histories and results at once, and from everything built later."""
    from assets.serving.live.removal import take_down_item

    _remove(settings_of(dataset), f"item {item}", lambda settings: take_down_item(settings.storage, item, settings))


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="folder for embeddings.parquet and recommendations.parquet")],
    dataset: Dataset = None,
    k: K = 10,
) -> None:
    """Write the embeddings of all items and the best items of all users as Parquet."""
    from assets.serving.retrieval.export import export as write_all

    console = _console()
    with _asking(settings_of(dataset), console) as retriever, Bars(console=console) as bars:
        tasks = {what: bars.add_task(what, total=None) for what in ("items", "users")}

        def show(what: str, done: int, total: int) -> None:
            bars.update(tasks[what], completed=done, total=total)

        exported = write_all(retriever, to, k, show)
    console.print(f"{exported.items:,} items: {exported.embeddings}", soft_wrap=True)
    console.print(f"{exported.users:,} users: {exported.recommendations}", soft_wrap=True)


@app.command()
def serve(
    dataset: Dataset = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; default: service.host, the loopback")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="default: service.port")] = None,
) -> None:
    """Answer over HTTP from the live index, following its updates, until interrupted."""
    import torch
    import uvicorn

    from assets.serving.retrieval.clients import server_options
    from assets.serving.retrieval.retriever import Retriever
    from assets.serving.retrieval.served import ServedLog, served_path
    from assets.serving.retrieval.service import create_app

    settings = settings_of(dataset)
    storage, config, token = settings.storage, settings.service, _token(os.environ.get(TOKEN))
    host, port = host or config.host, config.port if port is None else port
    if token is None and host not in LOOPBACK:
        typer.echo(f"Anybody who reaches {host} may ask: set {TOKEN} to want a bearer token", err=True)
    torch.set_num_threads(1)  # requests run beside each other instead
    sys.setswitchinterval(SWITCH_SECONDS)
    log = ServedLog(served_path(storage, f"port-{port}"))
    service = create_app(lambda: Retriever.open(storage, settings), config, log, token)
    typer.echo(f"Thaw retrieval for {settings.dataset} at http://{host}:{port}, described at /docs (Ctrl-C stops it)")
    uvicorn.run(service, host=host, port=port, **server_options(config))


def _token(given: str | None) -> str | None:
    """The token without the line end that a file of secrets leaves behind it; ``None`` where none is wanted."""
    token = (given or "").strip()
    if not all("!" <= character <= "~" for character in token):
        raise typer.BadParameter(
            f"{TOKEN}: a bearer token has ASCII letters, digits and signs, and no blanks: no client could show another"
        )
    return token or None


def _remove(settings: Settings, what: str, act: Callable[[Settings], Any]) -> None:
    from assets.serving.live.generation import NoIndexError

    console = _console()
    try:
        removal = act(settings)
    except NoIndexError:
        console.print(f"{what}: noted; nothing serves yet, and nothing built later will hold it", markup=False)
        return
    if not (removal.users or removal.items):
        console.print(f"{what}: not there; noted for everything that lands or is built later", markup=False)
        return
    changed = f"{removal.items_changed:,} items and {removal.users_changed:,} users go on without it"
    console.print(f"{what}: removed; {changed}", markup=False)


@contextmanager
def _asking(settings: Settings, console: Console) -> Iterator["Retriever"]:
    from assets.serving.live.generation import GenerationError, NoIndexError
    from assets.serving.retrieval.live_index import LiveIndexError
    from assets.serving.retrieval.retriever import Retriever, UnknownItemError
    from assets.serving.store.interface import StoreFaultError
    from assets.training.checkpoints import CheckpointError

    damaged = (CheckpointError, StoreFaultError)
    problems = (NoIndexError, GenerationError, LiveIndexError, UnknownItemError, ValueError, *damaged)
    with _told(console, *problems), Retriever.open(settings.storage, settings) as retriever:
        yield retriever


def _changes(console: Console) -> Callable[[object], None]:
    """Prints what it is told when that is new."""
    said: list[str] = []

    def tell(progress: object) -> None:
        if said[-1:] != [str(progress)]:
            said[:] = [str(progress)]
            console.print(str(progress), markup=False, soft_wrap=True)

    return tell


@contextmanager
def _told(console: Console, *errors: type[Exception]) -> Iterator[None]:
    """Ends the command with the message of an error that is the user's to solve."""
    try:
        yield
    except errors as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _console() -> Console:
    return Console(highlight=False)
