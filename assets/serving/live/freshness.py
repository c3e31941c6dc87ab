"""What the freshness report reads and keeps: times of every batch, from the ledger and the services, and its table.

live/ats.parquet         a row per batch reported: stations, up to :data:`SPREAD` instants its engagements spread over
live/freshness.parquet   the report, see :func:`assets.serving.live.ats.report`
live/served/*.jsonl      a line per delta that a service saw and answered a query with
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.ingestion.landing.batches import SHORT
from assets.ingestion.landing.merge import is_replay
from assets.ingestion.landing.places import Kind, landed_folder
from assets.schema import Columns
from assets.serving.live import ats
from assets.serving.live.generation import current
from assets.serving.live.ledger import LedgerEntry
from assets.storage import Storage, read_parquet, write_bytes, write_parquet
from assets.stream import Int

MEASURED: Final = 5_000
"""Batches that a report is about, the latest: half a second's work, however many there ever were."""

SPREAD: Final = 64
"""Instants that stand for a batch's engagements: enough for a 99th percentile within a batch."""

TAIL_BYTES: Final = 1_000_000
"""Of a service's file: the latest ten thousand deltas, more than :data:`MEASURED` batches make."""

_DESCRIBED: Final = ("digest", "partition", "kind", "engagements")
_COLUMNS: Final = (*_DESCRIBED, *ats.STATIONS, "events")


def ats_path(storage: Storage) -> Path:
    """Times of every batch."""
    return storage.live / "ats.parquet"


def report_path(storage: Storage) -> Path:
    """The latest report."""
    return storage.live / "freshness.parquet"


def figure_path(storage: Storage) -> Path:
    """The report's picture, as it was drawn last."""
    return storage.live / "freshness.png"


def read_times(storage: Storage, entries: Sequence[LedgerEntry]) -> pd.DataFrame:
    """Times of every batch of engagements or items in ``entries``, the earliest that this or an earlier call has seen.

    Returns:
        What :mod:`.ats` calls a frame of batches, and ``events``.
    """
    landed = [entry for entry in entries if entry.kind in set(Kind)]
    batches = pd.DataFrame([_row(entry) for entry in landed], columns=list(_COLUMNS))
    batches[list(ats.STATIONS)] = batches[list(ats.STATIONS)].astype(np.float64)
    sequence = np.array([np.nan if entry.seq is None else entry.seq for entry in landed], np.float64)
    batches["queried_at"] = ats.first_queries(sequence, read_queries(storage))
    known = _known(storage)
    batches = ats.first_times(batches, known)
    kept = known.set_index(ats.KEY)["events"].to_dict()
    spreads: list[Int] = [
        kept[key] if (key := (row.digest, row.landed_at)) in kept else event_spread(_landed_file(storage, row))
        for row in batches.itertuples()
    ]
    batches["events"] = pd.Series(spreads, dtype=object)
    write_parquet(ats_path(storage), batches.astype({"digest": str, "partition": str, "kind": str}))
    return batches


def make_report(storage: Storage, entries: Sequence[LedgerEntry]) -> pd.DataFrame:
    """Measure the batches of ``entries`` and write the report.

    Args:
        entries: of the ledger, the latest :data:`MEASURED`.
    """
    times = read_times(storage, entries)
    events = dict(zip(times["digest"], times["events"], strict=True))
    table = ats.report(ats.samples(times, events, from_landing=is_replay(storage)))
    write_parquet(report_path(storage), table)
    return table


def read_report(storage: Storage) -> pd.DataFrame:
    """The latest report.

    Raises:
        FileNotFoundError: when none was made yet.
    """
    return read_parquet(report_path(storage))


def event_spread(path: Path) -> Int:
    """[m <= SPREAD] instants (microseconds), evenly spaced among the sorted ones of a landed file; none without it."""
    try:
        table = pq.read_table(path, columns=[Columns.TIMESTAMP], partitioning=None, use_threads=False)
    except (FileNotFoundError, pa.ArrowException):
        return np.empty(0, np.int64)
    instants = np.sort(table[Columns.TIMESTAMP].cast(pa.int64()).to_numpy())
    if len(instants) <= SPREAD:
        return instants
    return instants[((np.arange(SPREAD) + 0.5) * len(instants) / SPREAD).astype(np.int64)]


def read_queries(storage: Storage) -> pd.DataFrame:
    """Column seq and first_query_at of every delta that a service answered a query with, of the current generation."""
    lines = [line for path in sorted((storage.live / "served").glob("*.jsonl")) for line in _tail(path)]
    found = [(line.get("seq"), line.get("first_query_at"), line.get("generation")) for line in lines]
    frame = pd.DataFrame(found, columns=["seq", "first_query_at", "generation"])
    serving = _generation(storage)
    frame = frame[frame["generation"].isna() | (frame["generation"] == serving)]
    return frame[["seq", "first_query_at"]].astype(np.float64)


def draw_report(storage: Storage, table: pd.DataFrame, bound: float) -> bytes | None:
    """Draw the partitions of a report and keep the picture; ``None`` without any partition.

    Args:
        bound: seconds, drawn as a line.
    """
    from dashboards.freshness import freshness_png  # noqa: PLC0415 - matplotlib, for the few runs that draw

    shown = table[~table["group"].isin([ats.ALL, ats.NEW_ITEMS])]
    if shown.empty:
        return None
    hops = [hop for hop in ats.HOPS if hop not in {"produced", "queried"}]  # hours and days would hide the others
    origin = "landing (replay)" if is_replay(storage) else "event"
    title = f"{storage.dataset}: seconds from {origin} to the index, and from the landing hop by hop"
    png = freshness_png(shown, hops, "searchable", bound, title)
    write_bytes(figure_path(storage), png)
    return png


def by_partition(table: pd.DataFrame, partitions: Iterable[str]) -> dict[str, dict[str, float]]:
    """What the report says of each of ``partitions``, finite numbers only; nothing of one without engagements."""
    rows = table[table["group"].isin(list(partitions))]
    return {
        str(name): {
            f"{row.hop} {quantile}": float(getattr(row, quantile))
            for row in group.itertuples()
            for quantile in ats.QUANTILES
            if np.isfinite(getattr(row, quantile))
        }
        for name, group in rows.groupby("group", sort=False)
    }


def _row(entry: LedgerEntry) -> dict[str, Any]:
    return {
        **{name: getattr(entry, name) for name in ("digest", "partition", "kind")},
        "engagements": entry.applied,
        **{station: getattr(entry, station, None) for station in ats.STATIONS},
    }


def _known(storage: Storage) -> pd.DataFrame:
    if not ats_path(storage).exists():
        return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in _COLUMNS})
    return read_parquet(ats_path(storage))


def _landed_file(storage: Storage, row: Any) -> Path:
    return landed_folder(storage, row.kind) / row.partition / f"{row.digest[:SHORT]}.parquet"


def _generation(storage: Storage) -> str | None:
    generation = current(storage)
    return None if generation is None else generation.name


def _tail(path: Path) -> list[dict[str, Any]]:
    """The last lines of a file that is being appended to; a first and a last one that are cut off are left out."""
    with path.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - TAIL_BYTES))
        lines = handle.read().split(b"\n")[:-1]
    return [line for text in lines if (line := _parsed(text)) is not None]


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:  # cut off at the start of the tail, or by the end of a service that was killed
        return None
    return line if isinstance(line, dict) else None
