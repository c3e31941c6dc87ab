"""Instants as integers: microseconds since 1970, UTC, on whichever clock."""

import time
from datetime import UTC, datetime
from typing import Final

import numpy as np

SECOND: Final = 1_000_000
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR

EARLIEST: Final = 365 * DAY
"""1971-01-01: engagements before it are parsing mistakes: zeros, and seconds read as milliseconds (January 1970)."""


def wall_clock() -> int:
    """The machine's clock. Glue and commands read it; everything else is told the time."""
    return time.time_ns() // 1000


def as_micros(instant: np.datetime64) -> int:
    """Microseconds since 1970."""
    return int(instant.astype("datetime64[us]").astype(np.int64))


def to_the_minute(micros: int) -> str:
    """An instant for people: ``2024-05-01 18:00Z``."""
    return f"{datetime.fromtimestamp(micros / SECOND, UTC):%Y-%m-%d %H:%M}Z"
