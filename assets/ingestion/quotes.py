"""Stray quotes in CSV. A quote that nobody closed takes every line up to the next quote, or to the end of the file,
into its field: the record is parsed without complaint, and the rows within it are gone.

Only records of several lines can be such, and titles may rightly hold line breaks. A record of several lines is taken
for one that a stray quote made if any of these holds:

- it is not well-formed: a quoted field goes on behind its closing quote, or is closed by nothing. The next quote of a
  file is mostly in the middle of a line, so this finds most;
- a field of a column that cannot hold a line break (an id, a time) holds one;
- its lines, had quotes no meaning, would be records: most of those behind the first have the header's number of fields,
  and either the record itself has a wrong number, or there are three lines or more of three fields or more, the first
  among them. In prose a space follows a comma, so a line with a delimiter before a space is none.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.ingestion.csv_parse import ParsedCsv
from assets.runs import spans

QUOTE: Final = b'"'
LINE_BREAK: Final = r"\r\n|\r|\n"

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Swallowed:
    """Records that a stray quote made of several lines.

    Args:
        records: [S] their places among all records, ascending, the first record of the file is 0.
        lengths: [S] lines of each.
        lines: [sum of lengths] those lines, without their breaks.
    """

    records: Ints
    lengths: Ints
    lines: pa.Array


def swallowed(
    data: bytes, parsed: ParsedCsv, delimiter: str, escape: str | None, one_line: Collection[str]
) -> Swallowed | None:
    """The records of a whole file that a stray quote made; ``None`` if there are none.

    A file with as many line breaks as records is not looked at further. Counting them costs 20 ms a million quoted
    rows of five columns (75 with CRLF), where Arrow's parsing costs 190; the rest costs 250, where some field
    holds a line break, and 1,400 where one of each record does.

    Args:
        data: what was parsed, ended by a line break.
        one_line: columns that can hold no line break.
    """
    if QUOTE not in data or (_breaks(data) == parsed.records and not _last_row_goes_on(parsed)):
        return None
    starts = _line_starts(data)
    inner, barred = _inner_breaks(parsed, one_line, b"\r" in data)
    first = np.concatenate([[0], np.cumsum(1 + inner[:-1])])  # [records] first line of each
    if not 0 <= len(starts) - 1 - first[-1] - inner[-1] <= 1:  # an escaped CR before a LF: in no file that we know
        return None
    lengths = np.diff(np.append(first, len(starts) - 1))  # the last record has what lines are left
    several = np.flatnonzero((lengths > 1) | (inner > 0))
    if parsed.headers:
        several = several[several > 0]
    of_records = pa.array(starts[np.append(first, len(starts) - 1)])
    whole = _texts(data, of_records).take(pa.array(several))
    well_formed = pc.match_substring_regex(whole, _record_pattern(delimiter, escape)).to_numpy(zero_copy_only=False)
    lines = _texts(data, pa.array(starts)).take(pa.array(spans(first[several], lengths[several])))
    ragged = np.isin(several, [row.number - 1 for row in parsed.ragged])
    alike = _are_records(lines, lengths[several], delimiter, parsed.table.num_columns, ragged)
    stray = ~well_formed | barred[several] | alike
    if not stray.any():
        return None
    kept = lines.filter(pa.array(np.repeat(stray, lengths[several])))
    return Swallowed(several[stray], lengths[several][stray], pc.ascii_rtrim(kept, characters="\r\n"))


def _breaks(data: bytes) -> int:
    """Line breaks of ``data``: LF, CRLF, and CR alone, as Arrow has them."""
    lone = data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else 0
    return data.count(b"\n") + lone


def _last_row_goes_on(parsed: ParsedCsv) -> bool:
    """Whether the last record took the break at the very end: then its quote was not closed, on its only line."""
    if not parsed.table.num_rows or (parsed.ragged and parsed.ragged[-1].number == parsed.records):
        return False
    return any("\n" in field for field in parsed.table.slice(parsed.table.num_rows - 1).to_pylist()[0].values())


def _line_starts(data: bytes) -> Ints:
    """[lines + 1] where lines begin, and the length of ``data``, which ends with a break."""
    octets = np.frombuffer(data, np.uint8)
    ends = octets == ord("\n")
    if b"\r" in data:
        returns = octets == ord("\r")
        ends[:-1] |= returns[:-1] & ~ends[1:]
    return np.concatenate([[0], np.flatnonzero(ends) + 1])


def _inner_breaks(parsed: ParsedCsv, one_line: Collection[str], returns: bool) -> tuple[Ints, Mask]:
    """[records] line breaks within fields, and [records] whether a field of ``one_line`` holds one.

    Args:
        returns: whether the file holds any carriage return.
    """
    table = parsed.table
    held = {name: _holds_break(table[name], returns) for name in table.column_names}
    any_held = np.logical_or.reduce(list(held.values())) if held else np.zeros(table.num_rows, np.bool_)
    wrong = np.logical_or.reduce([held[name] for name in one_line if name in held] or [np.zeros_like(any_held)])
    counts = np.zeros(table.num_rows, np.int64)
    rows = table.filter(pa.array(any_held))
    counts[any_held] = sum(_numpy(pc.count_substring_regex(rows[name], LINE_BREAK)) for name in rows.column_names)
    ragged = np.array([row.number for row in parsed.ragged], np.int64) - 1
    inner, barred = np.zeros(parsed.records, np.int64), np.zeros(parsed.records, np.bool_)
    good = np.ones(parsed.records, np.bool_)
    good[: parsed.headers] = False
    good[ragged] = False
    inner[good], barred[good] = counts, wrong
    texts = pa.array([row.text for row in parsed.ragged], pa.large_string())
    inner[ragged] = _numpy(pc.count_substring_regex(texts, LINE_BREAK))
    return inner, barred


def _holds_break(values: pa.ChunkedArray, returns: bool) -> Mask:
    found = _numpy(pc.match_substring(values, "\n"))
    return found | _numpy(pc.match_substring(values, "\r")) if returns else found


def _numpy(values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    return values.to_numpy() if isinstance(values, pa.ChunkedArray) else values.to_numpy(zero_copy_only=False)


def _texts(data: bytes, offsets: pa.Array) -> pa.Array:
    """[len(offsets) - 1] texts between ``offsets`` of ``data``, which is not copied."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, offsets.buffers()[1], pa.py_buffer(data))


