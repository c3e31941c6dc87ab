"""Reading source files into columns of text: delimited lines of any separator, CSV with quotes.

Nothing is parsed row by row: line starts are found in the bytes, and Arrow splits all lines at once.
"""

import io
from codecs import BOM_UTF8
from collections.abc import Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import limits, too_much
from assets.ingestion.source_text import read_text
from assets.ingestion.tables import QUARANTINE_SCHEMA

RAGGED = "ragged_line"
SHOWN_CHARACTERS = 1000


@dataclass(frozen=True)
class SourceRows:
    """Rows of one file whose number of fields is right, and those set aside because it is not.

    Args:
        file: name of the file, for messages.
        table: columns of the file, [N] each.
        numbers: [N] int64, where each row stands in the file, from 1.
        separator: joins a row's fields again where its content is shown.
        set_aside: ``QUARANTINE_SCHEMA``.
        before: records of the files that come before this one in the same table.
    """

    file: str
    table: pa.Table
    numbers: pa.Array
    separator: str
    set_aside: pa.Table
    before: int = 0

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> pa.Array:
        values = self.table[name]
        return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()

    @property
    def source_rows(self) -> pa.Array:
        """[N] int64 ascending over all files of the table: where each row stands in it."""
        return pc.add(self.numbers, self.before) if self.before else self.numbers


def read_delimited(path: Path, columns: Sequence[str], separator: str, encoding: str = "utf-8") -> SourceRows:
    """Lines without header or quotes, split at ``separator`` (any number of characters), every field as text.

    Raises:
        IngestionError: as :func:`read_text`, or when no line has ``len(columns)`` fields (a column is missing).
    """
    lines = _lines(read_text(path, encoding))
    fields = pc.split_pattern(lines, separator)
    counts = pc.list_value_length(fields)
    good = pc.equal(counts, len(columns))
    if not pc.any(good).as_py():
        raise IngestionError(
            f"{path.name}: expected {len(columns)} fields separated by {separator!r} ({', '.join(columns)}), "
            f"but line 1 has {counts[0].as_py()} and no line has {len(columns)}; "
            "a column is missing or it is another file"
        )
    numbers = pa.array(np.arange(1, len(lines) + 1))
    flat = pc.list_flatten(fields.filter(good)).cast(pa.string())  # [N * columns]
    table = pa.table(
        {name: flat.take(pa.array(np.arange(at, len(flat), len(columns)))) for at, name in enumerate(columns)}
    )
    bad = pc.invert(good)
    set_aside = quarantine_rows(path.name, numbers.filter(bad), RAGGED, lines.filter(bad))
    return SourceRows(path.name, table, numbers.filter(good), separator, set_aside)


def _lines(data: bytes) -> pa.Array:
    """[N] lines: offsets into the bytes, which are not copied before the line ends are trimmed."""
    after_break = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate([[0], after_break, [len(data)]]).astype(np.int64)
    lines = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
    return pc.ascii_rtrim(lines, characters="\r\n")


def read_csv(path: Path, delimiter: str = ",", encoding: str = "utf-8", escape: str | None = None) -> SourceRows:
    """CSV with a header line, fields in double quotes where they hold the delimiter; every field as text.

    Row numbers count records with the header as 1, so they are line numbers where no field holds a line break.

    Args:
        escape: what stands before a quote inside a quoted field; ``None``: the quote is doubled.

    Raises:
        IngestionError: as :func:`read_text`, for a header name given twice, or a file that is no CSV.
    """
    data = read_text(path, encoding)
    header = csv_header(path.name, data, delimiter, escape)
    parsed = parse_csv(path.name, data + b"\n", header, delimiter, escape)
    return numbered(path.name, parsed, delimiter, 0)


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


def numbered(file: str, parsed: ParsedCsv, delimiter: str, before: int) -> SourceRows:
    """The rows with their numbers in the file, of which ``before`` records stand before the parsed ones."""
    aside = np.array([row.number for row in parsed.ragged], np.int64)
    good = np.ones(parsed.records, np.bool_)
    good[: parsed.headers] = False
    good[aside - 1] = False
    numbers = pa.array(np.flatnonzero(good) + 1 + before)
    text = pa.array([row.text for row in parsed.ragged], pa.string())
    return SourceRows(
        file, parsed.table, numbers, delimiter, quarantine_rows(file, pa.array(aside + before), RAGGED, text)
    )


def csv_header(file: str, data: bytes, delimiter: str, escape: str | None = None) -> list[str]:
    """Names in the first record.

    Raises:
        IngestionError: for a name given twice, more names than the limits allow, or what is no CSV header.
    """
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    try:
        names = next(csv_reader(text, delimiter=delimiter, escapechar=escape))
    except CsvError as error:  # a field without an end, mostly
        raise IngestionError(f"{file}, line 1: is no CSV header ({error}); correct its quotes") from error
    refuse_repeated_names(file, names)
    return names


def refuse_repeated_names(file: str, names: Sequence[str]) -> None:
    """Column names must differ by more than upper and lower case, which SQL does not tell apart.

    Raises:
        IngestionError: naming those that do not; also for more columns than the limits allow.
    """
    if len(names) > (most := limits().columns):
        raise too_much(file, f"{len(names)} columns", most, "limits.columns")
    folded = [name.casefold() for name in names]
    if repeated := sorted({name for name in names if folded.count(name.casefold()) > 1}):
        raise IngestionError(f"{file}: column names {', '.join(repeated)} are the same to SQL; rename all but one")


def quarantine_rows(file: str, numbers: pa.Array, reason: str | pa.Array, content: pa.Array) -> pa.Table:
    """Rows of ``QUARANTINE_SCHEMA`` for [N] row numbers, one reason or [N], and [N] contents (cut to a length)."""
    count = len(numbers)
    reasons = pa.array([reason] * count, pa.string()) if isinstance(reason, str) else reason
    shown = pc.utf8_slice_codeunits(content.cast(pa.string()), 0, SHOWN_CHARACTERS)
    return pa.table([pa.array([file] * count, pa.string()), numbers, reasons, shown], QUARANTINE_SCHEMA)


def without_content(quarantine: pa.Table) -> pa.Table:
    """The same rows without their content, for files that hold personal data."""
    at = quarantine.schema.get_field_index("content")
    return quarantine.set_column(at, "content", pa.nulls(quarantine.num_rows, pa.string()))


def require_columns(rows: SourceRows, names: Sequence[str], how: str) -> None:
    """Raise for columns that are not there, listing those that are and ``how`` to map them."""
    if missing := [name for name in names if name not in rows.table.column_names]:
        raise IngestionError(
            f"{rows.file}: column {', '.join(missing)} is missing; "
            f"the file has {', '.join(rows.table.column_names)}. {how}"
        )
