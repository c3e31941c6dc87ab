"""The live state while a replay uses it: put back to the cutoff before, and as it was after.

``live/replay.json`` is written before anything is moved, and says what was, so that a kill in between loses nothing.
It also holds the replay's id, drawn at random, which every file that the replay lands has in its name: by that alone
its files are told from those of others, whatever these are called, and it is there before the first of them.
"""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
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
"""Of the names of files that a replay lands; its id and the partition follow."""
KEPT: Final = "replayed"
"""Folder of ``landing`` for what is probably of a replay that an older version began."""
_WITHOUT_ID: Final = re.compile(
    r"(\d+--engagements--)?replay-\d{4}-\d\d-\d\d(-\d\d)?"
    r"(\.partial-[0-9a-z-]+)?\.parquet(\.reason\.txt|\.rows\.parquet)?"
)
"""What a replay's files are called that has no id, in the drop zone and behind it; people may choose such names too."""


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
        _identify(storage)
    return renew(storage, settings, tables, model_name, seed, now, until=tables.cutoff, progress=progress)


def require_replay(storage: Storage) -> None:
    """Refuse to go on with a replay where none is: its files would land as real engagements.

    Raises:
        ReplayError: when no replay is going on, or one whose files could not be told from those of others.
    """
    if not is_replay(storage):
        raise ReplayError("no replay is going on: start one, without --resume")
    if _id(storage) is None:
        raise ReplayError("an older version began this replay: start it again, without --resume, or end it with --end")


def file_name(storage: Storage, partition: str) -> str:
    """What the replay that is going on calls the file of ``partition``.

    Raises:
        ReplayError: see :func:`require_replay`.
    """
    require_replay(storage)
    return f"{PREFIX}{_id(storage)}-{partition}.parquet"


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
    is_own = own_names(storage)
    others = [name for name in waiting if not (name.startswith(".") or is_own(name))]
    if others:
        raise ReplayError(
            f"{storage.landing}: {len(others)} files wait, {others[0]} first: apply them or take them away"
        )


def _set_aside(storage: Storage, reset: bool, now: int) -> None:
    """Call the live state a replay, and move what had landed before away: the note first, so a kill loses nothing."""
    if not is_replay(storage):
        holds = _landed(storage).exists() and any(_landed(storage).glob("*/*/*.parquet"))
        if holds and not reset:
            raise ReplayError(
                f"{_landed(storage)} holds batches that are no replay: --reset keeps them aside until the replay ends"
            )
        aside = f"before-replay-{now}" if holds else None
        note = {"id": uuid.uuid4().hex, "started_at": now, "aside": aside, "moved": False}
        write_json(storage.live / REPLAY, note)
    note = _note(storage)
    if not note["moved"]:
        aside_path = _aside(storage)
        if aside_path is not None and not aside_path.exists():
            _landed(storage).rename(aside_path)
        write_json(storage.live / REPLAY, note | {"moved": True})


def _identify(storage: Storage) -> None:
    """Give a replay that an older version began an id: from here on its files have it in their names."""
    if _id(storage) is None:
        write_json(storage.live / REPLAY, _note(storage) | {"id": uuid.uuid4().hex})


def _clear(storage: Storage) -> None:
    """Remove what a replay landed, and nothing else that landed meanwhile.

    The files of a replay without an id, of an older version, cannot be told from others with certainty: they are put
    out of the way.
    """
    is_own, is_certain = own_names(storage), _id(storage) is not None
    for path, name in _files(storage):
        if is_own(name):
            if is_certain:
                path.unlink(missing_ok=True)
            else:
                _keep(storage, path)


def _files(storage: Storage) -> Iterator[tuple[Path, str]]:
    """Everything that landed, with the name to know it by.

    In the order of the way that files take, each place listed when it is asked for: what moves on is found further on.
    """
    for folder, pattern in (
        (drop_zone(storage, Kind.ENGAGEMENTS), "*"),
        (claimed_folder(storage), "*/*"),
        (reading_folder(storage), "*"),
        (quarantine_folder(storage), "*"),
        (done_folder(storage), "*/*"),
    ):
        for path in sorted(folder.glob(pattern)):
            yield path, path.name
    for batch in landed_batches(storage, Kind.ENGAGEMENTS):
        yield batch.path, batch.source


def own_names(storage: Storage) -> Callable[[str], bool]:
    """Tells the names of the replay's files from all others; where none is going on, none is its."""
    if not is_replay(storage):
        return lambda _: False
    replay = _id(storage)
    if replay is None:
        return lambda name: _WITHOUT_ID.fullmatch(name) is not None
    return lambda name: f"{PREFIX}{replay}-" in name


def _keep(storage: Storage, path: Path) -> None:
    target = storage.landing / KEPT / path.relative_to(storage.base)
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # moved on meanwhile
        path.rename(target)


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


def _id(storage: Storage) -> str | None:
    """Of the replay that is going on; ``None`` where an older version began it."""
    found: str | None = _note(storage).get("id")
    return found


def _aside(storage: Storage) -> Path | None:
    name = _note(storage)["aside"]
    return None if name is None else storage.live / name


def _landed(storage: Storage) -> Path:
    return storage.live / "landed"
