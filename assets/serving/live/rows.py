"""Engagements on their way into the store, as columns, and which of them were applied before."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.ingestion.landing.digests import row_digests
from assets.instants import HOUR
from assets.schema import Columns
from assets.serving.live.ledger import BatchInfo
from assets.serving.live.runs import merge_values
from assets.serving.store.interface import Reader, Table, Writer
from assets.serving.store.meta import ROWS_SINCE, get_meta, put_meta
from assets.serving.store.records import NEVER, instant_key, pack_runs, unpack_runs
from assets.stream import Int

DIGEST: Final = np.dtype("<u8")


@dataclass(frozen=True)
class Rows:
    """Engagements in any order; arrays of equal length E.

    Attributes:
        users: [E] ids (str).
        items: [E] ids (str).
        timestamps: [E] int64 microseconds, UTC, not below 0.
        source_rows: [E] int64, which order equal timestamps.
        values: [E] float32, NaN where unknown.
        events: [E] names of event types (str).
        digests: [E] uint64 over everything but the source row: equal for repetitions.
    """

    users: NDArray[np.object_]
    items: NDArray[np.object_]
    timestamps: Int
    source_rows: Int
    values: NDArray[np.float32]
    events: NDArray[np.object_]
    digests: NDArray[np.uint64]

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Columns of a table in ``INTERACTIONS_SCHEMA``."""
        for name in (Columns.USER, Columns.ITEM, Columns.EVENT_TYPE):  # each text is hashed, and made an object, once
            encoded = table[name].combine_chunks().dictionary_encode()
            table = table.set_column(table.column_names.index(name), name, encoded)
        return cls(
            users=_texts(table[Columns.USER]),
            items=_texts(table[Columns.ITEM]),
            timestamps=table[Columns.TIMESTAMP].to_numpy().astype("datetime64[us]").astype(np.int64),
            source_rows=table[Columns.SOURCE_ROW].to_numpy().astype(np.int64),
            values=table[Columns.VALUE].to_numpy().astype(np.float32),
            events=_texts(table[Columns.EVENT_TYPE]),
            digests=row_digests(table),
        )

    @classmethod
    def concat(cls, parts: Sequence["Rows"]) -> Self:
        """The rows of all parts, one after another."""
        return cls(*(np.concatenate([_empty(f.name), *(getattr(part, f.name) for part in parts)]) for f in fields(cls)))

    def take(self, chosen: NDArray[Any]) -> "Rows":
        """The rows at positions ``chosen``, or where the mask ``chosen`` [E] says so."""
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.timestamps)


@dataclass(frozen=True)
class BatchRows:
    """A batch of engagements to apply: what is known of it, and its rows without removed users, items and other events.

    Raises:
        ValueError: when it has another number of rows than it says.
    """

    info: BatchInfo
    rows: Rows

    def __post_init__(self) -> None:
        info = self.info
        if info.rows != len(self.rows) + info.removed + info.other_events:
            raise ValueError(
                f"batch {info.source} ({info.digest}) says {info.rows} rows, of which {info.removed} were removed and "
                f"{info.other_events} are no engagements, but has {len(self.rows)} to apply: count them anew"
            )


def _empty(name: str) -> NDArray[Any]:
    types = {"users": object, "items": object, "events": object, "values": np.float32, "digests": np.uint64}
    return np.zeros(0, types.get(name, np.int64))


def _texts(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """Dictionary-encoded strings as objects, equal ones as one object: a fifth of the time of making each anew."""
    encoded = column.combine_chunks()
    return encoded.dictionary.to_numpy(zero_copy_only=False)[encoded.indices.to_numpy()]


def unapplied(writer: Writer, rows: Rows) -> NDArray[np.bool_]:
    """[E] whether each row is the first with its digest ever; those are remembered, by the hour of their timestamp."""
    hours, hour_of = np.unique(rows.timestamps // HOUR, return_inverse=True)
    order = np.lexsort((rows.digests, hour_of))  # stable: of equal digests the first in the batch stays first
    digests, runs = rows.digests[order], hour_of[order]
    distinct = np.ones(len(order), np.bool_)
    distinct[1:] = (digests[1:] != digests[:-1]) | (runs[1:] != runs[:-1])
    keys = [instant_key(hour) for hour in hours.tolist()]
    known, lengths = unpack_runs(writer.get_many(Table.ROWS, keys), DIGEST)
    merged, lengths, lacking = merge_values(known, lengths, digests[distinct], runs[distinct])
    writer.put_many(Table.ROWS, zip(keys, pack_runs(merged, lengths), strict=True))
    first = np.zeros(len(order), np.bool_)
    first[order[distinct][lacking]] = True
    return first


def forget_rows(writer: Writer, oldest_accepted: int) -> int:
    """Forget the hours that end not later than ``oldest_accepted``; returns how many.

    No row of theirs may be accepted again, whatever retention is set later: it could be a repetition. META's
    ``rows_since`` says from when on rows are known.
    """
    if oldest_accepted < HOUR:
        return 0
    keys = [key for key, _ in writer.scan(Table.ROWS, stop=instant_key(oldest_accepted // HOUR))]
    if keys:
        writer.delete_many(Table.ROWS, keys)
        end = (int.from_bytes(keys[-1], "big") + 1) * HOUR
        put_meta(writer, ROWS_SINCE, max(rows_since(writer), end))
    return len(keys)


def rows_since(reader: Reader) -> int:
    """From which instant (event clock) on the rows applied are known; ``NEVER`` where all are."""
    return int(get_meta(reader, ROWS_SINCE, NEVER))
