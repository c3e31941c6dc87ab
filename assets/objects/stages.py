"""A stage's files, sent to objects and fetched from them.

What is promised:

- A reader never gets half a stage: contents are sent first, the manifest last; what is fetched is downloaded and
  checked beside its place and then renamed, manifests (``manifest.json``) last.
- Nothing is sent or fetched twice: contents are named by their digest. What was interrupted goes on.
- Nothing is overwritten in silence. ``.objects/<stage>.json`` in the dataset's folder notes what was sent or fetched
  last. If files changed here since, they stay; if they changed both here and there, that is an error.
- Half a stage is never sent. While files are put in place the note has their digests before and after, too: as long as
  it does and every file is one of the two, a fetch was interrupted and is to go on.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from assets.objects.marks import files_at, mark_of
from assets.objects.store import Blob, Manifest, ObjectsError, ObjectStore
from assets.storage import Storage, atomic_path, file_digest, locked, write_json

FOLDER: Final = ".objects"
INCOMING: Final = "incoming"
FETCHING: Final = "fetching"
"""In a note while files are put in place: their digests before (``former``) and after (``files``)."""
LAST: Final = ("manifest.json", "ingestion.json")
"""Files that name the digests of others: put in place after them."""

Marks = dict[str, list[int]]
"""Path -> :data:`assets.objects.marks.Mark`, as a list."""


class Found(StrEnum):
    """How files here compare with objects."""

    SAME = "same"
    FETCH = "to fetch"
    SEND = "to send"
    NOWHERE = "nowhere"


@dataclass(frozen=True)
class Stage:
    """Something that one step makes.

    Attributes:
        name: of the step.
        places: files and folders that are its alone.
    """

    name: str
    places: tuple[Path, ...]


def push(
    store: ObjectStore, storage: Storage, stage: Stage, run_id: str, account: dict[str, Any] | None = None
) -> Manifest | None:
    """Send a stage as it lies here; None where there is nothing of it.

    Raises:
        ObjectsError: when objects cannot be reached, a file changes meanwhile, or the files here are those of a fetch
            that was interrupted: half of one run, half of another.
    """
    with locked(_lock(storage)):
        before = marks_of(storage, stage.places)
        if not before:
            return None
        if _is_torn(storage, stage.name, before):
            raise ObjectsError(
                f"stage {stage.name} is half fetched here, as a pull was interrupted: it is not sent. `thaw pull` goes"
                " on with it; where it cannot, make the stage again, then push"
            )
        files = {}
        for name in before:
            path = storage.base / name
            files[name] = Blob(file_digest(path), path.stat().st_size)
            store.send(path, files[name])
        if marks_of(storage, stage.places) != before:
            raise ObjectsError(f"stage {stage.name} changed while it was sent: push it again when its step is done")
        places = tuple(sorted(_relative(storage, place) for place in stage.places))
        manifest = Manifest(stage.name, run_id, places, files, account)
        if store.manifest(stage.name) != manifest or account is not None:
            store.publish(manifest)
        _note(storage, manifest, before)
        return manifest


def compare(store: ObjectStore, storage: Storage, stage: Stage) -> tuple[Found, Manifest | None]:
    """Where the newer files of a stage are, and the manifest of those that were sent.

    Raises:
        ObjectsError: when they changed here and there since they were last the same.
    """
    remote, here = store.manifest(stage.name), marks_of(storage, stage.places)
    if remote is None:
        return (Found.SEND if here else Found.NOWHERE), None
    noted = _noted(storage, stage.name)
    if not here or (noted is not None and noted["marks"] == here):
        same = bool(here) and noted is not None and noted["files"] == _digests(remote)
        return (Found.SAME if same else Found.FETCH), remote
    if _digests(remote) == {name: file_digest(storage.base / name) for name in here}:
        _note(storage, remote, here)
        return Found.SAME, remote
    if _is_torn(storage, stage.name, here):
        return Found.FETCH, remote
    if noted is not None and noted["files"] == _digests(remote):
        return Found.SEND, remote
    raise ObjectsError(
        f"stage {stage.name} is one thing here and another in {store.url}, made by run {remote.run_id}: take that one"
        f" with `thaw pull --replace {stage.name}`, or this one with `thaw push --replace {stage.name}`"
    )


def pull(store: ObjectStore, storage: Storage, stage: Stage, *, replace: bool = False) -> tuple[Found, Manifest | None]:
    """Fetch a stage where objects hold a newer one; what was found, and the manifest.

    Args:
        replace: also where files here changed.
    """
    with locked(_lock(storage)):
        remote: Manifest | None
        if replace:
            remote = store.manifest(stage.name)
            found = Found.NOWHERE if remote is None else Found.FETCH
        else:
            found, remote = compare(store, storage, stage)
        if found is Found.FETCH and remote is not None:
            _fetch(store, storage, stage, remote)
        return found, remote


def _fetch(store: ObjectStore, storage: Storage, stage: Stage, manifest: Manifest) -> None:
    """Bring every content, then put all in place."""
    _check_places(store, storage, stage, manifest)
    wanted = {name: blob for name, blob in manifest.files.items() if not _holds(storage.base / name, blob)}
    incoming = storage.base / FOLDER / INCOMING
    for blob in set(wanted.values()):
        if not _holds(incoming / blob.sha256, blob):  # of a fetch that was interrupted
            store.fetch(blob, incoming / blob.sha256)
    _note_fetching(storage, manifest, marks_of(storage, stage.places))
    _remove_others(storage, manifest)
    for name in sorted(wanted, key=lambda name: (Path(name).name in LAST, name)):
        with atomic_path(storage.base / name) as temporary:
            shutil.copyfile(incoming / wanted[name].sha256, temporary)
    shutil.rmtree(incoming, ignore_errors=True)
    _note(storage, manifest, marks_of(storage, [storage.base / name for name in manifest.files]))


def _check_places(store: ObjectStore, storage: Storage, stage: Stage, manifest: Manifest) -> None:
    """Refuse a manifest whose files are not this stage's: it comes from outside."""
    own = [place.resolve() for place in stage.places]
    for name in (*manifest.files, *manifest.places):
        target = (storage.base / name).resolve()
        if not any(target.is_relative_to(place) or _are_pages(target, place) for place in own):
            raise ObjectsError(f"{store.url}: stage {stage.name} holds {name}, which is not of that stage: refused")


