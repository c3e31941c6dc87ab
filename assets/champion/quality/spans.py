"""Spans of event time: landed partitions, and what the decay alert holds against what."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.config import AlertConfig
from assets.ingestion.landing.partitions import Span as Length
from assets.ingestion.landing.partitions import bounds, partition_key
from assets.instants import DAY, as_micros
from assets.schema import Columns
from assets.stream import Int, Time


@dataclass(frozen=True)
class Span:
    """A landed partition's event time, [``starts_at``, ``ends_at``), datetime64[us]."""

    partition: str
    starts_at: np.datetime64
    ends_at: np.datetime64

    @property
    def length(self) -> np.timedelta64:
        """A day or an hour."""
        return self.ends_at - self.starts_at

    def overlaps(self, starts_at: np.datetime64, ends_at: np.datetime64) -> bool:
        """Whether it shares an instant with [``starts_at``, ``ends_at``)."""
        return bool(self.starts_at < ends_at and starts_at < self.ends_at)


@dataclass(frozen=True)
class Windows:
    """What is compared: [``starts``, ``ends``) of event time, datetime64[us].

    Attributes:
        reference: the first days after the cutoff.
        recent: the latest days, none of them in the reference; empty (it ends where it starts) right after a cutoff.
    """

    reference: tuple[np.datetime64, np.datetime64]
    recent: tuple[np.datetime64, np.datetime64]


def span_of(partition: str) -> Span:
    """The span that ``partition`` names.

    Raises:
        ValueError: for what is no key of a partition.
    """
    starts_at, ends_at = bounds(partition)
    return Span(partition, np.datetime64(starts_at, "us"), np.datetime64(ends_at, "us"))


def windows_of(cutoff: np.datetime64, ends_at: np.datetime64, config: AlertConfig) -> Windows:
    """Reference and recent days of a model trained until ``cutoff`` when engagements end before ``ends_at``.

    The recent days never reach into the reference: a day on both sides would pull the ratio to 1.
    """
    reference_end = min(cutoff + _days(config.reference_days), max(cutoff, ends_at))
    recent_start = max(ends_at - _days(config.recent_days), reference_end)
    return Windows((cutoff, reference_end), (recent_start, max(recent_start, ends_at)))


def spans_within(instants: Time, windows: Windows, length: Length) -> list[Span]:
    """Spans, in time order, that hold one of ``instants`` (datetime64[us]) in either window."""
    inside = np.zeros(len(instants), dtype=bool)
    for starts_at, ends_at in (windows.reference, windows.recent):
        inside |= (instants >= starts_at) & (instants < ends_at)
    starts = np.unique(instants[inside].astype("datetime64[D]" if length == "day" else "datetime64[h]"))
    return [span_of(partition_key(as_micros(start), length)) for start in starts]


def rows_of(cases: pd.DataFrame, span: Span) -> Int:
    """Positions of the cases inside ``span`` among ``cases``, which are in time order."""
    instants = cases[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]")
    first, end = np.searchsorted(instants, np.array([span.starts_at, span.ends_at]))
    return np.arange(first, end)


def _days(days: float) -> np.timedelta64:
    return np.timedelta64(round(days * DAY), "us")
