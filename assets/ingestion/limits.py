"""The bounds that every reader of files from outside holds to (:class:`assets.config.LimitsConfig`).

They belong to the work that is going on, like a limit of the operating system: a reader that nobody told anything has
the defaults, never none. So an adapter cannot forget to pass them on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from assets.config import LimitsConfig
from assets.ingestion.errors import IngestionError

RATIO_FROM: Final = 1 << 26
"""Unpacked bytes from which the ratio counts: a small file of one repeated line is no bomb."""

_LIMITS: ContextVar[LimitsConfig] = ContextVar("limits", default=LimitsConfig())  # noqa: B039 - it is frozen


def limits() -> LimitsConfig:
    """The bounds that hold now."""
    return _LIMITS.get()


@contextmanager
def within(bounds: LimitsConfig) -> Iterator[None]:
    """Read under ``bounds`` inside the block, in this thread."""
    token = _LIMITS.set(bounds)
    try:
        yield
    finally:
        _LIMITS.reset(token)


def unpacked_allowed(packed_bytes: int) -> tuple[int, str]:
    """How much ``packed_bytes`` may unpack to, and the setting that says so."""
    bounds = limits()
    by_ratio = max(RATIO_FROM, int(packed_bytes * bounds.unpacked_ratio))
    if by_ratio < bounds.unpacked_bytes:
        return by_ratio, "limits.unpacked_ratio"
    return bounds.unpacked_bytes, "limits.unpacked_bytes"


def refuse_large(path: Path, most: int, setting: str) -> None:
    """Refuse a file of more than ``most`` bytes before it is opened.

    Raises:
        IngestionError: naming the file and the setting.
        OSError: when there is no such file.
    """
    if (size := path.stat().st_size) > most:
        raise too_much(path.name, f"{size} bytes", most, setting)


def too_much(file: str, found: str, most: float, setting: str) -> IngestionError:
    """The error for a file that holds more than it may."""
    return IngestionError(
        f"{file}: has {found}, {setting} allows {most:g}; cut it into smaller files, or raise {setting} if you trust it"
    )
