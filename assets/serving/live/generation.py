"""Generations: everything that serves one checkpoint, in one folder, switched as one.

    current.json                  which one serves; replaced in one rename
    generations/<name>/
        engines.json              which servers hold the store and the index, where they are not here
        generation.json           written last: a folder without it was left by a killed build
        checkpoint/               a copy of the promoted checkpoint
        base/                     interactions, items and users as the checkpoint's tables hold them
        store/                    LMDB: features, vectors, deltas
        snapshots/                saved indexes

A new checkpoint gets a generation of its own, built aside, so that vectors of two models never meet in one index.
Readers follow :func:`current`; a folder that is removed stays readable for those who have it open.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from assets.config import EngagementRule, StrictModel
from assets.serving.engines import FILE as ENGINES
from assets.serving.engines import Engines, drop_state, keep_engines_only, open_store, read_engines
from assets.serving.store.interface import KeyValueStore
from assets.storage import Storage, write_json

if TYPE_CHECKING:  # torch is loaded by those who open a generation, not by those who ask which is current
    from assets.serving.live.model import LiveModel

LOG = logging.getLogger(__name__)

FORMAT: Final = 2
"""Of a generation's folder and its store. 2: users' histories hold values and event types."""

CURRENT: Final = "current.json"
RECORD: Final = "generation.json"
Origin = Literal["run", "contest"]
"""What made a generation's checkpoint: the training assets, or a challenger that won against the champion."""

REBUILD: Final = "materialize serving/item_index, which `thaw run` does, to build a generation anew"


class NoIndexError(RuntimeError):
    """Nothing serves yet."""


class GenerationError(RuntimeError):
    """A generation is incomplete, damaged or of another format; the message says what to do."""


class GenerationRecord(StrictModel):
    """What a generation was made from.

    Attributes:
        model: name of the model.
        seed: of its training.
        checkpoint: digest of the checkpoint's manifest.
        tables: version of the tables that the checkpoint was trained on and the base was taken from.
        until: what landed is a replay from this instant on (microseconds, event clock); ``None``: it is no replay.
        engagement: which rows of a landed batch count.
        created_at: wall clock, microseconds.
        format: of the folder.
        origin: where the checkpoint is from.
    """

    model: str
    seed: int
    checkpoint: str
    tables: str
    until: int | None
    engagement: EngagementRule
    created_at: int
    format: int = FORMAT
    origin: Origin = "run"


@dataclass(frozen=True)
class Generation:
    """Paths of one generation."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def store(self) -> Path:
        """Folder of the key-value store."""
        return self.folder / "store"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def snapshots(self) -> Path:
        """Folder of saved indexes; META's SNAPSHOT names the one that counts."""
        return self.folder / "snapshots"

    def base(self, table: str) -> Path:
        """Parquet of ``interactions``, ``items`` or ``users``."""
        return self.folder / "base" / f"{table}.parquet"

    @property
    def complete(self) -> bool:
        """Whether its build came to the end."""
        return (self.folder / RECORD).exists()

    def outdated(self) -> str | None:
        """What format it has, in words, where that is not the one that this version reads; ``None`` where it is."""
        form = self._content().get("format")
        return None if form == FORMAT else f"format {form!r}, this version reads {FORMAT}"

    def record(self) -> GenerationRecord:
        """What it was made from.

        Raises:
            GenerationError: when its build was killed, it has another format, or the file is damaged.
        """
        path = self.folder / RECORD
        if outdated := self.outdated():
            raise GenerationError(f"{path} has {outdated}: {REBUILD}")
        with _sound(path):
            return GenerationRecord(**self._content())

    def _content(self) -> dict[str, Any]:
        path = self.folder / RECORD
        if not path.exists():
            raise GenerationError(f"{path} does not exist: {REBUILD}")
        with _sound(path):
            return dict(json.loads(path.read_text(encoding="utf-8")))

    def write_record(self, record: GenerationRecord) -> None:
        """Call the generation complete."""
        write_json(self.folder / RECORD, record.model_dump(mode="json"))

    @property
    def engines(self) -> Engines:
        """What holds its state.

        Raises:
            GenerationError: when the file that says so is damaged.
        """
        with _sound(self.folder / ENGINES):
            return read_engines(self.folder)

    def open_store(self) -> KeyValueStore:
        """Its store; close it after use."""
        return open_store(self.engines, self.store)


@dataclass(frozen=True)
class OpenGeneration:
    """A generation in use.

    Attributes:
        storage: that it lies in.
        store: its state.
        model: its checkpoint, loaded.
        generation: its paths.
        record: what it was made from.
    """

    storage: Storage
    store: KeyValueStore
    model: "LiveModel"
    generation: Generation
    record: GenerationRecord


