"""Changing a valid case where its layout has places: lines, fields, columns of Parquet, then bytes."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.fuzz.cases import Case, packed
from tests.fuzz.columns import COLUMNS, SCALE, Change
from tests.fuzz.tokens import TOKENS

SEPARATORS: Final = (b"::", b"\t", b";", b"|", b",", b": ")


def _cut(data: bytes, change: Change) -> tuple[int, int]:
    first, last = sorted((change.at * (len(data) + 1) // SCALE, change.other * (len(data) + 1) // SCALE))
    return first, last


def _flip(data: bytes, change: Change) -> bytes:
    at = _cut(data, change)[0]
    return data[:at] + bytes([data[at] ^ (1 << change.other % 8)]) + data[at + 1 :] if at < len(data) else data


def _insert(data: bytes, change: Change) -> bytes:
    at = _cut(data, change)[0]
    return data[:at] + change.token + data[at:]


def _overwrite(data: bytes, change: Change) -> bytes:
    at = _cut(data, change)[0]
    return data[:at] + change.token + data[at + len(change.token) :]


def _remove(data: bytes, change: Change) -> bytes:
    first, last = _cut(data, change)
    return data[:first] + data[last:]


def _repeat(data: bytes, change: Change) -> bytes:
    first, last = _cut(data, change)
    return data[:last] + data[first:]


def _truncate(data: bytes, change: Change) -> bytes:
    return data[: _cut(data, change)[0]]


BYTES: Final[Mapping[str, Callable[[bytes, Change], bytes]]] = {
    "flip": _flip,
    "insert": _insert,
    "overwrite": _overwrite,
    "remove": _remove,
    "repeat": _repeat,
    "truncate": _truncate,
}


def _line(lines: Sequence[bytes], place: int) -> int:
    return place * len(lines) // SCALE


def _field(line: bytes, change: Change, put: Callable[[list[bytes], int], None]) -> bytes:
    separator = next((one for one in SEPARATORS if one in line), b",")
    fields = line.split(separator)
    put(fields, change.other * len(fields) // SCALE)
    return separator.join(fields)


def _change_field(lines: list[bytes], change: Change) -> None:
    def put(fields: list[bytes], at: int) -> None:
        fields[at] = b'"' + change.token + b'"' if fields[at].startswith(b'"') else change.token

    at = _line(lines, change.at)
    lines[at] = _field(lines[at], change, put)


def _change_header(lines: list[bytes], change: Change) -> None:
    _change_field(lines, Change("", 0, 0, change.other, change.token))


def _drop_field(lines: list[bytes], change: Change) -> None:
    at = _line(lines, change.at)
    lines[at] = _field(lines[at], change, lambda fields, place: fields.pop(place) and None)


def _double_field(lines: list[bytes], change: Change) -> None:
    at = _line(lines, change.at)
    lines[at] = _field(lines[at], change, lambda fields, place: fields.insert(place, fields[place]))


def _drop_column(lines: list[bytes], change: Change) -> None:
    for at, line in enumerate(lines):
        lines[at] = _field(line, change, lambda fields, place: fields.pop(place) and None)


def _change_column(lines: list[bytes], change: Change) -> None:
    def put(fields: list[bytes], at: int) -> None:
        fields[at] = change.token

    for at, line in enumerate(lines[1:], 1):
        lines[at] = _field(line, change, put)


def _drop_line(lines: list[bytes], change: Change) -> None:
    del lines[_line(lines, change.at)]


def _double_line(lines: list[bytes], change: Change) -> None:
    lines.insert(_line(lines, change.other), lines[_line(lines, change.at)])


def _new_line(lines: list[bytes], change: Change) -> None:
    lines.insert(_line(lines, change.at), change.token)


def _swap_lines(lines: list[bytes], change: Change) -> None:
    one, two = _line(lines, change.at), _line(lines, change.other)
    lines[one], lines[two] = lines[two], lines[one]


LINES: Final[Mapping[str, Callable[[list[bytes], Change], None]]] = {
    "change field": _change_field,
    "change header": _change_header,
    "drop field": _drop_field,
    "double field": _double_field,
    "drop column": _drop_column,
    "change column": _change_column,
    "drop line": _drop_line,
    "double line": _double_line,
    "new line": _new_line,
    "swap lines": _swap_lines,
}

FILES: Final = (
    "remove file",
    "empty file",
    "exchange files",
    "windows lines",
    "mark",
    "utf-16",
    "packed flip",
    "packed cut",
)


def changed(case: Case, changes: Sequence[Change]) -> dict[str, bytes]:
    """The case after the changes, one after the other."""
    files = dict(case)
    for change in changes:
        if not files:
            break
        name = sorted(files)[change.file % len(files)]
        if change.kind in FILES:
            _change_files(files, name, change)
        else:
            files[name] = _content(name, files[name], change)
    return files


def _content(name: str, data: bytes, change: Change) -> bytes:
    if change.kind in BYTES:
        return BYTES[change.kind](data, change)
    if name.endswith(".parquet"):
        return _parquet(data, change)
    if change.kind in LINES:
        lines = data.split(b"\n")
        LINES[change.kind](lines, change)
        return b"\n".join(lines)
    return _insert(data, change)


def _parquet(data: bytes, change: Change) -> bytes:
    """A change of a table in Parquet; one of lines becomes one of columns, by its name."""
    kinds = list(COLUMNS)
    kind = change.kind if change.kind in COLUMNS else kinds[len(change.kind) % len(kinds)]
    try:
        table = pq.read_table(io.BytesIO(data))
        if not table.num_columns:
            return data
        sink = io.BytesIO()
        pq.write_table(COLUMNS[kind](table, change), sink, row_group_size=max(1, change.other % 9))
    except (pa.ArrowException, OSError, ValueError):  # what former changes broke, or Parquet cannot hold
        return _flip(data, change)
    return sink.getvalue()


def _change_files(files: dict[str, bytes], name: str, change: Change) -> None:
    data = files.pop(name)
    if change.kind == "remove file":
        return
    if change.kind == "exchange files":
        other = sorted({*files, name})[change.at % (len(files) + 1)]
        data, files[other] = files.get(other, data), data
    files[name] = _rewritten(name, data, change)


def _rewritten(name: str, data: bytes, change: Change) -> bytes:
    rewritten = {
        "empty file": lambda: b"",
        "windows lines": lambda: data.replace(b"\n", b"\r\n" if change.at % 2 else b"\r"),
        "mark": lambda: b"\xef\xbb\xbf" + data,
        "utf-16": lambda: data.decode("utf-8", "replace").encode("utf-16"),
        "packed flip": lambda: _flip(packed(name, data), change),
        "packed cut": lambda: _truncate(packed(name, data), change),
    }
    return rewritten[change.kind]() if change.kind in rewritten else data


def mutated(seeds: Sequence[Case]) -> st.SearchStrategy[dict[str, bytes]]:
    """Cases that are one to five changes away from a seed."""
    places = st.integers(0, SCALE - 1)
    kinds = st.sampled_from([*BYTES, *LINES, *COLUMNS, *FILES])
    tokens = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=12), st.text(max_size=6).map(_written))
    change = st.builds(Change, kinds, st.integers(0, 9), places, places, tokens)
    return st.builds(changed, st.sampled_from(list(seeds)), st.lists(change, min_size=1, max_size=5))


def _written(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