def _record_pattern(delimiter: str, escape: str | None) -> str:
    """A well-formed record, as Arrow splits it: a quote counts at the start of a field, and within quotes."""
    apart, taken = re.escape(delimiter), re.escape(escape) if escape else ""
    escaped = rf"|{taken}." if escape else ""
    quoted = rf'"(?:[^"{taken}]|""{escaped})*"'
    bare = rf'(?:[^"{apart}{taken}\r\n]{escaped})(?:[^{apart}{taken}\r\n]{escaped})*'
    field = rf"(?:{quoted}|{bare})?"
    return rf"(?s)\A{field}(?:{apart}{field})*(?:{LINE_BREAK})?\z"


def _are_records(lines: pa.Array, lengths: Ints, delimiter: str, fields: int, ragged: Mask) -> Mask:
    """[S] whether the lines of a record would be records without quotes.

    Args:
        lines: [L] of all.
        lengths: [S] lines of each.
        fields: of the header.
        ragged: [S] whether a record cannot be used anyway; then its first line does not matter.
    """
    apart = _numpy(pc.count_substring(lines, delimiter))
    prose = _numpy(pc.count_substring(lines, f"{delimiter} "))
    alike = (apart == fields - 1) & (prose == 0)
    starts = np.cumsum(lengths) - lengths
    if not len(starts):
        return np.zeros(0, np.bool_)
    behind = np.add.reduceat(alike.astype(np.int64), starts) - alike[starts]
    # A well-formed title of two lines may hold one comma in each, as "Milk, then a break, 1,5 l" does.
    enough = alike[starts] & (lengths > 2) & (fields > 2)
    return (enough | ragged) & (behind > (lengths - 1) / 2)
