"""The bytes of a serialized FAISS index, read through before FAISS sees them.

FAISS believes what it deserializes: it makes whatever kind of index the bytes name, of which one opens files by a path
that they hold, allocates what they say, and follows places in its direct map that it never compares with its lists. So
only the one layout that :class:`~assets.serving.ivf_index.IvfIndex` writes is let through, ``IndexIVFFlat`` over a flat
quantizer with a hashtable and lists in memory, every length and every place of it checked. A million vectors of
dimension 64 take 0.3 s of CPU. On top of that FAISS is told to allocate no vector beyond what the bytes can fill.
"""

import struct
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from assets.serving.index_file import IndexFileError
from assets.stream import Int

Bytes = NDArray[np.uint8]

_HEADER: Final = "iqqqBi"  # dimension, vectors, two that are not used, trained, metric
_HASHTABLE: Final = 2
_FLOAT: Final = 4
_PER_ENTRY: Final = 8
"""FAISS compares a vector's length with the limit over up to this much per byte of it."""

_LIMIT: Final = Lock()
"""FAISS's limit is one for the whole process."""


@dataclass
class _Cursor:
    data: bytes | memoryview
    at: int = 0

    def take(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{form}")
        if self.at + size > len(self.data):
            raise IndexFileError(f"its FAISS part ends within byte {len(self.data)}")
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += size
        return values

    def array(self, kind: Any, count: int) -> NDArray[Any]:
        width = np.dtype(kind).itemsize
        if not 0 <= count <= (len(self.data) - self.at) // width:
            raise IndexFileError(f"its FAISS part names {count} values at byte {self.at} and does not hold as many")
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += count * width
        return values

    def expect(self, what: str, form: str, *wanted: Any) -> None:
        at = self.at
        found = self.take(form)
        if any(want is not None and want != value for want, value in zip(wanted, found, strict=True)):
            raise IndexFileError(f"its FAISS part has {found} as {what} at byte {at}, expected {wanted}")


def read_ivf(data: Bytes, dimension: int, labels: Int) -> Any:
    """The index in ``data``.

    Args:
        data: as ``faiss.serialize_index`` gave it.
        dimension: of its vectors.
        labels: [n] of its vectors, in any order.

    Raises:
        IndexFileError: when it is of another layout, dimension or length, or holds other labels.
    """
    if data.dtype != np.uint8 or data.ndim != 1:
        raise IndexFileError(f"its FAISS part is {data.dtype} of {data.ndim} dimensions, not bytes")
    _check(_Cursor(np.ascontiguousarray(data).data), dimension, labels)
    with _LIMIT:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(_PER_ENTRY * len(data))
        try:
            return faiss.deserialize_index(data)
        except RuntimeError as error:
            raise IndexFileError(f"FAISS does not read it ({error})") from error
        finally:
            faiss.set_deserialization_vector_byte_limit(before)


def _check(cursor: _Cursor, dimension: int, labels: Int) -> None:
    count = len(labels)
    cursor.expect("kind", "4s", b"IwFl")
    cursor.expect("shape", _HEADER, dimension, count, None, None, 1, faiss.METRIC_INNER_PRODUCT)
    (cells, _) = cursor.take("QQ")
    cursor.expect("quantizer", "4s", b"IxFI")
    cursor.expect("shape of the quantizer", _HEADER, dimension, cells, None, None, 1, faiss.METRIC_INNER_PRODUCT)
    cursor.expect("length of the quantizer", "Q", cells * dimension)
    cursor.array(np.float32, cells * dimension)
    cursor.expect("direct map", "BQ", _HASHTABLE, 0)
    cursor.expect("length of the direct map", "Q", count)
    places = cursor.array(np.int64, 2 * count).reshape(count, 2)
    cursor.expect("lists", "4sQQ", b"ilar", cells, _FLOAT * dimension)
    sizes = _sizes(cursor, cells)
    if sizes.sum() != count:  # of sizes that lie, the sum may too: every list is read in its bounds below
        raise IndexFileError(f"its FAISS part holds {sizes.sum()} vectors and has {count} labels")
    held = _labels(cursor, sizes, _FLOAT * dimension)
    if cursor.at != len(cursor.data):
        raise IndexFileError(f"its FAISS part goes on behind byte {cursor.at}")
    _check_labels(held, labels)
    _check_places(places, sizes, held)


def _sizes(cursor: _Cursor, cells: int) -> Int:
    """[cells] vectors of each list, written one by one or, where most are empty, as pairs of list and size."""
    form, length = cursor.take("4sQ")
    values = cursor.array(np.int64, length)
    if form == b"full" and length == cells:
        return values
    if form != b"sprs" or length % 2:
        raise IndexFileError(f"its FAISS part has {form!r} with {length} values as sizes of {cells} lists")
    lists, found = values[::2], values[1::2]
    if len(lists) and not (lists.min() >= 0 and lists.max() < cells and len(np.unique(lists)) == len(lists)):
        raise IndexFileError(f"its FAISS part gives sizes of lists beyond its {cells}")
    sizes = np.zeros(cells, np.int64)
    sizes[lists] = found
    return sizes


def _labels(cursor: _Cursor, sizes: Int, width: int) -> Int:
    """[n] labels of all lists, one after another."""
    parts = [np.empty(0, np.int64)]
    for size in sizes[sizes != 0].tolist():
        cursor.array(np.uint8, size * width)
        parts.append(cursor.array(np.int64, size))
    return np.concatenate(parts)


def _check_labels(held: Int, labels: Int) -> None:
    if not np.array_equal(np.sort(held), np.sort(labels)):
        raise IndexFileError("its FAISS part holds other labels than the file names")


def _check_places(places: Int, sizes: Int, held: Int) -> None:
    """Every label's place in the direct map is where its list has it."""
    lists, offsets = places[:, 1] >> 32, places[:, 1] & 0xFFFFFFFF
    inside = (lists >= 0) & (lists < len(sizes))
    inside &= offsets < sizes[np.where(inside, lists, 0)]
    starts = np.cumsum(sizes) - sizes
    if not inside.all() or not np.array_equal(held[starts[lists] + offsets], places[:, 0]):
        raise IndexFileError("its FAISS part leads to places that its lists do not have")
