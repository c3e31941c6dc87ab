"""Challengers: nets trained on everything that the champion's generation has seen, but for the newest window."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assets.champion.files import Challenger, read_challengers, read_contests, write_challenger
from assets.config import ConfigError, Settings
from assets.instants import DAY
from assets.serving.live.generation import NoIndexError, current, open_generation
from assets.serving.servable import servable
from assets.storage import Storage
from assets.training.registry import MODELS, roster

if TYPE_CHECKING:  # torch is for those who train
    from assets.champion.history import Served
    from assets.training.train import Trained

SERVABLE_NETS = tuple(name for name, entry in MODELS.items() if entry.kind == "net" and servable(name))
"""Models that can challenge."""


@dataclass(frozen=True)
class Made:
    """A challenger and its training."""

    challenger: Challenger
    trained: "Trained"


def newest_window(served: "Served", settings: Settings) -> tuple[np.datetime64, np.datetime64]:
    """[start, end) of the newest engagements: ``retraining.window_days``, and what its first day is longer.

    Returns:
        Instants, datetime64[us]; the start is a UTC midnight.
    """
    length = np.timedelta64(round(settings.retraining.window_days * DAY), "us")
    starts_at = (served.ends_at - length).astype("datetime64[D]").astype("datetime64[us]")
    return starts_at, served.ends_at


def challenging_models(storage: Storage, settings: Settings) -> tuple[str, ...]:
    """Models to train as challengers: ``retraining.models``, or the champion's own.

    A counting model learns nothing: where one serves, the roster's nets challenge.

    Raises:
        ConfigError: for a model that cannot challenge, or where there is none.
        NoIndexError: when nothing serves.
    """
    if settings.retraining.models:
        for name in settings.retraining.models:
            if name not in SERVABLE_NETS:
                raise ConfigError(f"retraining.models: {name!r} is no net that can serve: {', '.join(SERVABLE_NETS)}")
        return settings.retraining.models
    generation = current(storage)
    if generation is None:
        raise NoIndexError("nothing serves, so there is no champion to challenge: run `thaw run` first")
    champion = generation.record().model
    if champion in SERVABLE_NETS:
        return (champion,)
    if nets := tuple(name for name in roster(settings) if name in SERVABLE_NETS):
        return nets
    raise ConfigError(f"{champion} serves and the roster has no net: name challengers under retraining.models")


def make_challenger(
    storage: Storage, settings: Settings, model: str, now: int, progress: Callable[[str], object] = lambda _: None
) -> Made:
    """Train ``model`` on everything served before the newest window, and keep it.

    Args:
        now: wall clock, microseconds.

    Raises:
        NoIndexError: when nothing serves.
        ValueError: when there is nothing before the window.
    """
    from assets.champion.history import read_served, tables_at  # noqa: PLC0415 - torch, as the next
    from assets.training.checkpoints import checkpoint_digest, read_manifest_in  # noqa: PLC0415
    from assets.training.saving import save_checkpoint_in  # noqa: PLC0415
    from assets.training.train import train  # noqa: PLC0415

    started = time.perf_counter()
    with open_generation(storage) as opened:
        served, champion, generation = read_served(opened), opened.record.checkpoint, opened.generation.name
    starts_at, _ = newest_window(served, settings)
    tables = tables_at(served, starts_at, settings.split)
    known = int((tables.stream.timestamps < starts_at).sum())
    progress(f"{model} on {known:,} engagements before {starts_at}")
    trained = train(model, tables, settings)
    name = f"{str(starts_at.astype('datetime64[D]')).replace('-', '')}-{champion[:12]}-seed-{trained.seed}"
    challenger = Challenger(
        name=name,
        model=model,
        seed=trained.seed,
        checkpoint="",
        champion=champion,
        generation=generation,
        trained_until=int(starts_at.astype(np.int64)),
        version=served.version,
        engagements=known,
        validation=trained.metrics["validation"],
        at=now,
        seconds=0.0,
    )
    folder = save_checkpoint_in(challenger.folder(storage), trained, served.version)
    digest = checkpoint_digest(read_manifest_in(folder))
    seconds = round(time.perf_counter() - started, 3)
    challenger = challenger.model_copy(update={"checkpoint": digest, "seconds": seconds})
    write_challenger(storage, challenger)
    return Made(challenger, trained)


def prune(storage: Storage, keep: int) -> list[str]:
    """Remove checkpoints of challengers that met in none of the ``keep`` newest contests, and are older than these.

    Returns:
        Their names, as ``model/name``.
    """
    contests = read_contests(storage)[-keep:]
    if not contests:
        return []
    named = {one["challenger"]["checkpoint"] for one in contests}
    latest = contests[-1]["at"]
    gone = [one for one in read_challengers(storage) if one.checkpoint not in named and one.at < latest]
    for one in gone:
        folder = one.folder(storage)
        folder.with_name(f"{folder.name}.json").unlink(missing_ok=True)  # first: half a folder is nobody's
        shutil.rmtree(folder)
    return [f"{one.model}/{one.name}" for one in gone]
