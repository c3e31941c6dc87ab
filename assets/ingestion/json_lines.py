"""Reading JSON Lines, gzipped or not, into columns; lines that are no JSON are set aside, as in any other file."""

import ast
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from assets.ingestion.errors import IngestionError
from assets.ingestion.rows import RAGGED, SourceRows, quarantine_rows
from assets.ingestion.source_bytes import CHUNK_BYTES, opened

BLOCK_BYTES: Final = 1 << 26
LINES_AT_ONCE: Final = 100_000
UNFIT: Final = (pa.ArrowException, UnicodeError, OverflowError)
"""What Arrow raises for a value that is not of a type: texts with half a surrogate pair, and long integers, too."""
BLANK: Final = b" \t\r\n\x0b\x0c\xef\xbb\xbf"
"""What Arrow passes over in front of a line: blanks, and the bytes of a byte order mark."""
NULL_LINE: Final = re.compile(b"\n[" + BLANK.replace(b"\n", b"") + b"]*n")
"""It begins at the last line break before the n: one that passed over breaks would take the square of their number."""
SEPARATOR: Final = " "
"""Joins a row's fields where its content is shown."""


def read_json_lines(path: Path, fields: pa.Schema) -> SourceRows:
    """Columns of ``fields`` from a file with one JSON object a line; other keys are not kept, missing ones are null.

    Blank lines are no rows, and have no numbers.

    Arrow reads the whole file at once. Only where it stumbles, lines are read one by one, to find those to set aside.

    Raises:
        IngestionError: when the file is missing, damaged or empty, or no line is an object.
    """
    options = arrow_json.ParseOptions(explicit_schema=fields, unexpected_field_behavior="ignore")
    try:
        with opened(path) as stream, io.BufferedReader(_NoNullLine(stream), CHUNK_BYTES) as guarded:
            table = arrow_json.read_json(guarded, arrow_json.ReadOptions(block_size=BLOCK_BYTES), options)
        table.validate(full=True)  # Arrow takes texts that are no UTF-8, and raises wherever they are used
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return read_object_lines(path, fields, json.loads)
    except (OSError, EOFError, zlib.error) as error:
        raise IngestionError(f"{path.name}: cannot be read from {path.parent}: {error}") from error
    numbers = pa.array(np.arange(1, table.num_rows + 1))
    empty = quarantine_rows(path.name, pa.array([], pa.int64()), RAGGED, pa.array([], pa.string()))
    return SourceRows(path.name, table.select(fields.names).combine_chunks(), numbers, SEPARATOR, empty)


class _NoNullLine(io.RawIOBase):
    """The bytes of a stream, until a line begins with an n, as ``null`` does.

    Arrow 26 ends the process where a block's first line is ``null`` (apache/arrow#47409), and blocks begin at any line.

    Raises:
        pyarrow.ArrowInvalid: at such a line, on reading.
    """

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._line_begins = True

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        count = self._source.readinto(into)
        read = (b"\n" if self._line_begins else b"") + bytes(into[:count])
        if NULL_LINE.search(read):
            raise pa.ArrowInvalid("a line begins with an n, and no object does")
        self._line_begins = b"\n" in read[len(read.rstrip(BLANK)) :]
        return count


def python_object(text: str) -> Any:
    """A line that Python wrote with single quotes, as the metadata of 2014 are. Nothing in it is executed.

    Raises:
        ValueError: when it is no literal.
    """
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:  # TypeError: a list as key
        raise ValueError(str(error)) from error


def read_object_lines(path: Path, fields: pa.Schema, parse: Callable[[str], Any]) -> SourceRows:
    """The same, line by line, each an object that ``parse`` reads.

    Args:
        parse: raises ValueError for what it cannot read.

    Raises:
        IngestionError: likewise.
    """
    parts: list[pa.Table] = []
    numbers: list[int] = []
    bad: list[tuple[int, str]] = []
    for start, lines in _chunks(path):
        found = [(start + place, _object(text, parse)) for place, text in enumerate(lines)]
        kept = [(number, value) for number, value in found if value is not None]
        bad += [(number, lines[number - start]) for number, value in found if value is None]
        numbers += [number for number, _ in kept]
        parts.append(_table([value for _, value in kept], fields))
    if not numbers:
        raise IngestionError(f"{path.name}: no line holds an object; copy or download it again")
    aside = quarantine_rows(
        path.name, pa.array([number for number, _ in bad], pa.int64()), RAGGED, pa.array([text for _, text in bad])
    )
    return SourceRows(path.name, pa.concat_tables(parts).combine_chunks(), pa.array(numbers), SEPARATOR, aside)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, gzipped or not, as text; not the blank ones.

    Raises:
        IngestionError: when it is missing or damaged.
    """
    for _, lines in _chunks(path, 1):
        yield from lines


def _chunks(path: Path, size: int = LINES_AT_ONCE) -> Iterator[tuple[int, list[str]]]:
    """Parts of the lines that are not blank, and the number of each part's first one."""
    try:
        with opened(path) as stream:
            lines: list[str] = []
            start = 1
            for line in stream:
                if line.isspace():  # Arrow skips them, so their numbers would depend on whether it stumbles
                    continue
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                if len(lines) == size:
                    yield start, lines
                    start, lines = start + len(lines), []
            if lines:
                yield start, lines
    except FileNotFoundError as error:
        raise IngestionError(f"{path.name}: missing from {path.parent}; put it there") from error
    except (OSError, EOFError, zlib.error) as error:
        raise IngestionError(f"{path.name}: cannot be read from {path.parent}: {error}") from error


def _object(text: str, parse: Callable[[str], Any]) -> dict[str, Any] | None:
    try:
        value = parse(text)
    except (ValueError, RecursionError):  # the latter for what is nested too deeply to be read
        return None
    return value if isinstance(value, dict) else None


def _table(values: Sequence[dict[str, Any]], fields: pa.Schema) -> pa.Table:
    columns = [_column([value.get(field.name) for value in values], field.type) for field in fields]
    return pa.table(columns, fields)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values of one type; what is of another becomes null, but numbers become text where text is wanted."""
    if pa.types.is_string(kind):
        values = [str(value) if isinstance(value, int | float) else value for value in values]
    try:
        return pa.array(values, kind)
    except UNFIT:
        return pa.array([value if _fits(value, kind) else None for value in values], kind)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.scalar(value, kind)
    except UNFIT:
        return False
    return True
