"""Blocks, threads and fast ways must give what a whole file read slowly gives."""

import csv
import io
import random
from pathlib import Path

import pyarrow as pa
import pytest

from assets.ingestion import blocks, duplicates
from assets.ingestion.blocks import read_csv_blocks
from assets.ingestion.errors import IngestionError
from assets.ingestion.rows import SourceRows, read_csv


def _whole(parts: list[SourceRows]) -> tuple[pa.Table, list[int], list[dict[str, object]]]:
    table = pa.concat_tables([part.table for part in parts]).combine_chunks()
    numbers = [number for part in parts for number in part.numbers.to_pylist()]
    return table, numbers, pa.concat_tables([part.set_aside for part in parts]).to_pylist()


def _lines(seed: int, quoted: bool) -> str:
    """A file with ragged and blank lines, empty fields and, if asked, quotes with line breaks."""
    rng = random.Random(seed)
    fields = ["a", "", "longer text", "3.5", " x "] + (['say "hi"', "two\nlines", "with, comma"] if quoted else [])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=rng.choice(["\n", "\r\n"]))
    writer.writerow(["one", "two", "three"])
    for _ in range(rng.randrange(1, 60)):
        width = rng.choice([3] * 8 + [2, 4])
        writer.writerow([rng.choice(fields) for _ in range(width)])
        if rng.random() < 0.05:
            text.write("\n")
    whole = text.getvalue()
    return whole.rstrip("\r\n") if rng.random() < 0.5 else whole


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_blocks_are_the_whole_file(tmp_path: Path, seed: int, quoted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 7)
    path = tmp_path / "x.csv"
    path.write_text(_lines(seed, quoted), newline="")
    whole = read_csv(path)
    parts = read_csv_blocks(path, ",", "utf-8", block_bytes=50)
    table, numbers, aside = _whole(parts)
    assert len(parts) > 1 or len(whole) < 8
    assert table.equals(whole.table.combine_chunks())
    assert numbers == whole.numbers.to_pylist()
    assert aside == whole.set_aside.to_pylist()


def test_numbers_are_lines_in_every_block(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{line},x" if line % 5 else f"{line}" for line in range(2, 1002))]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines))
    parts = read_csv_blocks(path, ",", "utf-8", block_bytes=300)
    assert len(parts) > 10
    for part in parts:
        assert part.column("a").to_pylist() == [str(number) for number in part.numbers.to_pylist()]
        assert part.set_aside["content"].to_pylist() == [str(number) for number in part.set_aside["row"].to_pylist()]


def test_a_mark_in_front_of_a_block_belongs_to_its_field(tmp_path: Path) -> None:
    """Arrow takes a byte order mark away from whatever it is given first."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "\ufeff1,2\n" * 60)
    parts = read_csv_blocks(path, ",", "utf-8", block_bytes=50)
    assert len(parts) > 3
    table, _, _ = _whole(parts)
    assert table["a"].to_pylist() == ["\ufeff1"] * 60
    assert table.equals(read_csv(path).table.combine_chunks())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_marks_are_no_part_of_the_first_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeff\ufeffa,b\n1,2\n".encode(encoding))
    for rows in (read_csv(path, encoding=encoding), *read_csv_blocks(path, ",", encoding)):
        assert rows.table.to_pydict() == {"a": ["1"], "b": ["2"]}


def test_a_name_given_twice_is_refused_behind_byte_order_marks_too(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeff\ufeffa,a\n1,2\n".encode())
    with pytest.raises(IngestionError, match="column names a are the same to SQL"):
        read_csv(path)


def test_a_quote_anywhere_keeps_the_file_whole(tmp_path: Path) -> None:
    """A line break within quotes is no end of a record, wherever a block would be cut."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 50 + '"one\n\n\ntwo",3\n' + "4,5\n" * 50)
    table, numbers, aside = _whole(read_csv_blocks(path, ",", "utf-8", block_bytes=16))
    assert aside == []
    assert numbers == list(range(2, 103))
    assert table["a"][50].as_py() == "one\n\n\ntwo"


@pytest.mark.parametrize("seed", range(6))
def test_first_rows_by_hash_are_those_by_grouping(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    rows = 400
    keys = pa.table(
        {
            "a b": pa.array([rng.choice(["x", "y", "", None]) for _ in range(rows)], pa.string()),
            "n": pa.array([rng.choice([1.5, 0.0, -0.0, None]) for _ in range(rows)], pa.float64()),
            "t": pa.array([rng.randrange(30) for _ in range(rows)], pa.timestamp("us")),
        }
    )
    slow = duplicates.first_rows(keys)
    seen: set[tuple[object, ...]] = set()
    naive = []
    for row in keys.to_pylist():
        key = tuple(map(repr, row.values()))
        naive.append(key not in seen)
        seen.add(key)
    monkeypatch.setattr(duplicates, "SMALL", 10)
    fast = duplicates.first_rows(pa.concat_tables([keys.slice(0, 90), keys.slice(90)]))
    assert fast.tolist() == slow.tolist() == naive
    assert not all(naive)


def test_colliding_hashes_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "SMALL", 2)
    monkeypatch.setattr(duplicates, "_hashes", lambda keys: pa.array([7] * keys.num_rows, pa.uint64()).to_numpy())
    assert duplicates.first_rows(pa.table({"a": ["x", "y", "x"]})).tolist() == [True, True, False]
