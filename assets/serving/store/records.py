"""What the values of the store are: fixed-size records and runs of entries that numpy reads and writes without a loop.

Instants are microseconds since 1970, UTC, as int64; :data:`NEVER` is numpy's NaT. "Wall" instants are the clock of the
machine, the others the clock of the engagements.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.runs import spans
from assets.stream import Int

Records = NDArray[Any]

NEVER = np.iinfo(np.int64).min
OOV = 0

ITEM = np.dtype(
    [
        ("available_at", "<i8"),  # min(created_at, first engagement); NEVER where neither is known
        ("first_engaged_at", "<i8"),
        ("last_engaged_at", "<i8"),
        ("total", "<i8"),  # engagements
        ("train_count", "<i8"),  # of them before the checkpoint's cutoff, as it was trained
        ("decayed", "<f8"),  # decayed count as of decayed_at
        ("decayed_at", "<i8"),  # 0 while decayed is 0
        ("embedded_at", "<i8"),  # wall; NEVER where it has no vector yet
        ("embedded_total", "<i8"),  # total at the last embedding
    ]
)
ENTRY = np.dtype([("timestamp", "<i8"), ("row", "<i8"), ("id", "<i4")])
"""One entry of an item's history: ``row`` is the source row, which orders equal timestamps; ``id`` is a dense id among
the qualified users."""

USER_ENTRY = np.dtype([*ENTRY.descr, ("event", "<i4"), ("value", "<f4")])
"""One entry of a user's history: ``id`` is the item's number, ``event`` the dense id of the engagement's type among
those that the checkpoint knows, ``value`` the engagement's, NaN where unknown."""

PENDING = np.dtype(
    [
        ("touched_at", "<i8"),  # wall: the first touch since the last embedding
        ("due_at", "<i8"),  # wall
        ("trend_stale", "u1"),  # whether the trend in the index is older than the counts
    ]
)


LONGEST_KEY = 511
"""Bytes that a key may have, which is LMDB's own limit; the id of an item or user is rarely near it."""


def id_keys(ids: Iterable[str]) -> list[bytes]:
    """Keys of item or user ids, whatever text is asked for: their UTF-8 bytes.

    Longer ones than a key may be, and the empty one, become their SHA-256, behind a byte that no UTF-8 text has. What
    UTF-8 cannot say (halves of a character, as a terminal may give them) has a key all the same, that nothing is under.
    """
    keys = [each.encode(errors="surrogatepass") for each in ids]
    return [key if 0 < len(key) <= LONGEST_KEY else b"\xff" + hashlib.sha256(key).digest() for key in keys]


def number_keys(numbers: Int | Sequence[int]) -> list[bytes]:
    """Keys of item numbers [n]."""
    raw = np.asarray(numbers, np.int64).astype(">u4").tobytes()
    return [raw[at : at + 4] for at in range(0, len(raw), 4)]


def numbers_of(keys: Iterable[bytes]) -> Int:
    """[n] item numbers of keys."""
    return np.frombuffer(b"".join(keys), ">u4").astype(np.int64)


def instant_key(instant: int) -> bytes:
    """Key of an instant or a sequence number not below 0."""
    return int(instant).to_bytes(8, "big")


def pack(records: Records) -> list[bytes]:
    """One value per record [n]."""
    raw, width = records.tobytes(), records.dtype.itemsize
    return [raw[at : at + width] for at in range(0, len(raw), width)]


def unpack(values: Sequence[bytes | None], missing: Records) -> Records:
    """[n] records, writable; ``missing`` (a record) where a value is ``None``."""
    blank = missing.tobytes()
    return np.frombuffer(b"".join(blank if value is None else value for value in values), missing.dtype).copy()


def pack_runs(records: Records, lengths: Int, latest: int | None = None) -> list[bytes]:
    """One value per run: ``lengths`` [n] consecutive records each, of which only the ``latest`` are kept if given."""
    raw, width = records.tobytes(), records.dtype.itemsize
    ends = np.cumsum(lengths) * width
    kept = (lengths if latest is None else np.minimum(lengths, latest)) * width
    return [raw[start:end] for start, end in zip((ends - kept).tolist(), ends.tolist(), strict=True)]


def unpack_runs(values: Sequence[bytes | None], dtype: np.dtype) -> tuple[Records, Int]:
    """All records one after another [E], and the length of each run [n]; nothing where a value is ``None``."""
    parts = [value or b"" for value in values]
    lengths = np.fromiter(map(len, parts), np.int64, len(parts)) // dtype.itemsize
    return np.frombuffer(b"".join(parts), dtype), lengths


def new_items(count: int) -> Records:
    """[count] ITEM records that nothing is known of."""
    records = np.zeros(count, ITEM)
    for name in ("available_at", "first_engaged_at", "last_engaged_at", "embedded_at"):
        records[name] = NEVER
    return records


def earliest(*instants: Int) -> Int:
    """[N] the earliest of several instants each, ``NEVER`` where all are."""
    last = np.iinfo(np.int64).max
    first = np.min([np.where(each == NEVER, last, each) for each in instants], axis=0)
    return np.where(first == last, NEVER, first)


def pack_features(dense_ids: Int, features: Sequence[tuple[Int, Int]]) -> list[bytes]:
    """Encoded rows [n]: int32 dense id, then per feature the number of its values and the values.

    Args:
        dense_ids: [n].
        features: per feature, in the order of its name, all value ids one after another and [n] how many each row has.
    """
    counts = [np.ones(len(dense_ids), np.int64), *(1 + lengths for _, lengths in features)]
    widths = np.sum(counts, axis=0)  # [n]
    flat = np.empty(int(widths.sum()), "<i4")
    at = np.cumsum(widths) - widths  # [n] where each row is written next
    flat[at] = dense_ids
    at = at + 1
    for values, lengths in features:
        flat[at] = lengths
        flat[spans(at + 1, lengths)] = values
        at = at + 1 + lengths
    return pack_runs(flat, widths)


def unpack_features(values: Sequence[bytes | None], features: int) -> tuple[Int, list[tuple[Int, Int]]]:
    """Inverse of :func:`pack_features`; an absent value is a row whose id and features are all OOV."""
    unknown = np.array([OOV, *([1, OOV] * features)], np.int32).tobytes()
    flat, lengths = unpack_runs([unknown if value is None else value for value in values], np.dtype("<i4"))
    at = np.cumsum(lengths) - lengths  # [n] where each row is read next
    dense, found = flat[at].astype(np.int64), []
    at = at + 1
    for _ in range(features):
        counts = flat[at].astype(np.int64)  # [n]
        found.append((flat[spans(at + 1, counts)].astype(np.int64), counts))
        at = at + 1 + counts
    return dense, found
