"""Parquet files from outside, held to the limits before their rows are read.

What the footer says is checked first, at no cost. A footer cannot tell how large texts become: a dictionary of one text
of a megabyte and a run of a million rows take kilobytes on disk and in the footer, and a terabyte as rows. So columns
with a dictionary are first read as one, which is never larger than the file says, and their sizes are added up. That
took 0.06 s of CPU for a million rows of users, items and event types, and 0.4 s for a column of a million different
texts.

A text is measured when its page is unpacked, and a footer that lies about its pages is not found out here: one page is
unpacked to 2 GiB at most, and a list of many such pages to what the memory holds. Nothing that the footer says can tell
such a page from a legal one, whose values may all be in one; so whoever reads for others marks the file before
(:mod:`assets.ingestion.landing.marks`).
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import limits, refuse_large, too_much

FOOTER_BYTES: Final = 1 << 26
"""Some 400,000 column chunks; what Arrow makes of a footer takes several times its size."""

_TAIL: Final = 8
_WIDTHS: Final = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_TEXT: Final = "BYTE_ARRAY"


@contextmanager
def opened_parquet(path: Path, columns: Collection[str] | None = None) -> Iterator[pq.ParquetFile]:
    """The file, after it was found to be within the limits.

    Args:
        columns: that will be read, where not all of them are.

    Raises:
        assets.ingestion.errors.IngestionError: naming the file, what it holds too much of and the setting.
        pyarrow.ArrowException, OSError: when it is not readable.
    """
    refuse_large(path, limits().source_bytes, "limits.source_bytes")
    _refuse_footer(path)
    with _file(path) as file:
        _refuse_shape(path.name, file.metadata)
        _refuse_decoded(path, file, columns)
        yield file


def _file(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
        _ = file.schema_arrow.names
    except UnicodeDecodeError as error:
        raise IngestionError(f"{path.name}: has a column whose name is no UTF-8 ({error}); write it again") from error
    return file


def _refuse_footer(path: Path) -> None:
    with path.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - _TAIL))
        length = int.from_bytes(handle.read(4), "little")
    if FOOTER_BYTES < length <= size:  # one that is longer than its file is no footer, and Arrow says so
        raise too_much(path.name, f"a footer of {length} bytes", FOOTER_BYTES, "a bound")


def _refuse_shape(file: str, metadata: Any) -> None:
    bounds = limits()
    for found, most, name in (
        (metadata.num_columns, bounds.columns, "columns"),
        (metadata.num_row_groups, bounds.row_groups, "row_groups"),
        (metadata.num_rows, bounds.rows, "rows"),
    ):
        if not 0 <= found <= most:
            raise too_much(file, f"{found} {name.replace('_', ' ')}", most, f"limits.{name}")


def _refuse_decoded(path: Path, file: Any, columns: Collection[str] | None) -> None:
    """Add up what every column chunk becomes, the cheap bounds first."""
    bounds, metadata = limits(), file.metadata
    decoded, packed = 0, 0
    texts: list[tuple[int, str]] = []
    for group in range(metadata.num_row_groups):
        for at in range(metadata.num_columns):
            name = metadata.schema.column(at).path  # not the chunk's own, which may be another
            if columns is not None and name.split(".", 1)[0] not in columns:
                continue
            chunk = _chunk(file, group, at)
            if not 0 <= chunk.num_values <= bounds.rows:
                raise too_much(path.name, f"{chunk.num_values} values in a row group", bounds.rows, "limits.rows")
            if chunk.physical_type != _TEXT:
                width = _WIDTHS.get(chunk.physical_type) or max(0, metadata.schema.column(at).length)
                decoded += chunk.num_values * width
            elif chunk.num_values:
                packed += max(0, chunk.total_uncompressed_size)
                texts.append((group, name))
    _refuse_size(path.name, decoded + packed)
    for group, name in texts:
        decoded += _text_bytes(path, group, name)
        _refuse_size(path.name, decoded)


def _chunk(file: Any, group: int, at: int) -> Any:
    """What the footer says of a column chunk.

    Its first row is read before: there PyArrow (26) raises where the footer contradicts itself; asked for what it says,
    it ends the process. That takes 0.2 ms, and one page of memory.

    Raises:
        OSError: when it is damaged.
    """
    next(file.reader.iter_batches(1, row_groups=[group], column_indices=[at], use_threads=False), None)
    return file.metadata.row_group(group).column(at)


def _refuse_size(file: str, decoded: int) -> None:
    if decoded > (most := limits().table_bytes):
        raise too_much(file, f"at least {decoded} bytes of values", most, "limits.table_bytes")


def _text_bytes(path: Path, group: int, name: str) -> int:
    """Bytes of all texts of a column chunk, read as a dictionary; Arrow gives some types as they are: their size then.

    Raises:
        IngestionError: when one of them is longer than the limits allow, or not in the dictionary.
    """
    with pq.ParquetFile(path, read_dictionary=[name]) as file:
        table = file.read_row_group(group, columns=[name], use_threads=False)
    return sum(_leaf_bytes(path.name, name, chunk) for column in table.columns for chunk in column.chunks)


def _leaf_bytes(file: str, name: str, values: pa.Array) -> int:
    while pa.types.is_nested(values.type) and not pa.types.is_dictionary(values.type):
        values = _inner(values)
    if not pa.types.is_dictionary(values.type):
        return int(values.nbytes)
    lengths = pc.binary_length(values.dictionary).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    most = limits().text_bytes
    if (longest := int(lengths.max(initial=0))) > most:
        raise too_much(file, f"a text of {longest} bytes in column {name}", most, "limits.text_bytes")
    used = values.indices.drop_null().to_numpy(zero_copy_only=False)
    if len(used) and not 0 <= used.min() <= used.max() < len(lengths):  # Arrow would follow them out of the dictionary
        raise IngestionError(f"{file}: is damaged, column {name} has indices beyond its dictionary; write it again")
    return int(np.bincount(used, minlength=len(lengths)) @ lengths)


def _inner(values: pa.Array) -> pa.Array:
    """The only child of a nested column that was read for one leaf; Arrow makes a list of a map then."""
    return values.flatten()[0] if pa.types.is_struct(values.type) else values.flatten()
