"""Ways out of troubles that are the machine's, not the data's: what a person is told besides the error."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DatabaseError

from assets.config import Settings

TROUBLE: Final = (OSError, DatabaseError, MemoryError)
"""What a run may raise outside of its steps: Dagster's own state cannot be read or written."""

_FULL, _READ_ONLY, _ADDRESSES, _MEMORY, _HELD, _BROKEN, _REFUSED = (
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"no space left|disk is full|disk full|errno 28\b|ENOSPC|disk quota exceeded|file too large",
        r"read-only file system|readonly database|permission denied|errno 30\b|errno 13\b",
        r"store cannot be opened .*cannot allocate memory",
        r"can't allocate memory|cannot allocate memory|MemoryError|out of memory|bad_alloc|unable to allocate",
        r"could not set lock on file|conflicting lock|database is locked",
        r"database disk image is malformed|file is not a database",
        r"disk I/O error",
    )
)


def remedy(message: str, settings: Settings) -> str | None:
    """What to do about an error that says ``message``; ``None`` where nothing general is known."""
    ways = {
        _FULL: f"The disk is full. Free space where {settings.home} lies (TMPDIR too), then `thaw run` again: what is"
        " whole is kept, unfinished files are removed by whoever writes them next.",
        _READ_ONLY: f"{settings.home} cannot be written. Make it writable for this user, or set THAW_HOME to a folder"
        " that is, then `thaw run` again.",
        # LMDB maps what a store may grow to, 1 TiB of addresses, not of memory.
        _ADDRESSES: "The store of the index found no room for its map. Lift the limit of this shell's addresses"
        " (`ulimit -v unlimited`), then `thaw run` again.",
        _MEMORY: "There was not enough memory. Run less beside it, or set a smaller batch_size (training."
        "hyper_parameters), fewer --models or a smaller evaluation.max_cases, then `thaw run` again.",
        _HELD: "Another process holds a database of this home: wait until it ends, or end it, then `thaw run` again.",
        _BROKEN: f"Dagster's state is damaged. Move {_state(settings)} away (it holds the history of runs, no result),"
        " then `thaw run` again.",
        # What SQLite says of a full disk, where not even its journal can grow, and of a broken one.
        _REFUSED: f"The disk refused to write, most often because it is full. Free space where {settings.home} lies"
        " (TMPDIR too), then `thaw run` again; where there is room, look after the disk.",
    }
    return next((way for pattern, way in ways.items() if pattern.search(message)), None)


def explain(error: BaseException, settings: Settings) -> str:
    """The error in a few lines, with the way out where one is known."""
    cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    way = remedy(f"{cause}\n{error}", settings)
    return cause + (f"\n{way}" if way else f"\nDagster's state is in {_state(settings)}.")


def _state(settings: Settings) -> Path:
    return settings.home / ".dagster" / settings.dataset
