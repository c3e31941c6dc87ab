"""The format of a dataset's data root, ``data/<dataset>/format.json``: checked by every entry point before it writes.

A format is the layout of the folder: which folders there are and what their manifests say. What lies in it has formats
of its own (checkpoints, generations, index files: docs/reproducibility.md), whose readers refuse or make anew.

A root of before there was a stamp is format 0. It is brought up to date as any older one is: a step per format, each
stamped when it is done, each fit to be done twice, so that a killed migration goes on.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from assets.storage import Storage, locked, write_json

FORMAT: Final = 1
STAMP: Final = "format.json"
LOCK: Final = "format.lock"

OURS: Final = frozenset(
    {
        "bulk",
        "champion",
        "checkpoints",
        "dashboards",
        "dbt",
        "evaluation",
        "gates",
        "index",
        "landing",
        "like",
        "live",
        "made",
        "monitoring",
        "quality",
        "raw",
        "source",
        "spark",
        "spark.json",
        "splits",
        "studies",
        "sweeps",
        "tables",
        "warehouse.duckdb",
        "warehouse.json",
    }
)
"""Names in a data root that some version of Thaw has written."""

MARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "raw/ingestion.json": ("data_version",),
    "tables/manifest.json": ("version", "tables"),
    "live/current.json": ("generation",),
}
"""Manifests that every version so far has written with these keys: by them a root without a stamp is recognised."""

Migration = Callable[[Storage], None]


class DataFormatError(RuntimeError):
    """A data root is not of a format that this version reads or can bring up to date; nothing in it was changed."""


def _without_old_index(storage: Storage) -> None:
    """Format 0: the index was one file, which nothing reads any more. `thaw run` builds the live one."""
    folder = storage.base / "index"
    (folder / "item_index.safetensors").unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


MIGRATIONS: Final[Mapping[int, Migration]] = {0: _without_old_index}
"""Format -> what makes the next one of it."""


def require_format(
    storage: Storage, current: int = FORMAT, migrations: Mapping[int, Migration] = MIGRATIONS
) -> int | None:
    """Make sure that the data root is of the ``current`` format: bring an older one up to date, refuse any other.

    Costs one small read where the root is up to date, and nothing is written where there is no root yet.

    Returns:
        The format that was found; ``None`` where nothing is there.

    Raises:
        DataFormatError: for a newer format, an older one that cannot be brought up to date, or files that are not
            Thaw's; it says what to do.
    """
    held = _held(storage)
    if held is None or held == current:
        return held
    _refuse(storage, held, current, migrations)
    try:
        with locked(storage.base / LOCK):
            _migrate(storage, current, migrations)
    except OSError as error:
        if held == 0 and not (storage.base / "index").exists():
            return held  # only the stamp is missing, and what cannot be written cannot be overwritten either
        raise DataFormatError(
            f"{storage.base} has format {held} and cannot be brought to format {current} ({error}): make it writable"
        ) from error
    return held


def claim(storage: Storage) -> None:
    """Stamp a data root that is about to get its first files; one that has some is held to :func:`require_format`.

    Raises:
        DataFormatError: as there.
    """
    if require_format(storage) is None:
        _stamp(storage, FORMAT)


def _migrate(storage: Storage, current: int, migrations: Mapping[int, Migration]) -> None:
    """The steps from what is there now, which another process may have changed while this one waited."""
    held = _held(storage)
    while held is not None and held < current:
        migrations[held](storage)
        held += 1
        _stamp(storage, held)


def _stamp(storage: Storage, number: int) -> None:
    write_json(storage.base / STAMP, {"format": number})


def _refuse(storage: Storage, held: int, current: int, migrations: Mapping[int, Migration]) -> None:
    elsewhere = "or set THAW_HOME to another folder. Nothing in it was changed."
    if held > current:
        raise DataFormatError(
            f"{storage.base} has format {held} and this version of Thaw reads format {current}: a newer version wrote"
            f" it. Install that one, {elsewhere}"
        )
    if lacking := [number for number in range(held, current) if number not in migrations]:
        raise DataFormatError(
            f"{storage.base} has format {held}, and nothing leads from format {lacking[0]} to format {current}, which"
            f" this version of Thaw reads: install the version that wrote it, move it away and run again, {elsewhere}"
        )
    if held == 0 and (why := _strange(storage)):
        raise DataFormatError(
            f"{why}, and there is no {STAMP} that says which version of Thaw wrote {storage.base}: move it away and"
            f" run again, {elsewhere}"
        )


def _held(storage: Storage) -> int | None:
    """The format of what is there; 0 without a stamp, ``None`` where there is nothing."""
    path = storage.base / STAMP
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0 if _names(storage.base) else None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise _damaged(path, f"it says {content!r}"[:100])
    return number


def _damaged(path: Path, why: str) -> DataFormatError:
    return DataFormatError(
        f"{path} is damaged ({why}): if this version of Thaw wrote what lies beside it, remove the file, and the data"
        " root is recognised by its layout; else move the data root away"
    )


def _names(base: Path) -> list[str]:
    """What lies in a root, apart from locks and hidden and unfinished files, which say nothing."""
    names = [path.name for path in base.iterdir()] if base.is_dir() else []
    return sorted(name for name in names if not (name.startswith(".") or name.endswith(".lock") or ".partial-" in name))


def _strange(storage: Storage) -> str | None:
    """What speaks against a root of a version without stamps, in words."""
    names = _names(storage.base)
    if not OURS.intersection(names):
        return f"{storage.base / names[0]} is not of Thaw" if names else None
    for name, keys in MARKS.items():
        content = _mapping(storage.base / name)
        if content is not None and (missing := [key for key in keys if key not in content]):
            return f"{storage.base / name} does not name its {missing[0]}"
    return None


def _mapping(path: Path) -> dict[str, Any] | None:
    """A manifest; ``None`` where there is none, or a damaged one, which is its reader's business."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
