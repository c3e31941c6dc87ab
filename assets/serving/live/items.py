"""Landed items: what they are called, their features, and from when on they may be recommended.

Of several rows about an item the one that was seen last counts, whatever order they are applied in; it is available
from the earliest instant that any of them gives.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.schema import Columns
from assets.serving.live.ledger import BatchInfo, LedgerEntry, applied, put_entries
from assets.serving.live.model import LiveModel
from assets.serving.live.pending import add_upcoming, upcoming_keys
from assets.serving.store.interface import KeyValueStore, Reader, Table, Writer
from assets.serving.store.meta import WATERMARK, get_meta
from assets.serving.store.numbers import assign_numbers
from assets.serving.store.records import NEVER, PENDING, earliest, new_items, number_keys, pack, unpack
from assets.stream import Int

Version = tuple[int, int, str]
"""Seen at, landed at, digest: the order of batches of items."""


@dataclass(frozen=True)
class ItemBatch:
    """Items to apply: item_id, title, created_at and a column of lists per feature, without removed items."""

    info: BatchInfo
    table: pa.Table

    @property
    def version(self) -> Version:
        return self.info.seen_at, self.info.landed_at, self.info.digest


@dataclass(frozen=True)
class Details:
    """What people are told of an item.

    Attributes:
        item_id: the source's.
        title: if known.
        created_at: event clock, microseconds: the earliest that is known.
        version: of the batch that it came with; ``None`` for items of the base and those that engagements named.
    """

    item_id: str
    title: str | None = None
    created_at: int | None = None
    version: Version | None = None

    def encoded(self) -> bytes:
        """The value in DETAILS."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()


def item_details(reader: Reader, numbers: Int) -> list[Details | None]:
    """[M] details of the items ``numbers``, ``None`` for the unknown."""
    return [None if fields is None else _details(fields) for fields in _fields(reader, numbers)]


def item_ids(reader: Reader, numbers: Int) -> list[str | None]:
    """[M] ids of the items ``numbers``, ``None`` for the unknown."""
    return [None if fields is None else fields[Columns.ITEM] for fields in _fields(reader, numbers)]


def _fields(reader: Reader, numbers: Int) -> list[dict[str, Any] | None]:
    values = reader.get_many(Table.DETAILS, number_keys(numbers))
    # One document instead of one each: a third of the time.
    fields: list[dict[str, Any] | None] = json.loads(b"[" + b",".join(value or b"null" for value in values) + b"]")
    return fields


def _details(fields: dict[str, Any]) -> Details:
    version = fields.get("version")
    return Details(
        item_id=fields[Columns.ITEM],
        title=fields.get(Columns.TITLE),
        created_at=fields.get(Columns.CREATED_AT),
        version=None if version is None else (version[0], version[1], version[2]),
    )


def created_instants(frame: pd.DataFrame) -> Int:
    """[N] created_at in microseconds, ``NEVER`` where it is not known."""
    return frame[Columns.CREATED_AT].to_numpy(dtype="datetime64[us]").astype(np.int64)


def details_of(frame: pd.DataFrame, created: Int, versions: Iterable[Version | None]) -> list[Details]:
    """[N] details of items with their titles.

    Args:
        created: [N], see :func:`created_instants`.
        versions: [N].
    """
    titles = frame[Columns.TITLE].astype(object).mask(frame[Columns.TITLE].isna(), None)
    instants = [None if instant == NEVER else instant for instant in created.tolist()]
    columns = zip(frame[Columns.ITEM], titles, instants, versions, strict=True)
    return [Details(item, title, instant, version) for item, title, instant, version in columns]


def encoded_details(frame: pd.DataFrame, created: Int, versions: Iterable[Version | None]) -> list[bytes]:
    """[N] values of DETAILS, see :func:`details_of`."""
    return [each.encoded() for each in details_of(frame, created, versions)]


def apply_items(store: KeyValueStore, batches: Sequence[ItemBatch], model: LiveModel, now: int) -> list[LedgerEntry]:
    """Apply the batches that are not in the ledger yet, in one transaction; their items are due for embedding at once.

    An item without created_at is available on arrival; one with a created_at later than the watermark waits for it.

    Args:
        now: wall clock, microseconds.

    Returns:
        The entries of the batches applied now: ``applied`` rows are those that are the latest about their item.
    """
    with store.write() as writer:
        known = applied(writer, [batch.info.digest for batch in batches])
        fresh = {batch.info.digest: batch for batch in batches if batch.info.digest not in known}
        ordered = sorted(fresh.values(), key=lambda batch: batch.version)
        if not ordered:
            return []
        origins = _write(writer, model, ordered, now)
        entries = [_entry(batch, int((origins == at).sum()), now) for at, batch in enumerate(ordered)]
        put_entries(writer, entries)
    return entries


