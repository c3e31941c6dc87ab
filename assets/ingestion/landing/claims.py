"""Taking files out of the drop zone, and where they go afterwards. Every step is one rename, so a kill loses nothing.

A file that is still written (see :func:`assets.ingestion.landing.peek.seems_whole`) is left where it is for some
seconds; one that cannot be read goes to the quarantine at once, so that it never stands before others. Nor does one at
which the process ends: see :mod:`.marks`.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from assets.config import FreshnessConfig
from assets.ingestion.errors import IngestionError
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.landing.marks import marked
from assets.ingestion.landing.partitions import Span, is_partition, partition_key
from assets.ingestion.landing.peek import first_partition, seems_whole
from assets.ingestion.landing.places import (
    LOOK,
    SUFFIXES,
    ClaimedFile,
    Kind,
    claim_lock,
    claimed_folder,
    done_folder,
    drop_zone,
    look_mark,
    parse_stamped,
    quarantine_folder,
    reading_folder,
    stamped_name,
)
from assets.ingestion.limits import limits, refuse_large
from assets.instants import SECOND
from assets.storage import Storage, encodable, locked, write_text

SETTLE_SECONDS: Final = 5.0
"""A file that ends in the middle and was written to this recently is not finished; an older one never will be."""


@dataclass
class Claims:
    """What one look at the drop zone did.

    Attributes:
        files: claimed now, in the order in which they were written.
        quarantined: name -> reason.
        unfinished: names of files that are still written.
        failed: name -> why it could be neither claimed nor refused (the file system, the memory); they stay where
            they are.
        left: files that the time was not enough for.
    """

    files: list[ClaimedFile] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0


@dataclass(frozen=True)
class _Dropped:
    path: Path
    kind: str
    written_at: int  # microseconds
    mark: Path


def claim(
    storage: Storage,
    config: FreshnessConfig,
    now: int,
    budget_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Claims:
    """Take dropped files, the oldest first, until ``budget_seconds`` are over; the others are there next time.

    Args:
        now: wall clock, microseconds.
        clock: seconds, for the budget alone.
    """
    claims, end = Claims(), clock() + budget_seconds
    for kind in Kind:
        drop_zone(storage, kind).mkdir(parents=True, exist_ok=True)
    with locked(claim_lock(storage)):
        dropped = sorted(_dropped(storage), key=lambda file: (file.written_at, file.path.name))
        _drop_old_marks(storage, {file.mark for file in dropped})
        first = _reserve(storage, now, len(dropped)) if dropped else now
        for at, file in enumerate(dropped):
            if clock() >= end:
                claims.left = len(dropped) - at
                break
            _take(storage, config.partition, file, now, first + at, claims)
    return claims


def claimed(storage: Storage) -> dict[str, list[ClaimedFile]]:
    """Files that were claimed and not applied yet, per partition, both in order: partitions by time, files as seen."""
    root = claimed_folder(storage)
    folders = sorted(path for path in root.iterdir() if is_partition(path.name)) if root.is_dir() else []
    found = {folder.name: sorted(_files(folder), key=lambda file: file.seen_at) for folder in folders}
    return {partition: files for partition, files in found.items() if files}


def finish(storage: Storage, file: ClaimedFile) -> Path:
    """Move an applied file away; does nothing if it is gone already."""
    return _move(file.path, done_folder(storage) / file.partition / file.path.name)


def drop_empty_claims(storage: Storage, partitions: Collection[str]) -> None:
    """Remove the folders of ``partitions`` that hold no claimed file: every look lists them all.

    A claim that is about to rename a file into one finds it gone, leaves the file, and takes it at the next look.
    """
    for partition in partitions:
        with suppress(OSError):  # not empty, or gone already
            (claimed_folder(storage) / partition).rmdir()


def quarantine(storage: Storage, path: Path, stamped: str, reason: str) -> Path:
    """Write the reason, then move the file: a kill between leaves a reason too many, never a file without one."""
    target = quarantine_folder(storage) / stamped
    write_text(target.with_name(f"{stamped}.reason.txt"), encodable(reason).rstrip() + "\n")
    return _move(path, target)


def release(storage: Storage, partitions: Collection[str]) -> int:
    """Put the claimed files of ``partitions`` back into the drop zone and return how many, to be claimed anew."""
    files = [file for partition, files in claimed(storage).items() if partition in partitions for file in files]
    for file in files:
        _move(file.path, drop_zone(storage, file.kind) / f"{file.seen_at}-{file.name}")
    return len(files)


def _reserve(storage: Storage, now: int, count: int) -> int:
    """The first of ``count`` stamps that no file has had, whatever the clock does and whenever a look was killed."""
    path = storage.landing / "claim.stamp"
    try:
        first = max(now, int(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        first = now
    write_text(path, f"{first + count}\n")
    return first


def _take(storage: Storage, span: Span, file: _Dropped, now: int, seen_at: int, claims: Claims) -> None:
    """Claim, refuse or leave one file; whatever fails is told of this file, and those behind it get their turn."""
    try:
        _claim_or_refuse(storage, span, file, now, seen_at, claims)
    except FileNotFoundError:  # whoever dropped it took it away again
        pass
    except Exception as error:  # refusing it failed as well, or the memory is too small for it
        message = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        claims.failed[encodable(file.path.name)] = encodable(message)


def _claim_or_refuse(storage: Storage, span: Span, file: _Dropped, now: int, seen_at: int, claims: Claims) -> None:
    name = encodable(file.path.name)
    stamped = stamped_name(file.kind, file.path.name, seen_at)
    try:
        refuse_unfit(file.path)
        if abs(now - file.written_at) < SETTLE_SECONDS * SECOND and not seems_whole(file.path):
            claims.unfinished.append(name)
            return
        partition = _partition(file, span, now)
        target = _move(file.path, claimed_folder(storage) / partition / stamped)
    except LandingError as error:
        reason = encodable(str(error))
        quarantine(storage, file.path, stamped, reason)
        claims.quarantined[name] = reason
    else:
        claims.files.append(ClaimedFile(target, file.kind, partition, name, seen_at, file.written_at))


def refuse_unfit(path: Path) -> None:
    """Refuse what must not even be opened.

    Raises:
        LandingError: for a link, which may lead to a file that whoever dropped it may not read, or a file that is
            larger than the limits allow.
    """
    if path.is_symlink():
        raise LandingError(f"{path.name}: is a link; land the file itself")
    try:
        refuse_large(path, limits().landed_bytes, "limits.landed_bytes")
    except IngestionError as error:
        raise LandingError(str(error)) from error


def _partition(file: _Dropped, span: Span, now: int) -> str:
    if file.path.suffix.lower() not in SUFFIXES:
        raise LandingError(f"{file.path.name}: land files called {' or '.join('*' + suffix for suffix in SUFFIXES)}")
    known = _looked_up(file, span, now) if file.kind == Kind.ENGAGEMENTS else None
    return known or partition_key(now, span)


def _looked_up(file: _Dropped, span: Span, now: int) -> str | None:
    # A few thousand bytes of text end no process; what a page of a Parquet file unpacks to no footer tells.
    mark = marked(file.mark, file.path.name) if file.path.suffix.lower() == ".parquet" else nullcontext()
    try:
        with mark:
            return first_partition(file.path, span, now)
    except (LandingError, MemoryError, OSError):
        raise
    except Exception as error:  # whatever a strange file makes a library raise, the files behind it must be claimed
        raise LandingError(f"{file.path.name}: looking at it failed with {type(error).__name__}: {error}") from error


def _dropped(storage: Storage) -> Iterator[_Dropped]:
    for kind in Kind:
        for path in drop_zone(storage, kind).iterdir():
            try:
                if _is_offered(path.name) and path.is_file():
                    state = path.stat()
                    yield _Dropped(path, kind, state.st_mtime_ns // 1000, look_mark(storage, path, state))
            except OSError:  # gone again
                continue


def _drop_old_marks(storage: Storage, known: Collection[Path]) -> None:
    """Remove the marks of files that were looked at and that somebody took away or wrote anew since."""
    for mark in reading_folder(storage).glob(f"{LOOK}*"):
        if mark not in known:
            mark.unlink(missing_ok=True)


def _is_offered(name: str) -> bool:
    """Whether a name is one that writers give to finished files."""
    return not (name.startswith((".", "_")) or name.endswith((".tmp", ".partial")) or ".partial-" in name)


def _files(folder: Path) -> Iterator[ClaimedFile]:
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:  # emptied and dropped meanwhile, see drop_empty_claims
        return
    for path in paths:
        parsed = parse_stamped(path.name)
        if parsed is None:
            continue
        seen_at, kind, name = parsed
        try:
            landed_at = path.stat().st_mtime_ns // 1000
        except FileNotFoundError:  # applied meanwhile
            continue
        yield ClaimedFile(path, kind, folder.name, name, seen_at, landed_at)


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except FileNotFoundError:
        if not target.exists():
            raise
    return target
