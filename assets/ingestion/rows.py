"""Reading source files into columns of text: delimited lines of any separator, CSV with quotes.

Nothing is parsed row by row: line starts are found in the bytes, and Arrow splits all lines at once.
"""

import io
from collections.abc import Collection, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion.csv_parse import ParsedCsv, parse_csv
from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import limits, too_much
from assets.ingestion.quotes import Swallowed, swallowed
from assets.ingestion.source_text import read_text
from assets.ingestion.tables import QUARANTINE_SCHEMA
from assets.runs import spans
from assets.storage import encodable

RAGGED = "ragged_line"
STRAY_QUOTE = "stray_quote"
SHOWN_CHARACTERS = 1000
SHOWN_NAME = 80


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


def read_csv(
    path: Path,
    delimiter: str = ",",
    encoding: str = "utf-8",
    escape: str | None = None,
    one_line: Collection[str] = (),
) -> SourceRows:
    """CSV with a header line, fields in double quotes where they hold the delimiter; every field as text.

    Row numbers count records with the header as 1, so they are line numbers where no field holds a line break. Lines
    that a stray quote swallowed (:mod:`assets.ingestion.quotes`) are set aside, each with its number.

    Args:
        escape: what stands before a quote inside a quoted field; ``None``: the quote is doubled.
        one_line: columns that can hold no line break; a record with one in them is what a stray quote made.

    Raises:
        IngestionError: as :func:`read_text`, for a header that :func:`csv_header` refuses, or a file that is no CSV.
    """
    return whole_csv(path.name, read_text(path, encoding), delimiter, escape, one_line)


def whole_csv(
    file: str, data: bytes, delimiter: str, escape: str | None = None, one_line: Collection[str] = ()
) -> SourceRows:
    """As :func:`read_csv`, of a file's text.

    Raises:
        IngestionError: for a header that :func:`csv_header` refuses, or a file that is no CSV.
    """
    header = csv_header(file, data, delimiter, escape)
    ended = data + b"\n"
    parsed = parse_csv(file, ended, header, delimiter, escape)
    return numbered(file, parsed, delimiter, 0, swallowed(ended, parsed, delimiter, escape, one_line))


def numbered(file: str, parsed: ParsedCsv, delimiter: str, before: int, stray: Swallowed | None = None) -> SourceRows:
    """The rows with their numbers in the file, of which ``before`` records stand before the parsed ones.

    Of the records of ``stray`` every line counts as one, and is set aside.
    """
    aside = np.array([row.number for row in parsed.ragged], np.int64) - 1
    good = np.ones(parsed.records, np.bool_)
    good[: parsed.headers] = False
    good[aside] = False
    numbers = np.arange(1, parsed.records + 1) + before
    text = pa.array([row.text for row in parsed.ragged], pa.string())
    if stray is None:
        set_aside = quarantine_rows(file, pa.array(numbers[aside]), RAGGED, text)
        return SourceRows(file, parsed.table, pa.array(numbers[good]), delimiter, set_aside)
    kept = np.ones(parsed.records, np.bool_)
    kept[stray.records] = False
    further = np.zeros(parsed.records, np.int64)  # lines behind the first
    further[stray.records] = stray.lengths - 1
    numbers += np.cumsum(further) - further
    ragged = quarantine_rows(file, pa.array(numbers[aside[kept[aside]]]), RAGGED, text.filter(pa.array(kept[aside])))
    lines = pa.array(spans(numbers[stray.records], stray.lengths))
    set_aside = pa.concat_tables([ragged, quarantine_rows(file, lines, STRAY_QUOTE, stray.lines)]).sort_by("row")
    table = parsed.table.filter(pa.array(kept[good]))
    return SourceRows(file, table, pa.array(numbers[good & kept]), delimiter, set_aside)


def csv_header(file: str, data: bytes, delimiter: str, escape: str | None = None) -> list[str]:
    """Names in the first record.

    Raises:
        IngestionError: for a name given twice or of several lines, more names than the limits allow, or what is no CSV
            header.
    """
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    try:
        names = next(csv_reader(text, delimiter=delimiter, escapechar=escape))
    except CsvError as error:  # a field without an end, mostly
        raise IngestionError(f"{file}, line 1: is no CSV header ({error}); correct its quotes") from error
    if not names:
        raise IngestionError(f"{file}, line 1: is empty; it has to name the columns")
    if broken := [name for name in names if "\n" in name or "\r" in name]:  # else the lines within would be lost
        shown = broken[0][:SHOWN_NAME]
        raise IngestionError(f"{file}, line 1: the column name {shown!r} holds a line break; correct its quotes")
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
    reasons = pa.repeat(pa.scalar(str(reason), pa.string()), count) if isinstance(reason, str) else reason
    shown = pc.utf8_slice_codeunits(content.cast(pa.string()), 0, SHOWN_CHARACTERS)
    files = pa.repeat(pa.scalar(encodable(file), pa.string()), count)
    return pa.table([files, numbers, reasons, shown], QUARANTINE_SCHEMA)


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
