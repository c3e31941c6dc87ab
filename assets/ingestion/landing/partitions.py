"""Partitions of landed engagements: a UTC day or hour, named so that names sort in time order and are folder names."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import numpy as np

Span = Literal["day", "hour"]

MICROSECOND: Final = timedelta(microseconds=1)
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMATS: Final = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H"}
_KEY: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-\d{2})?")


def partition_key(timestamp: int, span: Span) -> str:
    """The partition of an instant in microseconds: ``2013-08-19``, or ``2013-08-19-05`` for the hour from 05:00."""
    # Not strftime: it drops the leading zeros of years before 1000 on some platforms.
    text = np.datetime_as_string(np.datetime64(timestamp, "us"), unit="D" if span == "day" else "h")
    return str(text).replace("T", "-")


def bounds(key: str) -> tuple[int, int]:
    """First instant of a partition and the first one behind it, microseconds.

    Raises:
        ValueError: for what is no key.
    """
    by_hour = key.count("-") == 3
    try:
        if not _KEY.fullmatch(key):  # strptime forgives missing zeros
            raise ValueError(key)
        start = datetime.strptime(key, _FORMATS["hour" if by_hour else "day"]).replace(tzinfo=UTC)
    except ValueError as error:
        known = "a day like 2013-08-19 or an hour like 2013-08-19-05"
        raise ValueError(f"{key!r} is no partition: expected {known}") from error
    length = timedelta(hours=1) if by_hour else timedelta(days=1)
    return (start - _START) // MICROSECOND, (start - _START + length) // MICROSECOND


def is_partition(key: str) -> bool:
    """Whether ``key`` names a day or an hour."""
    try:
        bounds(key)
    except ValueError:
        return False
    return True
