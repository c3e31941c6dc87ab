"""Landed batches on disk: canonical Parquet, written once, named by content, with its story in the file's metadata.

    live/landed/engagements/<partition>/<digest16>.parquet           INTERACTIONS_SCHEMA
    live/landed/items/<partition>/<seen_us>-<digest16>.parquet       item_id, title, created_at, features

They are the truth that every rebuild reads; ``landing/done`` keeps the files as they came.
"""

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.ingestion.landing.partitions import is_partition
from assets.ingestion.landing.places import Kind, landed_folder, quarantine_folder
from assets.schema import Columns
from assets.storage import Storage, write_parquet

SHORT: Final = 16
_PREFIX: Final = "thaw."
_NUMBERS: Final = ("rows", "rejected", "landed_at", "seen_at", "first_event", "last_event")
_COMPLETE: Final = re.compile(rf"(\d+-)?[0-9a-f]{{{SHORT}}}\.parquet")


@dataclass(frozen=True)
class Landed:
    """A file's rows as read.

    Attributes:
        table: of engagements INTERACTIONS_SCHEMA, source rows made of row digests; of items item_id, title,
            created_at and features.
        rejected: QUARANTINE_SCHEMA, the rows set aside.
        digest: SHA-256 of the file's bytes, hexadecimal; of items, of the instant they were seen too: an item's
            details landed again after others are news.
    """

    kind: str
    table: pa.Table
    rejected: pa.Table
    digest: str


@dataclass(frozen=True)
class Arrival:
    """Where a file came from and when.

    Attributes:
        source: its name.
        landed_at: when the file was last written, wall clock, microseconds.
        seen_at: when it was claimed, wall clock, microseconds; different for every file.
        stamped: the name it has behind the drop zone.
    """

    source: str
    landed_at: int
    seen_at: int
    stamped: str


@dataclass(frozen=True)
class LandedBatch:
    """One landed file that was accepted.

    Attributes:
        path: its Parquet file.
        kind: ``engagements`` or ``items``.
        digest: see :class:`Landed`.
        partition: day or hour, UTC.
        source: name of the file it was.
        rows, rejected: rows kept and rows set aside.
        landed_at, seen_at: see :class:`Arrival`.
        first_event, last_event: earliest and latest timestamp of engagements, microseconds; ``None`` without any.
    """

    path: Path
    kind: str
    digest: str
    partition: str
    source: str
    rows: int
    rejected: int
    landed_at: int
    seen_at: int
    first_event: int | None
    last_event: int | None


def write_batch(storage: Storage, partition: str, landed: Landed, times: Arrival) -> LandedBatch:
    """Write what was set aside, then the batch; what lies there already is the same and stays."""
    path = batch_path(storage, partition, landed, times)
    first, last = _span(landed)
    batch = LandedBatch(
        path,
        landed.kind,
        landed.digest,
        partition,
        times.source,
        landed.table.num_rows,
        landed.rejected.num_rows,
        times.landed_at,
        times.seen_at,
        first,
        last,
    )
    if path.exists():
        return read_info(path)
    if landed.rejected.num_rows:
        write_parquet(quarantine_folder(storage) / f"{times.stamped}.rows.parquet", landed.rejected)
    write_parquet(path, landed.table.replace_schema_metadata(_metadata(batch)))
    return batch


def batch_path(storage: Storage, partition: str, landed: Landed, times: Arrival) -> Path:
    """Where the batch lies: engagements by content, items by order of arrival too."""
    order = f"{times.seen_at}-" if landed.kind == Kind.ITEMS else ""
    return landed_folder(storage, landed.kind) / partition / f"{order}{landed.digest[:SHORT]}.parquet"


def read_batch(path: Path) -> pa.Table:
    """The rows of one batch."""
    table: pa.Table = pq.read_table(path, partitioning=None, use_threads=False)
    return table.replace_schema_metadata(None)


def read_info(path: Path) -> LandedBatch:
    """What the file's metadata says of the batch.

    Raises:
        ValueError: naming the file, when it is not one that :func:`write_batch` wrote whole.
    """
    try:
        metadata = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
        values: dict[str, Any] = {
            field.name: metadata[_PREFIX + field.name] for field in fields(LandedBatch) if field.name != "path"
        }
        numbers = {name: int(values[name]) if values[name] else None for name in _NUMBERS}
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"{path}: not a landed batch ({error}); move it away and land its source file again"
        ) from error
    return LandedBatch(path=path, **(values | numbers))


def landed_batches(storage: Storage, kind: str, partitions: Collection[str] | None = None) -> list[LandedBatch]:
    """Batches of ``kind``, of all partitions or of those given, in the order in which they were seen."""
    batches = [read_info(path) for path in batch_paths(storage, kind, partitions)]
    return sorted(batches, key=lambda batch: (batch.seen_at, batch.digest))


def batch_paths(storage: Storage, kind: str, partitions: Collection[str] | None = None) -> list[Path]:
    """Files of batches, none of them opened; see :func:`short_digest`."""
    # A writer's temporary name ends in the same suffix.
    paths = [path for folder in _folders(storage, kind, partitions) for path in folder.glob("*.parquet")]
    return [path for path in paths if _COMPLETE.fullmatch(path.name)]


def short_digest(path: Path) -> str:
    """The beginning of a batch's digest, which its file is named by."""
    return path.stem.rpartition("-")[2]


def _folders(storage: Storage, kind: str, partitions: Collection[str] | None) -> list[Path]:
    root = landed_folder(storage, kind)
    if partitions is not None:
        names = filter(is_partition, sorted(set(partitions)))  # a name that is a path leads out of here
        return [folder for name in names if (folder := root / name).is_dir()]
    return [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []


def _span(landed: Landed) -> tuple[int | None, int | None]:
    if landed.kind != Kind.ENGAGEMENTS or landed.table.num_rows == 0:
        return None, None
    span = pc.min_max(landed.table[Columns.TIMESTAMP].cast(pa.int64())).as_py()
    return span["min"], span["max"]


def _metadata(batch: LandedBatch) -> dict[str, str]:
    values = asdict(batch)
    del values["path"]
    return {_PREFIX + name: "" if value is None else str(value) for name, value in values.items()}
