"""A warehouse that dbt can open: whatever was done to the file, it is made anew from the raw tables."""

import time
from pathlib import Path
from typing import Final

import duckdb

from assets.storage import Storage
from assets.transforms.stamp import WarehouseError

WAIT_SECONDS: Final = 600.0
"""For a dbt whose run was killed: it works on for the seconds that its statement takes."""

LOOK_SECONDS: Final = 0.25

HELD: Final = "could not set lock"
DAMAGED: Final = ("not a valid duckdb", "could not read enough bytes", "corrupt", "checksum", "deserialize")
"""What DuckDB says, in lower case."""


def make_usable(storage: Storage, wait_seconds: float = WAIT_SECONDS) -> str | None:
    """Remove a warehouse that cannot be opened; why, in words. The caller holds the warehouse's lock.

    Raises:
        WarehouseError: naming the process, when another one still has it open after ``wait_seconds``.
    """
    deadline = time.monotonic() + wait_seconds
    while error := _trouble(storage.warehouse):
        said = str(error).lower()
        if any(part in said for part in DAMAGED):
            storage.warehouse.unlink()
            _forget(storage)
            return f"{storage.warehouse} could not be opened and is made anew ({str(error).splitlines()[0]})"
        if HELD not in said:
            return None  # a full disk, missing rights: dbt says it, and the file may be whole
        if time.monotonic() > deadline:
            raise WarehouseError(f"{storage.warehouse} is open elsewhere: end that process, then run again ({error})")
        time.sleep(LOOK_SECONDS)
    if not storage.warehouse.exists():
        _forget(storage)
    return None


def _forget(storage: Storage) -> None:
    """Remove what belonged to a warehouse that is gone: its stamp, or a build of a part would pass for a whole one."""
    storage.warehouse.with_suffix(".json").unlink(missing_ok=True)
    storage.warehouse.with_name(f"{storage.warehouse.name}.wal").unlink(missing_ok=True)


def _trouble(path: Path) -> duckdb.Error | None:
    if not path.exists():
        return None
    try:
        duckdb.connect(path).close()
    except duckdb.Error as error:
        return error
    return None