@dataclass(frozen=True)
class _Items:
    """What a call says of N distinct items.

    Attributes:
        frame: [N] the last row of each item.
        origins: [N] the batch that it stands in.
        created: [N] the earliest created_at of all its rows, ``NEVER`` without any.
        arrived: [N] whether a row of it has no created_at.
    """

    frame: pd.DataFrame
    origins: Int
    created: Int
    arrived: NDArray[np.bool_]

    @classmethod
    def of(cls, batches: Sequence[ItemBatch]) -> "_Items":
        """The rows of ``batches``, from the earliest seen to the latest."""
        rows = pa.concat_tables([batch.table for batch in batches], promote_options="default").to_pandas()
        origins = np.repeat(np.arange(len(batches)), [batch.table.num_rows for batch in batches])
        last = ~rows[Columns.ITEM].duplicated(keep="last").to_numpy()
        frame = rows[last].reset_index(drop=True)
        place = pd.Index(frame[Columns.ITEM]).get_indexer(pd.Index(rows[Columns.ITEM]))  # [rows] item of each row
        every = created_instants(rows)
        known = every != NEVER
        created = np.full(len(frame), np.iinfo(np.int64).max)
        np.minimum.at(created, place[known], every[known])
        dated = np.bincount(place[known], minlength=len(frame)) > 0
        arrived = np.bincount(place[~known], minlength=len(frame)) > 0
        return cls(frame, origins[last], np.where(dated, created, NEVER), arrived)


def _write(writer: Writer, model: LiveModel, batches: Sequence[ItemBatch], now: int) -> Int:
    """Write what ``batches`` say; the batch of each row that is the latest about its item."""
    items = _Items.of(batches)
    numbers, _ = assign_numbers(writer, items.frame[Columns.ITEM].tolist())
    stored = item_details(writer, numbers)
    said = details_of(items.frame, items.created, [batches[at].version for at in items.origins])
    merged = [_merged(old, new) for old, new in zip(stored, said, strict=True)]
    latest = np.array([each.version == new.version for each, new in zip(merged, said, strict=True)], np.bool_)
    keys = number_keys(numbers)
    writer.put_many(Table.DETAILS, zip(keys, (each.encoded() for each in merged), strict=True))
    rows = model.encoded_items(items.frame[latest].reset_index(drop=True))
    writer.put_many(Table.FEATURES, zip(number_keys(numbers[latest]), rows, strict=True))
    _make_available(writer, numbers, items)
    _make_pending(writer, keys, now)
    return items.origins[latest]


def _merged(stored: Details | None, said: Details) -> Details:
    """The later of both, with the earliest created_at."""
    if stored is None:
        return said
    later = said if stored.version is None or said.version is None or said.version >= stored.version else stored
    known = [instant for instant in (stored.created_at, said.created_at) if instant is not None]
    return replace(later, created_at=min(known, default=None))


def _make_available(writer: Writer, numbers: Int, said: _Items) -> None:
    """Set from when on the items are available, and which of them wait for it."""
    keys, watermark = number_keys(numbers), get_meta(writer, WATERMARK, 0)
    items = unpack(writer.get_many(Table.ITEMS, keys), new_items(1)[0])
    before = items["available_at"].copy()
    arrival = np.where(said.arrived, watermark, NEVER)
    items["available_at"] = earliest(before, said.created, arrival)
    writer.put_many(Table.ITEMS, zip(keys, pack(items), strict=True))
    waited, waits = before > watermark, items["available_at"] > watermark  # NEVER is the smallest of all
    writer.delete_many(Table.UPCOMING, upcoming_keys(before[waited], numbers[waited]))
    add_upcoming(writer, items["available_at"][waits], numbers[waits])


def _make_pending(writer: Writer, keys: list[bytes], now: int) -> None:
    """The items are due now; one that was pending already keeps when it was touched."""
    untouched = np.array([(now, now, 0)], PENDING)[0]
    pending = unpack(writer.get_many(Table.PENDING, keys), untouched)
    pending["due_at"] = np.minimum(pending["due_at"], now)
    writer.put_many(Table.PENDING, zip(keys, pack(pending), strict=True))


def _entry(batch: ItemBatch, written: int, now: int) -> LedgerEntry:
    return LedgerEntry(
        **batch.info.model_dump(),
        applied=written,
        duplicates=batch.table.num_rows - written,
        oldest_accepted=NEVER,
        features_at=now,
        items_touched=written,
    )
