"""Splitting CSV into fields: all records at once, by Arrow."""

from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import csv

from assets.ingestion.errors import IngestionError


@dataclass(frozen=True)
class ParsedCsv:
    """Records of a CSV file or of a block of it.

    Args:
        table: those with the right number of fields, [N], every field as text.
        ragged: the others; their numbers count the records parsed, from 1.
        headers: 1 if the first record was the header, else 0.
    """

    table: pa.Table
    ragged: Sequence[csv.InvalidRow]
    headers: int

    @property
    def records(self) -> int:
        return self.headers + self.table.num_rows + len(self.ragged)


def parse_csv(
    file: str,
    data: bytes | memoryview,
    header: Sequence[str],
    delimiter: str,
    escape: str | None = None,
    has_header: bool = True,
) -> ParsedCsv:
    """Split ``data``, which ends with a line break, into fields.

    Raises:
        IngestionError: when it is no CSV.
    """
    ragged: list[csv.InvalidRow] = []

    def set_aside(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    parse = csv.ParseOptions(
        delimiter=delimiter,
        escape_char=escape or False,
        newlines_in_values=True,
        ignore_empty_lines=False,
        invalid_row_handler=set_aside,
    )
    if bytes(data[: len(BOM_UTF8)]) == BOM_UTF8:  # part of a field of a later block; Arrow takes one away
        data = BOM_UTF8 + data
    # Arrow's own threads would lose the numbers of ragged rows, and are no faster where a field may hold a line break.
    read = csv.ReadOptions(use_threads=False, block_size=1 << 26, column_names=None if has_header else list(header))
    convert = csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    try:
        table = csv.read_csv(pa.BufferReader(data), read, parse, convert)
    except pa.ArrowInvalid as error:
        raise IngestionError(f"{file}: not a CSV file with delimiter {delimiter!r}: {error}") from error
    return ParsedCsv(table, ragged, int(has_header))
