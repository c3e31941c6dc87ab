"""A digest over the content of raw tables: what ingestion gives as the data version."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion.threads import in_threads

PART_ROWS: Final = 1 << 20
"""Rows that are hashed together; part of the digest's definition."""


def content_digest(tables: Mapping[str, pa.Table]) -> str:
    """SHA-256 over names, types, values and their order, whatever the library version or the chunks they lie in.

    It is the digest of the names and types and of the digests of every column's parts of ``PART_ROWS`` rows, which are
    hashed in threads.
    """
    digest = hashlib.sha256()
    for name, table in tables.items():
        kinds = ",".join(f"{field.name}:{field.type}" for field in table.schema)
        digest.update(f"{name} {table.num_rows} {kinds}\n".encode())
        for part in in_threads(_part_digest, _parts(table)):
            digest.update(part)
    return digest.hexdigest()


def _parts(table: pa.Table) -> Iterator[pa.ChunkedArray]:
    for column in table.columns:
        for start in range(0, table.num_rows, PART_ROWS):
            yield column.slice(start, PART_ROWS)


def _part_digest(part: pa.ChunkedArray) -> bytes:
    digest = hashlib.sha256()
    for values in _canonical(part.chunk(0) if part.num_chunks == 1 else part.combine_chunks()):
        digest.update(len(values).to_bytes(8, "little"))
        digest.update(values)
    return digest.digest()


def _canonical(values: pa.Array) -> Iterator[bytes | memoryview]:
    """Bytes that say the values: which are null, then lengths and what is inside of lists and text, else numbers."""
    nulls = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else np.zeros(0, np.bool_)
    yield np.packbits(nulls).tobytes()
    if pa.types.is_list(values.type):
        yield from _canonical(pc.fill_null(pc.list_value_length(values), 0))
        yield from _canonical(pc.list_flatten(values))
    elif pa.types.is_string(values.type):
        yield from _canonical(pc.fill_null(pc.binary_length(values), 0))
        yield _text_bytes(values)
    else:
        numbers = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
        yield _number_bytes(numbers)


def _number_bytes(values: pa.Array) -> memoryview:
    filled = pc.fill_null(values, 0) if values.null_count else values
    return np.ascontiguousarray(filled.to_numpy(zero_copy_only=False)).view(np.uint8).data


def _text_bytes(values: pa.Array) -> bytes | memoryview:
    """The strings one after another, a null as the empty string: an Arrow array already holds them like that."""
    filled = pc.fill_null(values, "") if values.null_count else values
    if len(filled) == 0:
        return b""
    _, offsets, characters = filled.buffers()
    ends = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return b"" if characters is None else memoryview(characters)[int(ends[0]) : int(ends[-1])]
