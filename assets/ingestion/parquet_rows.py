"""Rows of the user's Parquet files, columns in plain types."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from assets.ingestion.content import is_lists_of_numbers
from assets.ingestion.errors import IngestionError
from assets.ingestion.parquet_limits import opened_parquet
from assets.ingestion.rows import SourceRows, refuse_repeated_names
from assets.ingestion.tables import QUARANTINE_SCHEMA

BLOCK_ROWS: Final = 1 << 19


def read_parquet_rows(path: Path, separator: str) -> SourceRows:
    """Rows of a Parquet file.

    Raises:
        IngestionError: when it is not readable, larger than the limits allow, has a column twice or one of a type that
            no column can have.
    """
    try:
        with opened_parquet(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    refuse_repeated_names(path.name, table.column_names)
    return _rows(path.name, table, separator, 0)


def read_parquet_blocks(path: Path, separator: str) -> list[SourceRows]:
    """The same rows and numbers in blocks, at least one.

    Raises:
        IngestionError: as :func:`read_parquet_rows`.
    """
    try:
        with opened_parquet(path) as file:
            refuse_repeated_names(path.name, file.schema_arrow.names)
            tables = [pa.Table.from_batches([batch]) for batch in file.iter_batches(BLOCK_ROWS)]
            tables = tables or [file.schema_arrow.empty_table()]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    blocks: list[SourceRows] = []
    before = 0
    for table in tables:
        blocks.append(_rows(path.name, table, separator, before))
        before += table.num_rows
    return blocks


def _unreadable(path: Path, error: Exception) -> IngestionError:
    return IngestionError(f"{path.name}: not a readable Parquet file: {error}")


def _rows(file: str, table: pa.Table, separator: str, before: int) -> SourceRows:
    plain = {name: _plain(file, name, table[name].combine_chunks()) for name in table.column_names}
    numbers = pa.array(np.arange(1 + before, 1 + before + table.num_rows))
    return SourceRows(file, pa.table(plain), numbers, separator, QUARANTINE_SCHEMA.empty_table())


def _plain(file: str, name: str, values: pa.Array) -> pa.Array:
    """Dictionary-encoded and large types as plain ones; types that no column can have are refused, and broken text."""
    try:
        values.validate(full=True)  # Parquet does not check that its texts are UTF-8, nor does Arrow as it reads them
    except pa.ArrowInvalid as error:
        raise IngestionError(
            f"{file}: column {name} is damaged ({error}); write the file again, text as UTF-8"
        ) from error
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_large_string(kind) or pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if is_lists_of_numbers(kind):  # content or a feature: the mapping of columns says which
        whole = pa.types.is_integer(kind.value_type)
        return values.cast(pa.list_(kind.value_type if whole else pa.float64()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not _is_scalar(kind.value_type):
            raise IngestionError(f"{file}: column {name} is {kind}; make it a list of strings")
        return values.cast(pa.list_(pa.string()))
    if not _is_scalar(kind):
        raise IngestionError(f"{file}: column {name} is {kind}; make it text, a number, a timestamp or a list of text")
    return values


def _is_scalar(kind: pa.DataType) -> bool:
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return is_time or is_text or is_number or pa.types.is_boolean(kind)