def _are_pages(target: Path, place: Path) -> bool:
    """Whether both are files side by side: a stage of pages knows only those that are there already."""
    return target.parent == place.parent and bool(target.suffix and place.suffix) and not target.is_dir()


def _remove_others(storage: Storage, manifest: Manifest) -> None:
    for place in manifest.places:
        for path in files_at(storage.base / place):
            if _relative(storage, path) not in manifest.files:
                path.unlink()


def _holds(path: Path, blob: Blob) -> bool:
    return path.is_file() and path.stat().st_size == blob.bytes and file_digest(path) == blob.sha256


def marks_of(storage: Storage, places: Iterable[Path]) -> Marks:
    """Marks of every file at or below ``places`` that holds something."""
    return {
        _relative(storage, path): list(mark_of(path))  # as JSON gives it back
        for place in places
        for path in files_at(place)
    }


def _relative(storage: Storage, path: Path) -> str:
    return Path(os.path.relpath(path, storage.base)).as_posix()


def _digests(manifest: Manifest) -> dict[str, str]:
    return {name: blob.sha256 for name, blob in manifest.files.items()}


def _record(storage: Storage, stage: str) -> Path:
    return storage.base / FOLDER / f"{stage}.json"


def _is_torn(storage: Storage, stage: str, here: Marks) -> bool:
    """Whether files here are what a fetch left that was interrupted: each the former one or the new, but some of both.

    What somebody made since is neither, and what was not touched yet is as it was before. What has the marks of the
    last time that all was the same is whole.
    """
    noted = _noted(storage, stage)
    if noted is None or FETCHING not in noted or noted["marks"] == here:
        return False
    former, files = noted[FETCHING]["former"], noted[FETCHING]["files"]
    found = {name: file_digest(storage.base / name) for name in here}
    if found in (files, former):
        return False
    return all(digest in (former.get(name), files.get(name)) for name, digest in found.items())


def _lock(storage: Storage) -> Path:
    return storage.base / f"{FOLDER}.lock"


def _note(storage: Storage, manifest: Manifest, marks: Marks) -> None:
    write_json(_record(storage, manifest.stage), {"files": _digests(manifest), "marks": marks})


def _note_fetching(storage: Storage, manifest: Manifest, here: Marks) -> None:
    """Add to the note what is about to be put in place of what; :func:`_note` writes it without that when all is."""
    former = {name: file_digest(storage.base / name) for name in here}
    held = _noted(storage, manifest.stage) or {"files": {}, "marks": {}}
    fetching = {"former": former, "files": _digests(manifest)}
    write_json(_record(storage, manifest.stage), held | {FETCHING: fetching})


def _noted(storage: Storage, stage: str) -> dict[str, Any] | None:
    """What was last the same here and there; None where nothing readable says so."""
    try:
        held = json.loads(_record(storage, stage).read_text(encoding="utf-8"))
        return held if {"files", "marks"} <= set(held) else None
    except (OSError, ValueError, TypeError):
        return None
