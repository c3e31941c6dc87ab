"""Reading JSON Lines, gzipped or not, into columns; lines that are no JSON are set aside, as in any other file."""

import ast
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from assets.ingestion.errors import IngestionError
from assets.ingestion.rows import RAGGED, SourceRows, quarantine_rows
from assets.ingestion.source_bytes import opened

BLOCK_BYTES: Final = 1 << 26
LINES_AT_ONCE: Final = 100_000
SEPARATOR: Final = " "
"""Joins a row's fields where its content is shown."""


def read_json_lines(path: Path, fields: pa.Schema) -> SourceRows:
    """Columns of ``fields`` from a file with one JSON object a line; other keys are not kept, missing ones are null.

    Arrow reads the whole file at once. Only where it stumbles, lines are read one by one, to find those to set aside.

    Raises:
        IngestionError: when the file is missing, damaged or empty, or no line is an object.
    """
    options = arrow_json.ParseOptions(explicit_schema=fields, unexpected_field_behavior="ignore")
    try:
        with opened(path) as stream:
            table = arrow_json.read_json(stream, arrow_json.ReadOptions(block_size=BLOCK_BYTES), options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return read_object_lines(path, fields, json.loads)
    except (OSError, EOFError, zlib.error) as error:
        raise IngestionError(f"{path.name}: cannot be read from {path.parent}: {error}") from error
    numbers = pa.array(np.arange(1, table.num_rows + 1))
    empty = quarantine_rows(path.name, pa.array([], pa.int64()), RAGGED, pa.array([], pa.string()))
    return SourceRows(path.name, table.select(fields.names).combine_chunks(), numbers, SEPARATOR, empty)


def python_object(text: str) -> Any:
    """A line that Python wrote with single quotes, as the metadata of 2014 are. Nothing in it is executed.

    Raises:
        ValueError: when it is no literal.
    """
    try:
        return ast.literal_eval(text)
    except (SyntaxError, MemoryError, RecursionError) as error:
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
    """The lines of a file, gzipped or not, as text.

    Raises:
        IngestionError: when it is missing or damaged.
    """
    for _, lines in _chunks(path, 1):
        yield from lines


def _chunks(path: Path, size: int = LINES_AT_ONCE) -> Iterator[tuple[int, list[str]]]:
    """Parts of the lines, and the number of each part's first one."""
    try:
        with opened(path) as stream:
            lines: list[str] = []
            start = 1
            for line in stream:
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
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([value if _fits(value, kind) else None for value in values], kind)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True
