"""Landing files by hand: all are validated before the first of them appears in the drop zone.

Rows are cut by partition, so that each file that appears belongs to one. Names are made of the content: landing the
same file again, or after a kill in between, gives the same files.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.config.data_format import claim
from assets.ingestion.landing.batches import Landed
from assets.ingestion.landing.contract import read_engagements, read_items
from assets.ingestion.landing.digests import row_digests
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.landing.partitions import Span, partition_key
from assets.ingestion.landing.places import MAX_NAME_BYTES, Kind, drop_zone
from assets.instants import as_micros
from assets.schema import Columns
from assets.storage import Storage, atomic_path, encodable

TIME_UNITS = {"day": "D", "hour": "h"}


@dataclass(frozen=True)
class LandedFile:
    """One file that appeared in the drop zone.

    Attributes:
        path: where.
        source: name of the file it was made of.
        partition: of its rows; ``None`` for items.
        rows: that it holds.
    """

    path: Path
    source: str
    partition: str | None
    rows: int


@dataclass(frozen=True)
class Landing:
    """What :func:`land` did: files, and how many rows of each source were set aside, with their reasons and content."""

    files: tuple[LandedFile, ...]
    rejected: dict[str, pa.Table]


def land(
    storage: Storage,
    files: Sequence[Path],
    span: Span,
    now: int,
    kind: str = Kind.ENGAGEMENTS,
    max_quarantine_share: float = 0.0,
) -> Landing:
    """Validate ``files`` and put them into the drop zone.

    Args:
        span: of a partition.
        now: wall clock, microseconds; later timestamps are not valid.
        max_quarantine_share: of the rows of a file that may be set aside; those do not land.

    Raises:
        LandingError: for all files that cannot be used, one line each; nothing has landed then.
    """
    read = _read_all(files, kind, now, max_quarantine_share)
    pieces = [piece for path, landed in read for piece in _pieces(storage, path, landed, span)]
    claim(storage)
    with ExitStack() as stack:  # every file is complete before the first appears
        for piece, table in pieces:
            pq.write_table(table, stack.enter_context(atomic_path(piece.path)), compression="zstd")
    rejected = {encodable(path.name): landed.rejected for path, landed in read if landed.rejected.num_rows}
    return Landing(tuple(piece for piece, _ in pieces), rejected)


def _read_all(files: Sequence[Path], kind: str, now: int, max_share: float) -> list[tuple[Path, Landed]]:
    read, problems = [], []
    for path in files:
        try:
            landed = read_items(path, 0, max_share) if kind == Kind.ITEMS else read_engagements(path, now, max_share)
            read.append((path, landed))
        except LandingError as error:
            problems.append(encodable(str(error)))
    if problems:
        raise LandingError("\n".join(problems))
    return read


def _pieces(storage: Storage, path: Path, landed: Landed, span: Span) -> list[tuple[LandedFile, pa.Table]]:
    if landed.kind == Kind.ITEMS:
        return [(_piece(storage, path, Kind.ITEMS, landed.digest, None, landed.table), landed.table)]
    table = landed.table.drop_columns([Columns.SOURCE_ROW])
    pieces = []
    for partition, part in split_by_partition(table, span):
        digest = sha256(np.sort(row_digests(part)).tobytes()).hexdigest()
        pieces.append((_piece(storage, path, Kind.ENGAGEMENTS, digest, partition, part), part))
    return pieces


def split_by_partition(table: pa.Table, span: Span) -> list[tuple[str, pa.Table]]:
    """Rows of interactions by partition, ascending; rows keep their order."""
    instants = table[Columns.TIMESTAMP].cast(pa.int64()).to_numpy()
    periods = instants.astype("datetime64[us]").astype(f"datetime64[{TIME_UNITS[span]}]")
    distinct, which = np.unique(periods, return_inverse=True)
    return [
        (partition_key(as_micros(start), span), table.filter(pa.array(which == at)))
        for at, start in enumerate(distinct)
    ]


def _piece(storage: Storage, path: Path, kind: str, digest: str, partition: str | None, table: pa.Table) -> LandedFile:
    stem = encodable(path.stem).encode()[: MAX_NAME_BYTES - 40].decode("utf-8", "ignore").lstrip("._") or "file"
    name = "-".join(part for part in (stem, partition, digest[:16]) if part)
    return LandedFile(drop_zone(storage, kind) / f"{name}.parquet", encodable(path.name), partition, table.num_rows)
