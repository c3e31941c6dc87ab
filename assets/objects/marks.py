"""Marks of files: they tell, without reading a file, whether it may have been written or replaced."""

from pathlib import Path

Mark = tuple[int, int, int]
"""Of a file: its size, when it was written, and when its entry last changed (a copy over it shows there), in ns."""


def mark_of(path: Path) -> Mark:
    """A file's mark.

    Raises:
        FileNotFoundError: when there is none.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def files_at(place: Path) -> list[Path]:
    """Files at or below ``place`` that hold something, in order: no locks, and nothing that a killed writer left."""
    held = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [path for path in held if not _is_passing(path)]


def _is_passing(path: Path) -> bool:
    return path.suffix == ".lock" or path.name == "lock.mdb" or ".partial-" in path.name
