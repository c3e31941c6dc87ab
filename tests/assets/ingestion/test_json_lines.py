"""One odd line costs that line, or a field of it; numbers do not depend on what else is in the file."""

from pathlib import Path

import pyarrow as pa
import pytest

from assets.ingestion import json_lines
from assets.ingestion.json_lines import lines_of, python_object, read_json_lines, read_object_lines
from assets.ingestion.rows import SourceRows

FIELDS = pa.schema([("id", pa.string()), ("at", pa.int64()), ("score", pa.float64()), ("tags", pa.list_(pa.string()))])
GOOD = '{"id": "a", "at": 1, "score": 0.5, "tags": ["x"]}'


def _read(folder: Path, *lines: str) -> SourceRows:
    path = folder / "x.json"
    path.write_text("".join(f"{line}\n" for line in lines))
    return read_json_lines(path, FIELDS)


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        (r'{"id": "caf\ud83d", "at": 1, "score": 0.5, "tags": ["x"]}', "id"),
        (r'{"id": "a", "at": 1, "score": 0.5, "tags": ["x", "\udc00"]}', "tags"),
        ('{"id": "a", "at": 100000000000000000000, "score": 0.5, "tags": ["x"]}', "at"),
        ('{"id": "a", "at": NaN, "score": 0.5, "tags": ["x"]}', "at"),
        ('{"id": ["a"], "at": 1, "score": 0.5, "tags": ["x"]}', "id"),
    ],
)
def test_a_value_that_cannot_be_is_null(tmp_path: Path, odd: str, field: str) -> None:
    rows = _read(tmp_path, GOOD, odd, GOOD)
    good = {"id": "a", "at": 1, "score": 0.5, "tags": ["x"]}
    assert rows.table.to_pylist() == [good, good | {field: None}, good]
    assert rows.set_aside.num_rows == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (r"{'id': 'caf\ud83d', 'at': 1}", {"id": None, "at": 1}),
        ("{'id': 'a', 'at': 100000000000000000000}", {"id": "a", "at": None}),
        ("{'id': 'a', ['at']: 1}", None),
    ],
)
def test_python_literals_likewise(tmp_path: Path, line: str, expected: dict[str, object] | None) -> None:
    path = tmp_path / "x.json"
    path.write_text(f"{{'id': 'b', 'at': 2}}\n{line}\n")
    rows = read_object_lines(path, pa.schema(list(FIELDS)[:2]), python_object)
    assert rows.table.to_pylist() == [{"id": "b", "at": 2}] + ([expected] if expected else [])
    assert rows.set_aside["row"].to_pylist() == ([] if expected else [2])


@pytest.mark.parametrize("blank", ["", "  ", "\t\r"])
@pytest.mark.parametrize("torn", [(), ('{"id": "b',)])
def test_blank_lines_are_no_rows_whatever_else_there_is(tmp_path: Path, blank: str, torn: tuple[str, ...]) -> None:
    rows = _read(tmp_path, blank, GOOD, blank, GOOD, *torn, blank)
    assert rows.numbers.to_pylist() == [1, 2]
    assert rows.set_aside["row"].to_pylist() == [3] * len(torn)
    assert len(list(lines_of(tmp_path / "x.json"))) == 2 + len(torn)


@pytest.mark.parametrize("front", ["", "\n \t", "\ufeff", f"{GOOD}\n", f"{GOOD}\n \t\n"])
def test_a_null_line_is_set_aside_and_ends_nothing(tmp_path: Path, front: str) -> None:
    """Arrow 26 ends the process where a block begins with one."""
    before = front.count(GOOD)
    rows = _read(tmp_path, f"{front}null", GOOD)
    assert rows.set_aside["row"].to_pylist() == [before + 1]
    assert rows.numbers.to_pylist() == [*range(1, before + 1), before + 2]


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_a_null_line_is_found_wherever_reads_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(json_lines, "CHUNK_BYTES", size)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", len(GOOD) + 1)
    rows = _read(tmp_path, GOOD, "  null, 3", GOOD, "")
    assert rows.set_aside["row"].to_pylist() == [2]
    assert _read(tmp_path, GOOD, " ", GOOD).set_aside.num_rows == 0


def test_a_text_that_is_no_utf8_is_read_with_marks_in_it(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"id": "caf\xe9", "at": 1}\n')
    assert read_json_lines(path, FIELDS).table["id"].to_pylist() == ["caf\ufffd"]


def test_very_many_blank_lines_are_passed_over_at_once(tmp_path: Path) -> None:
    """A search that takes the square of their number needs half an hour."""
    assert _read(tmp_path, GOOD, "\n" * 1_000_000, GOOD).numbers.to_pylist() == [1, 2]
