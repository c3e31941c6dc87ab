"""Instants as integers: microseconds since 1970, UTC, on whichever clock."""

import time
from datetime import UTC, datetime
from typing import Final

SECOND: Final = 1_000_000
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR


def wall_clock() -> int:
    """The machine's clock. Glue and commands read it; everything else is told the time."""
    return time.time_ns() // 1000


def to_the_minute(micros: int) -> str:
    """An instant for people: ``2024-05-01 18:00Z``."""
    return f"{datetime.fromtimestamp(micros / SECOND, UTC):%Y-%m-%d %H:%M}Z"
