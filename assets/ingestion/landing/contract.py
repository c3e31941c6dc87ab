"""What a landed file looks like, and reading one. The layout is that of the dataset ``files``
(:mod:`assets.ingestion.datasets.files`), with its default names:

engagements, ``*.csv`` or ``*.parquet``
    ``user_id``, ``item_id``, ``timestamp``, and optionally ``value`` and ``event_type``. Further columns are not read.
    Only a header: an empty batch, which is fine.
items
    ``item_id``, and optionally ``title``, ``created_at`` and, in Parquet, ``content``, a list of numbers; every other
    column is a categorical feature, or text where the dataset's options say so. Of rows with one item id, the last
    counts; of files, the one that landed last.

Write a file under a name that starts with a dot or ends in ``.tmp`` or ``.partial`` and rename it when it is complete.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from assets.ingestion.content import TextOptions, with_text
from assets.ingestion.errors import IngestionError
from assets.ingestion.landing.batches import Landed
from assets.ingestion.landing.digests import landed_source_rows, row_digests
from assets.ingestion.landing.errors import LandingError, UnfinishedError
from assets.ingestion.landing.places import SUFFIXES, Kind
from assets.ingestion.own_tables import HOW, FilesOptions, interactions, items, one_line
from assets.ingestion.parquet_rows import read_parquet_rows
from assets.ingestion.rows import SourceRows, read_csv
from assets.ingestion.tables import drop_duplicates
from assets.ingestion.validate import Screened, describe
from assets.schema import INTERACTION_COLUMNS, Columns
from assets.storage import file_digest

OPTIONS: Final = FilesOptions()
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_engagements(path: Path, now: int, max_quarantine_share: float) -> Landed:
    """Read and validate a file of engagements.

    Args:
        now: wall clock, microseconds; rows with later timestamps are set aside.
        max_quarantine_share: refuse the file when more than this share of its rows is set aside.

    Raises:
        LandingError: naming file and column or rows, for a file that cannot be read, lacks a column, has one of another
            type, or too many bad rows.
        UnfinishedError: when it is written to meanwhile.
    """
    screened, digest = _read(path, "interactions", lambda rows: interactions(rows, OPTIONS, _instant(now)))
    _refuse_too_bad(screened, max_quarantine_share)
    at = INTERACTION_COLUMNS.index(Columns.SOURCE_ROW)
    source_rows = pa.array(landed_source_rows(row_digests(screened.table)))
    table = screened.table.set_column(at, Columns.SOURCE_ROW, source_rows)
    return Landed(Kind.ENGAGEMENTS, table, screened.quarantine, digest)


def read_items(path: Path, seen_at: int, max_quarantine_share: float, text: TextOptions | None = None) -> Landed:
    """Read and validate a file of items.

    Args:
        seen_at: stamp of the file, part of the digest: details that return to what they were are news again.
        max_quarantine_share: see :func:`read_engagements`.
        text: what to make content of, where the file has none; columns of it that the file lacks say nothing.

    Raises:
        LandingError, UnfinishedError: see :func:`read_engagements`; also for a feature name that Thaw uses itself.
    """
    screened, digest = _read(path, "items", lambda rows: items(rows, OPTIONS))
    _refuse_too_bad(screened, max_quarantine_share)
    stamped = sha256(f"{seen_at}:{digest}".encode()).hexdigest()
    return Landed(Kind.ITEMS, _with_text(_last_of_each(screened.table), text), screened.quarantine, stamped)


def _with_text(table: pa.Table, text: TextOptions | None) -> pa.Table:
    return table if text is None or Columns.CONTENT in table.column_names else with_text(table, text, optional=True)


def file_batch_digest(path: Path, kind: str, seen_at: int) -> str:
    """The digest that reading the file as it is now would give."""
    digest = file_digest(path)
    return digest if kind == Kind.ENGAGEMENTS else sha256(f"{seen_at}:{digest}".encode()).hexdigest()


def _read(path: Path, table: str, screen: Callable[[SourceRows], Screened]) -> tuple[Screened, str]:
    """Rows and the digest of the very bytes that they were read from."""
    try:
        before = _state(path)
        digest = file_digest(path)
        screened = _screened(path, table, screen)
        if _state(path) != before:
            raise UnfinishedError(f"{path.name}: was written to while it was read")
    except OSError as error:
        raise LandingError(f"{path.name}: cannot be read: {error}") from error
    return screened, digest


def _state(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _screened(path: Path, table: str, screen: Callable[[SourceRows], Screened]) -> Screened:
    try:
        return screen(_source_rows(path, table))
    except LandingError:
        raise
    except IngestionError as error:
        raise LandingError(_without_options(str(error))) from error
    except (pa.ArrowException, UnicodeError, OverflowError) as error:
        raise LandingError(f"{path.name}: a column has a type or a value that it cannot have: {error}") from error


def _without_options(message: str) -> str:
    """Landed files have no options to set: say what to do instead."""
    before, option, _ = message.partition("; set timestamp_format")
    hint = "; write ISO 8601, or a column of a time type in Parquet" if option else ""
    return before.replace(HOW, "Rename it") + hint


def _source_rows(path: Path, table: str) -> SourceRows:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise LandingError(f"{path.name}: land files called {' or '.join('*' + known for known in SUFFIXES)}")
    if suffix == ".csv":
        return read_csv(path, OPTIONS.delimiter, OPTIONS.encoding, one_line=one_line(table, OPTIONS))
    return read_parquet_rows(path, OPTIONS.list_separator)


def _refuse_too_bad(screened: Screened, max_share: float) -> None:
    bad, read = screened.quarantine.num_rows, screened.rows_read
    if bad and (bad == read or bad > max_share * read):
        allowed = f"freshness.max_quarantine_share allows {max_share:.0%}, but not all" if max_share else "none may be"
        raise LandingError(
            f"{screened.file}: {bad} of {read} rows are not valid ({allowed}): {describe(screened.quarantine)}"
        )


def _last_of_each(table: pa.Table) -> pa.Table:
    backwards = pa.array(np.arange(table.num_rows)[::-1])
    kept, _ = drop_duplicates(table.take(backwards), [Columns.ITEM])
    return kept.take(pa.array(np.arange(kept.num_rows)[::-1]))


def _instant(micros: int) -> datetime:
    return _START + timedelta(microseconds=micros)
