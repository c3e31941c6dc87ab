"""Accepted engagements into the tables of items and users. Reads and writes what they touch, nothing else."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.idmap import IdMap
from assets.instants import DAY
from assets.serving.live.rows import Rows
from assets.serving.live.runs import merge_entries, merge_values
from assets.serving.store.interface import Table, Writer
from assets.serving.store.records import (
    ENTRY,
    OOV,
    USER_ENTRY,
    Records,
    earliest,
    id_keys,
    new_items,
    number_keys,
    pack,
    pack_runs,
    unpack,
    unpack_runs,
)
from assets.stream import Int

NUMBER = np.dtype("<i4")


@dataclass(frozen=True)
class Engagements:
    """Rows in order of (timestamp, source row), with their items and users numbered among those that they touch.

    Attributes:
        numbers: [I] items' numbers, ascending.
        items: [E] positions in ``numbers``.
        user_ids: [U] in the order of the store's keys.
        users: [E] positions in ``user_ids``.
        timestamps: [E] ascending.
        source_rows: [E].
        values: [E] float32, NaN where unknown.
        event_types: [T] names of event types.
        events: [E] positions in ``event_types``.
    """

    numbers: Int
    items: Int
    user_ids: list[str]
    users: Int
    timestamps: Int
    source_rows: Int
    values: NDArray[np.float32]
    event_types: list[str]
    events: Int

    @classmethod
    def build(cls, rows: Rows, numbers: Int) -> Self:
        """Order ``rows`` [E], whose items have ``numbers`` [E]."""
        at = np.lexsort((rows.source_rows, rows.timestamps))
        touched, items = np.unique(numbers, return_inverse=True)
        codes, ids = pd.factorize(rows.users)
        order = np.array(sorted(range(len(ids)), key=id_keys(ids).__getitem__), np.int64)
        place = np.empty(len(ids), np.int64)
        place[order] = np.arange(len(ids))
        event_codes, event_types = pd.factorize(rows.events, use_na_sentinel=False)
        return cls(
            numbers=touched,
            items=items[at],
            user_ids=ids[order].tolist(),
            users=place[codes[at]],
            timestamps=rows.timestamps[at],
            source_rows=rows.source_rows[at],
            values=rows.values[at],  # noqa: PD011 - no frame
            event_types=event_types.tolist(),
            events=event_codes[at],
        )

    def __len__(self) -> int:
        return len(self.timestamps)

    def entries(self, kind: np.dtype, ids: Int) -> Records:
        """[E] history entries of ``kind`` that hold ``ids`` [E]; the fields that only user histories have are unset."""
        entries = np.empty(len(self), kind)
        entries["timestamp"], entries["row"], entries["id"] = self.timestamps, self.source_rows, ids
        return entries


def count_items(writer: Writer, engagements: Engagements, half_life_days: float) -> tuple[Records, Records]:
    """Add engagements to the ITEMS that they touch; [I] the records as they were, and as they are now."""
    keys = number_keys(engagements.numbers)
    old = unpack(writer.get_many(Table.ITEMS, keys), new_items(1))
    new, at, instants, size = old.copy(), engagements.items, engagements.timestamps, len(old)
    order = np.argsort(at, kind="stable")
    first, last = _ends(instants[order], np.bincount(at, minlength=size))
    new["available_at"] = earliest(old["available_at"], first)
    new["first_engaged_at"] = earliest(old["first_engaged_at"], first)
    new["last_engaged_at"] = np.maximum(old["last_engaged_at"], last)
    new["total"] += np.bincount(at, minlength=size)
    # Forward decay: the count is kept as of the latest engagement, so that its value there is at least 1 and nothing
    # of it is lost by rounding, and no item but the touched ones changes.
    half_life = half_life_days * DAY
    as_of = np.where(old["total"] > 0, np.maximum(old["decayed_at"], last), last)
    fresh = np.bincount(at, np.exp2((instants - as_of[at]) / half_life), size)
    new["decayed"] = fresh + old["decayed"] * np.exp2((old["decayed_at"] - as_of) / half_life)
    new["decayed_at"] = as_of
    writer.put_many(Table.ITEMS, zip(keys, pack(new), strict=True))
    return old, new


def extend_histories(writer: Writer, table: Table, keys: list[bytes], entries: Records, runs: Int, length: int) -> None:
    """Put entries into histories, of which the latest ``length`` by (timestamp, source row) are kept.

    Args:
        keys: [n] of the histories.
        entries: [E] in order of (timestamp, source row).
        runs: [E] position in ``keys`` of each entry's history; negative leaves the entry out.
        length: 0 keeps no history at all.
    """
    at = np.flatnonzero(runs >= 0)
    at = at[np.argsort(runs[at], kind="stable")]
    if length == 0 or not len(at):
        return
    present, run_of = np.unique(runs[at], return_inverse=True)
    chosen = [keys[run] for run in present.tolist()]
    old, lengths = unpack_runs(writer.get_many(table, chosen), entries.dtype)
    merged, lengths = merge_entries(old, lengths, entries[at], run_of)
    writer.put_many(table, zip(chosen, pack_runs(merged, lengths, length), strict=True))


def extend_item_histories(writer: Writer, engagements: Engagements, qualified: IdMap, length: int) -> None:
    """Put engagements of qualified users into their items' histories; ``qualified`` gives their dense ids."""
    dense = qualified.encode(engagements.user_ids)[engagements.users]
    runs = np.where(dense == OOV, -1, engagements.items)
    entries = engagements.entries(ENTRY, dense)
    extend_histories(writer, Table.ITEM_HISTORIES, number_keys(engagements.numbers), entries, runs, length)


def extend_user_histories(writer: Writer, engagements: Engagements, event_types: IdMap, length: int) -> None:
    """Put engagements into their users' histories, and their items into what the users have seen.

    Args:
        event_types: gives the dense ids of the entries' event types.
    """
    keys, numbers = id_keys(engagements.user_ids), engagements.numbers[engagements.items]
    entries = engagements.entries(USER_ENTRY, numbers)
    entries["event"] = event_types.encode(engagements.event_types)[engagements.events]
    entries["value"] = engagements.values  # noqa: PD011 - no frame
    extend_histories(writer, Table.USER_HISTORIES, keys, entries, engagements.users, length)
    _extend_seen(writer, keys, engagements)


def _extend_seen(writer: Writer, keys: list[bytes], engagements: Engagements) -> None:
    """Add the items engaged with to what each user has SEEN; ``keys`` [U] of the users."""
    pairs = np.unique((engagements.users << 32) | engagements.numbers[engagements.items])
    users, numbers = pairs >> 32, (pairs & 0xFFFFFFFF).astype(NUMBER)
    old, lengths = unpack_runs(writer.get_many(Table.SEEN, keys), NUMBER)
    merged, lengths, _ = merge_values(old, lengths, numbers, users)
    writer.put_many(Table.SEEN, zip(keys, pack_runs(merged, lengths), strict=True))


def _ends(ordered: Int, counts: Int) -> tuple[Int, Int]:
    """First and last [I] of consecutive groups, each of ``counts`` [I] > 0 values."""
    ends = np.cumsum(counts)
    return ordered[ends - counts], ordered[ends - 1]