def writer_lock(storage: Storage) -> Path:
    """The file whose lock (:func:`assets.storage.locked`) every writer holds while it reads, computes and writes.

    It is not reentrant: a process that asks for it twice waits for itself.
    """
    return storage.live / "writer.lock"


def build_lock(storage: Storage) -> Path:
    """The file whose lock is held while a generation is built; taken before :func:`writer_lock`, never after."""
    return storage.live / "build.lock"


def generations(storage: Storage) -> list[Generation]:
    """Every generation on disk, half-built ones too, the oldest first."""
    folder = storage.live / "generations"
    return [Generation(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.exists() else []


def current(storage: Storage) -> Generation | None:
    """The generation that serves, if any."""
    name = _pointers(storage).get("generation")
    return None if name is None else _named(storage, name)


def previous(storage: Storage) -> Generation | None:
    """The generation that served before the current one, if any; it is kept."""
    name = _pointers(storage).get("previous")
    return None if name is None else _named(storage, name)


def require_current(storage: Storage) -> Generation:
    """The generation that serves.

    Raises:
        NoIndexError: when there is none.
    """
    generation = current(storage)
    if generation is None:
        raise NoIndexError(f"{storage.live / CURRENT} does not exist: there is no index yet, run `thaw run` first")
    return generation


def new_generation(storage: Storage, now: int, digest: str) -> Generation:
    """Paths for a generation made at ``now`` (wall, microseconds) from the checkpoint of that digest; unused so far."""
    while True:
        stamp = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y%m%dT%H%M%S") + f".{now % 1_000_000:06}"
        generation = _named(storage, f"{stamp}-{digest[:12]}")
        if not generation.folder.exists():
            return generation
        now += 1


def switch_to(storage: Storage, generation: Generation) -> None:
    """Let ``generation`` serve from now on; the caller holds the writer lock.

    Raises:
        GenerationError: when its build has not come to the end.
    """
    generation.record()
    serving = _pointers(storage).get("generation")
    previous = _pointers(storage).get("previous") if serving == generation.name else serving
    write_json(storage.live / CURRENT, {"generation": generation.name, "previous": previous})


def remove_half_built(storage: Storage) -> list[str]:
    """Remove what killed builds left and return the names; the caller holds the build lock."""
    serving = _pointers(storage).get("generation")
    return _remove([each for each in generations(storage) if not each.complete and each.name != serving])


def remove_outdated(storage: Storage) -> list[str]:
    """Remove all but the current and the previous generation and return the names; the caller holds the build lock."""
    kept = set(_pointers(storage).values())
    return _remove([each for each in generations(storage) if each.name not in kept])


@contextmanager
def open_generation(storage: Storage, generation: Generation | None = None) -> Iterator[OpenGeneration]:
    """Open ``generation``, or the current one; a writer takes the writer lock first, lest a switch comes between.

    Raises:
        NoIndexError: when nothing serves yet.
        GenerationError: when it is incomplete or of another format.
        assets.training.checkpoints.CheckpointError: when its checkpoint is damaged.
    """
    from assets.serving.live.model import LiveModel  # noqa: PLC0415 - torch, see above
    from assets.training.checkpoints import CheckpointError  # noqa: PLC0415

    chosen = generation or require_current(storage)
    record = chosen.record()
    try:
        model = LiveModel.load(chosen.checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; to mend what serves: {REBUILD}") from error
    with chosen.open_store() as store:
        yield OpenGeneration(storage, store, model, chosen, record)


def _named(storage: Storage, name: str) -> Generation:
    return Generation(storage.live / "generations" / name)


def _pointers(storage: Storage) -> dict[str, str | None]:
    path = storage.live / CURRENT
    try:
        with _sound(path):
            return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """What cannot be made of the content of ``path`` is an error that says what to do; TypeError: it is no object."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise GenerationError(f"{path} is damaged ({error}): {REBUILD}") from error


def _remove(chosen: list[Generation]) -> list[str]:
    return [generation.name for generation in chosen if _removed(generation)]


def _removed(generation: Generation) -> bool:
    """Remove a generation; false where its server cannot be asked: what names the rest of it stays until it can."""
    (generation.folder / RECORD).unlink(missing_ok=True)  # first: a removal that is killed leaves no whole one
    try:
        drop_state(generation.engines)
    except (OSError, GenerationError) as error:
        keep_engines_only(generation.folder)
        LOG.warning(
            "generation %s is removed, but not what it has on its server (%s). This is tried again with every removal;"
            " if that server is gone for good, delete %s",
            generation.name,
            error,
            generation.folder,
        )
        return False
    shutil.rmtree(generation.folder)
    return True
