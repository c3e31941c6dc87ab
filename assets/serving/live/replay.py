"""Replaying the test half of a dataset as if it happened now: the demonstration and the load test.

The index is built as of the cutoff; then a file per partition is landed, in order, each when its partition ends on a
clock that runs ``speed`` times as fast as the wall's. While ``live/replay.json`` exists the live state is a replay, and
ingestion leaves out what landed: copies of the source's rows. What had landed before is kept aside and comes back when
the replay ends.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.config import Settings
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.land import split_by_partition
from assets.ingestion.landing.partitions import Span, bounds
from assets.ingestion.landing.places import Kind, drop_zone
from assets.ingestion.tables import INTERACTIONS_SCHEMA
from assets.instants import SECOND
from assets.schema import Columns
from assets.serving.live.generation import require_current
from assets.serving.live.ledger import LedgerEntry, entries
from assets.serving.live.process import process_waiting
from assets.serving.live.replay_state import (
    ReplayError,
    end_replay,
    file_name,
    own_names,
    require_replay,
    start_replay,
)
from assets.storage import Storage, atomic_path
from assets.stream import DatasetTables, Int

__all__ = [
    "Progress",
    "ReplayDay",
    "ReplayError",
    "end_replay",
    "inline",
    "replay_days",
    "require_replay",
    "run_replay",
    "start_replay",
]

CLAIM_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.5
"""Between two looks at what was applied, while nothing is to be landed."""


@dataclass(frozen=True)
class ReplayDay:
    """One partition of the test half.

    Attributes:
        partition: its key.
        rows: user_id, item_id, timestamp, event_type and value.
        ends_at: first instant behind it, event clock, microseconds.
    """

    partition: str
    rows: pa.Table
    ends_at: int


@dataclass(frozen=True)
class Progress:
    """How far a replay is.

    Attributes:
        days, landed, applied: partitions in all, landed and searchable.
        engagements: applied so far.
        p50, p95: seconds from landing to searchable, over engagements; NaN before the first.
    """

    days: int
    landed: int
    applied: int
    engagements: int
    p50: float
    p95: float

    def __str__(self) -> str:
        times = "" if np.isnan(self.p50) else f", searchable after p50 {self.p50:.2f} s, p95 {self.p95:.2f} s"
        return f"{self.applied} of {self.days} partitions, {self.engagements:,} engagements{times}"


def replay_days(tables: DatasetTables, span: Span = "day") -> list[ReplayDay]:
    """The engagements from the cutoff on, by partition, in order.

    Raises:
        ReplayError: for a split that does not cut in time: there is no later half to replay.
    """
    frame = tables.interactions
    held_back = frame[frame[Columns.TIMESTAMP] >= tables.cutoff]
    if (held_back[Columns.TIMESTAMP] != held_back[Columns.SOURCE_TIMESTAMP]).any():
        raise ReplayError(
            "the split puts test engagements on a timeline of its own (leave_one_out, held_out_items, held_out_users),"
            " which holds back no later half: replay with median_time, quantile or fraction"
        )
    columns = [name for name in INTERACTIONS_SCHEMA.names if name != Columns.SOURCE_ROW]
    schema = pa.schema([INTERACTIONS_SCHEMA.field(name) for name in columns])
    rows = pa.Table.from_pandas(held_back[columns], schema, preserve_index=False)
    return [ReplayDay(key, part, bounds(key)[1]) for key, part in split_by_partition(rows, span)]


def run_replay(
    storage: Storage,
    days: Sequence[ReplayDay],
    speed: float | None,
    clock: Callable[[], int],
    process: Callable[[], Any] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Progress:
    """Land ``days`` and wait until all are searchable; days of which this replay's file is so already are passed over.

    Args:
        speed: seconds of the dataset per second; ``None``: the next partition when the last one is searchable.
        clock: wall clock, microseconds.
        process: takes and applies what was landed (see :func:`inline`); ``None`` leaves that to Dagster's sensor.
        progress: told after every look.
        sleep: seconds.

    Raises:
        ReplayError: when the replay has ended meanwhile, or none was started.
    """
    started, landed = clock(), set(_applied(storage))
    todo = [day for day in days if day.partition not in landed]
    origin = todo[0].ends_at if todo else 0
    landed &= {day.partition for day in days}
    while True:
        done = _applied(storage)
        state = _progress(storage, days, len(landed))
        progress(state)
        if not todo and landed <= done:
            return state
        due = [day for day in todo if _is_due(day, speed, origin, clock() - started, landed <= done)]
        for day in due[:1] if speed is None else due:
            land_day(storage, day)
            landed.add(day.partition)
            todo.remove(day)
        if process is not None and (due or not landed <= done):
            process()
        elif not due:
            sleep(LOOK_SECONDS)


def inline(storage: Storage, settings: Settings, clock: Callable[[], int]) -> Callable[[], Any]:
    """What the sensor and a run do together, in this process."""

    def process() -> Any:
        claim(storage, settings.freshness, clock(), CLAIM_SECONDS)
        return process_waiting(storage, settings, clock)

    return process


def land_day(storage: Storage, day: ReplayDay) -> Path:
    """Drop one partition's file.

    Raises:
        ReplayError: when no replay is going on, so that the file would land as real engagements.
    """
    path = drop_zone(storage, Kind.ENGAGEMENTS) / file_name(storage, day.partition)
    # The name within, so that a copy of another replay's file is not taken for this one: what is known lands nothing.
    rows = day.rows.replace_schema_metadata({"replay": path.stem})
    with atomic_path(path) as temporary:
        pq.write_table(rows, temporary, compression="zstd")
    return path


def _is_due(day: ReplayDay, speed: float | None, origin: int, elapsed: int, idle: bool) -> bool:
    return idle if speed is None else day.ends_at - origin <= elapsed * speed


def _progress(storage: Storage, days: Sequence[ReplayDay], landed: int) -> Progress:
    wanted = {day.partition for day in days}
    found = [entry for entry in _searchable(storage) if entry.partition in wanted]
    seconds = np.array([((entry.indexed_at or 0) - entry.landed_at) / SECOND for entry in found])
    weights = np.array([entry.applied for entry in found], np.int64)
    p50, p95 = (_quantile(seconds, weights, share) for share in (0.5, 0.95))
    partitions = len({entry.partition for entry in found})
    return Progress(len(days), landed, partitions, int(weights.sum()), p50, p95)


def _quantile(values: np.ndarray, weights: Int, share: float) -> float:
    if not weights.sum():
        return float("nan")
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= share * weights.sum()
    return float(values[order][np.argmax(reached)])


def _searchable(storage: Storage) -> list[LedgerEntry]:
    """Of the replay's own files: others may land in its days, too."""
    require_replay(storage)
    is_own = own_names(storage)
    with require_current(storage).open_store() as store, store.read() as reader:
        found = entries(reader)
    return [
        entry
        for entry in found
        if entry.kind == Kind.ENGAGEMENTS and entry.indexed_at is not None and is_own(entry.source)
    ]


def _applied(storage: Storage) -> set[str]:
    return {entry.partition for entry in _searchable(storage)}
