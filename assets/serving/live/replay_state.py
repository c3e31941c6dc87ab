"""The live state while a replay uses it: put back to the cutoff before, and as it was after.

``live/replay.json`` is written before anything is moved, and says what was, so that a kill in between loses nothing.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from assets.config import Settings
from assets.ingestion.landing.batches import landed_batches
from assets.ingestion.landing.claims import claimed
from assets.ingestion.landing.merge import REPLAY, is_replay
from assets.ingestion.landing.places import (
    Kind,
    claimed_folder,
    done_folder,
    drop_zone,
    quarantine_folder,
    reading_folder,
)
from assets.serving.live.build import renew
from assets.serving.live.generation import Generation, writer_lock
from assets.storage import Storage, locked, write_json
from assets.stream import DatasetTables

PREFIX: Final = "replay-"
"""Of the names of files that a replay lands."""


class ReplayError(RuntimeError):
    """A replay cannot start; the message says what to do."""


def start_replay(
    storage: Storage,
    settings: Settings,
    tables: DatasetTables,
    model_name: str,
    seed: int,
    now: int,
    reset: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Generation:
    """Put the live state back to the cutoff and let it serve.

    Args:
        model_name: of the checkpoint to serve, as ``seed``.
        now: wall clock, microseconds.
        reset: replay although engagements have landed; they are kept aside until :func:`end_replay`.

    Raises:
        ReplayError: when files wait, or when there are landed batches and ``reset`` is not set.
    """
    _refuse_waiting(storage)
    with locked(writer_lock(storage)):
        _set_aside(storage, reset, now)
        _clear(storage)
    return renew(storage, settings, tables, model_name, seed, now, until=tables.cutoff, progress=progress)


def require_replay(storage: Storage) -> None:
    """Refuse to go on with a replay where none is: its files would land as real engagements.

    Raises:
        ReplayError: when no replay is going on.
    """
    if not is_replay(storage):
        raise ReplayError("no replay is going on: start one, without --resume")


def end_replay(storage: Storage) -> bool:
    """Bring back what had landed before the replay; returns whether there was one.

    The index is as of the replay until the next ``thaw run``, which finds that it has to be built anew.
    """
    with locked(writer_lock(storage)):
        if not is_replay(storage):
            return False
        _clear(storage)
        aside = _aside(storage)
        if aside is not None and aside.exists():
            _bring_back(aside, _landed(storage))
        (storage.live / REPLAY).unlink()
    return True


def _refuse_waiting(storage: Storage) -> None:
    dropped = [path.name for kind in Kind if (zone := drop_zone(storage, kind)).is_dir() for path in zone.iterdir()]
    waiting = dropped + [file.name for files in claimed(storage).values() for file in files]
    own = [name for name in waiting if not name.startswith((PREFIX, "."))]
    if own:
        raise ReplayError(f"{storage.landing}: {len(own)} files wait, {own[0]} first: apply them or take them away")


def _set_aside(storage: Storage, reset: bool, now: int) -> None:
    """Call the live state a replay, and move what had landed before away: the note first, so a kill loses nothing."""
    if not is_replay(storage):
        holds = _landed(storage).exists() and any(_landed(storage).glob("*/*/*.parquet"))
        if holds and not reset:
            raise ReplayError(
                f"{_landed(storage)} holds batches that are no replay: --reset keeps them aside until the replay ends"
            )
        aside = f"before-replay-{now}" if holds else None
        write_json(storage.live / REPLAY, {"started_at": now, "aside": aside, "moved": False})
    note = _note(storage)
    if not note["moved"]:
        aside_path = _aside(storage)
        if aside_path is not None and not aside_path.exists():
            _landed(storage).rename(aside_path)
        write_json(storage.live / REPLAY, note | {"moved": True})


def _clear(storage: Storage) -> None:
    """Remove what a replay landed, and nothing else that landed meanwhile."""
    own = [batch.path for batch in landed_batches(storage, Kind.ENGAGEMENTS) if batch.source.startswith(PREFIX)]
    for folder in (claimed_folder(storage), done_folder(storage)):
        own += folder.glob(f"*/*--{PREFIX}*")
    for folder in (quarantine_folder(storage), reading_folder(storage)):
        own += folder.glob(f"*--{PREFIX}*")
    own += drop_zone(storage, Kind.ENGAGEMENTS).glob(f"{PREFIX}*")
    for path in own:
        path.unlink(missing_ok=True)


def _bring_back(aside: Path, landed: Path) -> None:
    """Move every file to where it was; names are made of content, so none meets another."""
    for path in sorted(aside.glob("*/*/*.parquet")):
        target = landed / path.relative_to(aside)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(aside)


def _note(storage: Storage) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((storage.live / REPLAY).read_text(encoding="utf-8"))
    return content


def _aside(storage: Storage) -> Path | None:
    name = _note(storage)["aside"]
    return None if name is None else storage.live / name


def _landed(storage: Storage) -> Path:
    return storage.live / "landed"
