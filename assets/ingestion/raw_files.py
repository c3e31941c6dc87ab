"""Raw tables as Parquet files: the same bytes for the same rows, whatever chunks they lie in."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS: Final = 1 << 20
"""Rows of a row group; they are brought together one group at a time, not all at once."""


def write_raw_table(path: Path, table: pa.Table) -> None:
    """Write ``table`` to ``path`` (zstd).

    Whole numbers and instants are written as differences: two thirds of the bytes and three quarters of the time of
    dictionaries, which rising row numbers and times fill in vain (3 million interactions).
    """
    differences = [field.name for field in table.schema if _is_whole(field.type)]
    repeating = [name for field in table.schema if (name := _text_leaf(field)) is not None]
    writer = pq.ParquetWriter(
        path,
        table.schema,
        compression="zstd",
        use_dictionary=repeating or False,
        column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED") or None,
    )
    with writer:
        for start in range(0, table.num_rows, GROUP_ROWS):
            writer.write_table(table.slice(start, GROUP_ROWS).combine_chunks(), row_group_size=GROUP_ROWS)


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))


def _text_leaf(field: pa.Field) -> str | None:
    """The path in the file of a column of text or of lists of text; none of another."""
    if pa.types.is_list(field.type):
        return f"{field.name}.list.element" if pa.types.is_string(field.type.value_type) else None
    return str(field.name) if pa.types.is_string(field.type) else None
