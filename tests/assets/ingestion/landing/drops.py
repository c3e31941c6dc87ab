"""Dropping files for tests: names, content, and the instant they seem to have been written at."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.config import FreshnessConfig
from assets.ingestion.landing.partitions import bounds
from assets.storage import Storage

NOW = bounds("2024-06-01-12")[0]
"""Wall clock of the tests, microseconds."""

SECOND = 1_000_000
HEADER = "user_id,item_id,timestamp\n"
CONFIG = FreshnessConfig()


def storage_in(root: Path) -> Storage:
    return Storage(root / "data", "toy")


def drop(
    storage: Storage, name: str, content: str | bytes, kind: str = "engagements", age: float = 60, now: int = NOW
) -> Path:
    """A file as if it was written ``age`` seconds ago."""
    path = storage.landing / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return written(path, age, now)


def written(path: Path, age: float, now: int = NOW) -> Path:
    at = now * 1000 - int(age * 1e9)
    os.utime(path, ns=(at, at))
    return path


def csv(*rows: Sequence[str]) -> str:
    return HEADER + "".join(",".join(row) + "\n" for row in rows)


def day(number: int, users: Sequence[str] = ("u1", "u2")) -> str:
    """Rows of one day of May 2024, one per user."""
    return csv(*((user, f"i{number}", f"2024-05-{number:02d}T0{at}:00:00Z") for at, user in enumerate(users)))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def engagements(timestamps: Sequence[object], kind: pa.DataType | None = None, **columns: pa.Array) -> pa.Table:
    rows = len(timestamps)
    known = {
        "user_id": pa.array([f"u{row}" for row in range(rows)]),
        "item_id": pa.array(["i"] * rows),
        "timestamp": pa.array(timestamps, kind),
    }
    return pa.table(known | columns)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
