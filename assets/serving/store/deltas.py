"""The ordered log of changes to the index: what a service that follows the store applies, whole, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from assets.serving.index_file import pack_ids, unpack_ids
from assets.serving.store.interface import Reader, Table, Writer
from assets.serving.store.meta import CHANGES, SEQ, get_meta, put_meta
from assets.serving.store.records import instant_key

FORMAT = 1


class DeltaError(ValueError):
    """A delta is not whole, of another format, or says two things of one item."""


@dataclass(frozen=True)
class Delta:
    """One change of the index, applied as a whole or not at all.

    Attributes:
        seq: its number; the first is 1, and there is no gap between one and the next.
        created_at: wall clock, microseconds.
        ids: [n] items that are added or replaced.
        vectors: [n, D] float32, their index vectors (with the trend dimension where the model has one).
        removed: items that leave the index; none of ``ids``.
    """

    seq: int
    created_at: int
    ids: list[str]
    vectors: NDArray[np.float32]
    removed: list[str]


def encode(delta: Delta) -> bytes:
    """A delta as safetensors bytes.

    Raises:
        DeltaError: when it has another number of vectors than of ids, or names an item twice.
    """
    if delta.vectors.ndim != 2 or len(delta.vectors) != len(delta.ids):
        raise DeltaError(f"delta {delta.seq} has {len(delta.ids)} ids and vectors of shape {delta.vectors.shape}")
    named = [*delta.ids, *delta.removed]
    if len(set(named)) != len(named):
        twice = next(item for item in named if named.count(item) > 1)
        raise DeltaError(f"delta {delta.seq} names item {twice!r} twice: keep its last change only")
    ids, id_ends = pack_ids(delta.ids)
    removed, removed_ends = pack_ids(delta.removed)
    return save(
        {
            "header": np.array([FORMAT, delta.seq, delta.created_at], np.int64),
            "ids": ids,
            "id_ends": id_ends,
            "vectors": np.ascontiguousarray(delta.vectors, np.float32),
            "removed": removed,
            "removed_ends": removed_ends,
        }
    )


def decode(content: bytes) -> Delta:
    """Inverse of :func:`encode`.

    Raises:
        DeltaError: when ``content`` is no whole delta of this format.
    """
    try:
        tensors: dict[str, NDArray[Any]] = load(content)
        form, seq, created_at = tensors["header"].tolist()
    except (SafetensorError, KeyError, ValueError) as error:
        raise DeltaError(f"not a whole delta ({error}): build the index anew with `thaw run`") from error
    if form != FORMAT:
        raise DeltaError(f"a delta of format {form}, expected {FORMAT}: build the index anew with `thaw run`")
    return Delta(
        seq=seq,
        created_at=created_at,
        ids=unpack_ids(tensors["ids"], tensors["id_ends"]),
        vectors=tensors["vectors"],
        removed=unpack_ids(tensors["removed"], tensors["removed_ends"]),
    )


def deltas_after(reader: Reader, seq: int) -> list[Delta]:
    """The deltas with a number above ``seq``, in order.

    Compaction deletes old ones: where the first is not ``seq + 1``, load the snapshot.
    """
    return [decode(value) for _, value in reader.scan(Table.DELTAS, instant_key(seq + 1))]


def append_delta(
    writer: Writer, created_at: int, ids: list[str], vectors: NDArray[np.float32], removed: Sequence[str] = ()
) -> Delta:
    """Add the next delta to the log and count META's ``seq`` and ``changes`` on; returns it."""
    delta = Delta(get_meta(writer, SEQ, 0) + 1, created_at, ids, vectors, list(removed))
    writer.put(Table.DELTAS, instant_key(delta.seq), encode(delta))
    put_meta(writer, SEQ, delta.seq)
    put_meta(writer, CHANGES, get_meta(writer, CHANGES, 0) + _named(delta))
    return delta


def drop_deltas(writer: Writer, until: int) -> int:
    """Delete the deltas numbered up to ``until``, which a snapshot holds; returns how many."""
    keys = [key for key, _ in writer.scan(Table.DELTAS, stop=instant_key(until + 1))]
    writer.delete_many(Table.DELTAS, keys)
    put_meta(writer, CHANGES, sum(_named(delta) for delta in deltas_after(writer, until)))
    return len(keys)


def _named(delta: Delta) -> int:
    return len(delta.ids) + len(delta.removed)
