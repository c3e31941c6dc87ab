"""The ledger: what became of every batch that was applied. An entry commits together with what the batch changed.

Whoever finds a batch's digest here has nothing left to do for it: that is why a file can land twice, or a run be killed
and begun again, without counting an engagement twice.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from pydantic import Field

from assets.config import StrictModel
from assets.serving.store.interface import Reader, Table, Writer

_SEEN_AT: Final = re.compile(rb'"seen_at":(-?\d+)')
"""In a stored entry; a text that holds the same has its quotes escaped."""

BatchKind = Literal["engagements", "items", "base"]


class BatchInfo(StrictModel):
    """What is known of a batch before it is applied. Instants: wall clock, microseconds."""

    digest: str = Field(min_length=1, description="of the file's content, SHA-256, hexadecimal")
    kind: BatchKind
    partition: str
    source: str = Field(description="name of the file that landed")
    rows: int = Field(ge=0, description="valid rows, those that are not applied among them")
    removed: int = Field(0, ge=0, description="rows of users and items that were removed")
    other_events: int = Field(0, ge=0, description="rows that are no engagement by the rule")
    rejected: int = Field(0, ge=0, description="rows set aside when the file was read; not among rows")
    landed_at: int
    seen_at: int


class LedgerEntry(BatchInfo):
    """A batch that was applied, and when each hop was done.

    For engagements and the base: rows = applied + duplicates + beyond_retention + removed + other_events.
    """

    applied: int = Field(0, ge=0, description="engagements counted; of items: items added or changed")
    duplicates: int = Field(0, ge=0, description="rows that were applied before, or stand in the batch twice")
    beyond_retention: int = Field(0, ge=0, description="rows older than oldest_accepted")
    oldest_accepted: int = Field(description="event clock: rows older than this were set aside")
    first_event: int | None = Field(None, description="event clock, of the rows applied")
    last_event: int | None = Field(None, description="event clock, of the rows applied")
    features_at: int = Field(description="when its features were written")
    embedded_at: int | None = Field(None, description="when the items it touched, but the deferred, were embedded")
    indexed_at: int | None = Field(None, description="when the delta with them was committed")
    seq: int | None = Field(None, description="the delta that shows it; the latest one where it changed no item")
    items_touched: int = Field(0, ge=0)
    deferred: int | None = Field(None, description="items still pending when its delta was committed")


def put_entries(writer: Writer, entries: Iterable[LedgerEntry]) -> None:
    """Add or replace entries; one that is not indexed yet is awaiting its delta from now on."""
    entries = list(entries)
    writer.put_many(Table.LEDGER, [(_key(entry.digest), entry.model_dump_json().encode()) for entry in entries])
    done = [_key(entry.digest) for entry in entries if entry.indexed_at is not None]
    writer.put_many(Table.AWAITING, [(_key(entry.digest), b"") for entry in entries if entry.indexed_at is None])
    writer.delete_many(Table.AWAITING, done)


def applied(reader: Reader, digests: Iterable[str]) -> set[str]:
    """Which of ``digests`` were applied."""
    asked = list(digests)
    values = reader.get_many(Table.LEDGER, [_key(digest) for digest in asked])
    return {digest for digest, value in zip(asked, values, strict=True) if value is not None}


def entries(reader: Reader) -> list[LedgerEntry]:
    """Every entry, in order of ``features_at``, then digest."""
    return _in_order(value for _, value in reader.scan(Table.LEDGER))


def latest(reader: Reader, count: int) -> list[LedgerEntry]:
    """Of all entries the ``count`` seen last, in the order of :func:`entries`; the others are passed over unread."""
    values = [value for _, value in reader.scan(Table.LEDGER)]
    if len(values) > count:
        seen_at = np.array([_seen_at(value) for value in values], np.int64)
        values = [values[at] for at in np.argpartition(seen_at, -count)[-count:].tolist()]
    return _in_order(values)


def _seen_at(value: bytes) -> int:
    found = _SEEN_AT.search(value)
    if found is None:
        raise ValueError(f"not an entry of the ledger: {value[:100]!r}; build the index anew with `thaw run`")
    return int(found[1])


def _in_order(values: Iterable[bytes]) -> list[LedgerEntry]:
    found = [LedgerEntry.model_validate_json(value) for value in values]
    return sorted(found, key=lambda entry: (entry.features_at, entry.digest))


def awaiting(reader: Reader) -> list[LedgerEntry]:
    """The entries whose items are not in the index yet, in the order of :func:`entries`."""
    keys = [key for key, _ in reader.scan(Table.AWAITING)]
    return _in_order(value for value in reader.get_many(Table.LEDGER, keys) if value is not None)


def complete_awaiting(
    writer: Writer, *, embedded_at: int, indexed_at: int, seq: int, deferred: int
) -> list[LedgerEntry]:
    """Say of every batch that awaits its delta that it is delta ``seq``; returns them as they are now."""
    times = {"embedded_at": embedded_at, "indexed_at": indexed_at, "seq": seq, "deferred": deferred}
    done = [entry.model_copy(update=times) for entry in awaiting(writer)]
    put_entries(writer, done)
    return done


def _key(digest: str) -> bytes:
    return digest.encode()
