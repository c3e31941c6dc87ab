"""Reading source files into columns of text: encodings, delimited lines of any separator, CSV with quotes.

Nothing is parsed row by row: line starts are found in the bytes, and Arrow splits all lines at once.
"""

import io
from collections.abc import Sequence
from csv import reader as csv_reader
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from assets.ingestion.errors import IngestionError
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
    """

    file: str
    table: pa.Table
    numbers: pa.Array
    separator: str
    set_aside: pa.Table

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> pa.Array:
        return self.table[name].combine_chunks()


def read_text(path: Path, encoding: str) -> bytes:
    """The file as UTF-8 bytes, without byte order mark and trailing blank lines.

    Raises:
        IngestionError: when the file is missing, unreadable, empty, or not in ``encoding``, naming the line.
    """
    data = _read_bytes(path)
    if b"\x00" in data[:4096]:
        raise IngestionError(f"{path.name}: holds NUL bytes, so it is binary or UTF-16; save it as {encoding} text")
    if encoding.lower() in {"latin-1", "iso-8859-1"}:
        _refuse_utf8(path, data, encoding)
    try:
        text = data.decode("utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise IngestionError(
            f"{path.name}, line {line}: byte 0x{data[error.start]:02x} is not valid {encoding}; "
            f"save the file as {encoding}"
        ) from error
    except LookupError as error:
        raise IngestionError(f"{path.name}: unknown encoding {encoding!r}") from error
    content = text.rstrip("\r\n").encode("utf-8")
    if not content.strip():
        raise IngestionError(f"{path.name}: the file is empty; copy or download it again")
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise IngestionError(f"{path.name}: missing from {path.parent}; put it there") from error
    except OSError as error:
        raise IngestionError(f"{path.name}: cannot be read from {path.parent}: {error}") from error


def _refuse_utf8(path: Path, data: bytes, encoding: str) -> None:
    """Any bytes decode as latin-1, so a re-encoded file would pass with garbled titles: tell it by valid UTF-8."""
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return
    raise IngestionError(
        f"{path.name}: is UTF-8, but this dataset's official file is {encoding}; use the official file unchanged"
    )


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
    header = _header(path, data, delimiter, escape)
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
    try:
        table = csv.read_csv(
            pa.BufferReader(data + b"\n"),
            csv.ReadOptions(use_threads=False, block_size=1 << 26),
            parse,
            csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise IngestionError(f"{path.name}: not a CSV file with delimiter {delimiter!r}: {error}") from error
    every = np.arange(2, 2 + table.num_rows + len(ragged))
    numbers = pa.array(np.setdiff1d(every, [row.number for row in ragged]))
    aside = quarantine_rows(
        path.name, pa.array([row.number for row in ragged], pa.int64()), RAGGED, pa.array([row.text for row in ragged])
    )
    return SourceRows(path.name, table, numbers, delimiter, aside)


def _header(path: Path, data: bytes, delimiter: str, escape: str | None) -> list[str]:
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    names = next(csv_reader(text, delimiter=delimiter, escapechar=escape))
    refuse_repeated_names(path.name, names)
    return names


def refuse_repeated_names(file: str, names: Sequence[str]) -> None:
    """Column names must differ by more than upper and lower case, which SQL does not tell apart."""
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
