"""A cheap look at a dropped file: whether it seems whole, and which partition its first row belongs to.

Thousands of files are looked at in a few seconds, so only their beginning is read; the run that takes them reads all.
"""

import csv
import io
import math
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from assets.ingestion.errors import IngestionError
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.landing.partitions import Span, partition_key
from assets.ingestion.parquet_limits import opened_parquet
from assets.ingestion.timestamps import MILLISECOND, MILLISECONDS_RANGE, SECOND, SECONDS_RANGE, TimestampFormat, parse
from assets.ingestion.validate import to_micros
from assets.schema import Columns

REQUIRED: Final = (Columns.USER, Columns.ITEM, Columns.TIMESTAMP)
ROWS: Final = 20
"""The first row may be one that will be set aside: the partition is that of the first good one among these."""

HEAD_BYTES: Final = 1 << 16
_MAGIC: Final = b"PAR1"


def first_partition(path: Path, span: Span, now: int) -> str | None:
    """The partition of a file's first usable row, not later than ``now`` (microseconds); ``None`` without one.

    Raises:
        LandingError: when the file cannot be read, or lacks a column that every file of engagements has.
    """
    instants = _parquet_instants(path) if path.suffix.lower() == ".parquet" else _csv_instants(path)
    usable = (instant for instant in instants if instant is not None and 0 <= instant <= now)
    first = next(usable, None)
    return None if first is None else partition_key(first, span)


def seems_whole(path: Path) -> bool:
    """Whether a file ends as a finished one does: CSV with a line break, Parquet with its footer."""
    with path.open("rb") as handle:
        size = handle.seek(0, io.SEEK_END)
        if path.suffix.lower() == ".parquet":
            handle.seek(max(0, size - len(_MAGIC)))
            return size > 2 * len(_MAGIC) and handle.read() == _MAGIC
        handle.seek(max(0, size - 1))
        return handle.read() in {b"\n", b"\r"}


def _require(path: Path, columns: Iterable[str]) -> None:
    present = list(columns)
    if missing := [name for name in REQUIRED if name not in present]:
        raise LandingError(f"{path.name}: column {', '.join(missing)} is missing; the file has {', '.join(present)}")


def _parquet_instants(path: Path) -> Iterable[int | None]:
    try:
        with opened_parquet(path, [Columns.TIMESTAMP]) as file:
            _require(path, file.schema_arrow.names)
            batches = file.iter_batches(ROWS, columns=[Columns.TIMESTAMP], use_threads=False)
            column = next((batch.column(0) for batch in batches if len(batch)), None)
            if column is None:
                return []
            micros = parse(_decoded(column), TimestampFormat.AUTO, path.name)
    except (pa.ArrowException, OSError, IngestionError) as error:
        raise LandingError(f"{path.name}: not a readable Parquet file of engagements: {error}") from error
    return [None if math.isnan(instant) else int(instant) for instant in micros]


def _decoded(column: Any) -> Any:
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    is_text = pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.string()) if is_text or pa.types.is_null(column.type) else column


def _csv_instants(path: Path) -> Iterable[int | None]:
    try:
        with path.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
    except OSError as error:
        raise LandingError(f"{path.name}: cannot be read: {error}") from error
    rows = csv.reader(io.StringIO(head.decode("utf-8", "replace").lstrip("\ufeff"), newline=""))
    try:
        header = next(rows, [])
        _require(path, header)
        at = header.index(Columns.TIMESTAMP)
        return [_instant(row[at]) if len(row) == len(header) else None for row in islice(rows, ROWS)]
    except csv.Error as error:
        raise LandingError(f"{path.name}: not a readable CSV file: {error}") from error


def _instant(text: str) -> int | None:
    """Microseconds of a timestamp as written; what it cannot tell, the reading of the whole file will."""
    try:
        return _of_number(float(text))
    except ValueError:
        pass
    try:
        return to_micros(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        return None


def _of_number(number: float) -> int | None:
    for (low, high), unit in ((SECONDS_RANGE, SECOND), (MILLISECONDS_RANGE, MILLISECOND)):
        if low <= number < high:
            return round(number * unit)
    return None
