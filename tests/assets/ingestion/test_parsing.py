"""Numbers, blanks and instants: the fast ways give the same for every field as the slow ones, whatever is beside it."""

import math
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.ingestion import validate
from assets.ingestion.digest import PART_ROWS, content_digest
from assets.ingestion.errors import IngestionError
from assets.ingestion.raw_files import GROUP_ROWS, write_raw_table
from assets.ingestion.source_text import read_text
from assets.ingestion.timestamps import evidence, form_of, iso8601
from assets.ingestion.validate import is_blank, to_numbers

NUMBERS = ["1", "-2.5", ".5", "5.", "1e5", "1E+05", "1e0005", "1e400", "nan", "inf", "-Infinity", "", "+5", " 5 "]
NO_NUMBERS = ["0x10", "1_000", "5e", "1d5", "soon", "+-5", "1 2", "٣"]
INSTANTS = [
    "2024-01-02",
    "2024-01-02T03",
    "2024-01-02 03:04",
    "2024-01-02T03:04:05",
    "2024-01-02T03:04:05.123456",
    "3000-01-01",
    "1600-02-29",
    "1969-12-31T23:59:59",
]
WITH_OFFSETS = ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00", "2024-01-02 03:04:05-0130", "2024-01-02T03:04Z"]
ODD = ["2024-01-02T03:04:05.1234567", "2024-02-30", "2024-01-02T24:00:00", "20240102", "", "soon"]


@pytest.mark.parametrize("text", [*NUMBERS, *NO_NUMBERS])
def test_a_number_does_not_depend_on_its_neighbours(text: str) -> None:
    alone = to_numbers(pa.array([text]))
    beside_dirt = to_numbers(pa.array([text, "dirt", "7"]))
    beside_plain = to_numbers(pa.array([text, "7"]))
    assert np.array_equal(alone, beside_dirt[:1], equal_nan=True)
    assert np.array_equal(alone, beside_plain[:1], equal_nan=True)
    assert beside_dirt[2] == beside_plain[1] == 7.0


def test_numbers_are_finite_or_none() -> None:
    expected = [1, -2.5, 0.5, 5, 1e5, 1e5, 1e5, *[math.nan] * 5, 5, 5]
    assert np.array_equal(to_numbers(pa.array(NUMBERS)), expected, equal_nan=True)
    assert np.isnan(to_numbers(pa.array(NO_NUMBERS))).all()
    assert np.isnan(to_numbers(pa.array([math.inf, None, math.nan]))).all()


def test_blank_is_what_trimming_leaves_nothing_of() -> None:
    points = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    text = pa.array([*points, "", "  ", " x ", None])
    trimmed = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), True)
    assert is_blank(text).tolist() == trimmed.to_pylist()


@pytest.mark.parametrize("text", [*INSTANTS, *WITH_OFFSETS, *ODD])
def test_an_instant_does_not_depend_on_its_neighbours(text: str) -> None:
    alone = iso8601(pa.array([text]))
    for beside in (INSTANTS[:1], WITH_OFFSETS[:1], ["dirt"], [None]):
        assert np.array_equal(iso8601(pa.array([text, *beside]))[:1], alone, equal_nan=True)


@pytest.mark.parametrize("texts", [INSTANTS, WITH_OFFSETS])
def test_instants_of_one_way_need_no_slow_parser(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    slow = iso8601(pa.array([*texts, "dirt"]))[:-1]
    monkeypatch.setattr("assets.ingestion.timestamps._iso8601_of_any_kind", lambda _: pytest.fail("slow"))
    assert np.array_equal(iso8601(pa.array(texts)), slow, equal_nan=True)


def test_blocks_agree_on_how_timestamps_are_written() -> None:
    seconds, milliseconds = pa.array(["1365029107", ""]), pa.array(["1365029107000"])
    words = pa.array([*["1365029107"] * 2000, "2024-01-01"])
    typed = pa.array([datetime(2024, 1, 1)])
    assert form_of([evidence(seconds), evidence(typed)], "x") == "epoch_seconds"
    assert form_of([evidence(seconds), evidence(words)], "x") == "iso8601"
    assert form_of([evidence(pa.array(["", None]))], "x") == "iso8601"
    with pytest.raises(IngestionError, match="cannot tell seconds"):
        form_of([evidence(seconds), evidence(milliseconds)], "x")


def _table(rows: int) -> pa.Table:
    place = np.arange(rows)
    return pa.table(
        {
            "id": pc.cast(pa.array(place % 1000), pa.string()),
            "at": pa.array(place * 7, pa.timestamp("us")),
            "value": pa.array(place / 3, pa.float64(), mask=place % 11 == 0),
        }
    )


def test_a_raw_file_has_the_same_bytes_whatever_the_chunks(tmp_path: Path) -> None:
    whole = _table(GROUP_ROWS + 1000)
    pieces = pa.concat_tables([whole.slice(0, 5), whole.slice(5, GROUP_ROWS), whole.slice(GROUP_ROWS + 5)])
    write_raw_table(tmp_path / "whole.parquet", whole)
    write_raw_table(tmp_path / "pieces.parquet", pieces)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "pieces.parquet").read_bytes()
    assert pq.read_table(tmp_path / "pieces.parquet").equals(whole)


def test_the_digest_sees_order_beyond_a_part_and_no_chunks() -> None:
    whole = _table(PART_ROWS + 10)
    pieces = pa.concat_tables([whole.slice(0, 3), whole.slice(3)])
    moved = pa.concat_tables([whole.slice(1, PART_ROWS), whole.slice(0, 1), whole.slice(PART_ROWS + 1)])
    assert content_digest({"t": whole}) == content_digest({"t": pieces})
    assert content_digest({"t": whole}) != content_digest({"t": moved})


def test_the_digest_is_the_same_on_every_machine() -> None:
    table = pa.table({"a": ["x", None, "ü"], "b": pa.array([["p", "q"], None, []], pa.list_(pa.string()))})
    assert content_digest({"t": table.append_column("n", pa.array([1.5, None, -0.0]))})[:16] == "1e24eb833212eaed"


def test_bad_utf8_behind_the_first_piece_is_found_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.ingestion.source_text.VALIDATED_BYTES", 5)
    (tmp_path / "good.csv").write_text("é" * 20)
    assert read_text(tmp_path / "good.csv", "utf-8").decode() == "é" * 20
    (tmp_path / "bad.csv").write_bytes("é\n".encode() * 20 + b"\xff\n")
    with pytest.raises(IngestionError, match=r"bad\.csv, line 21: byte 0xff is not valid utf-8"):
        read_text(tmp_path / "bad.csv", "utf-8")


def test_the_screen_copies_nothing_that_passed() -> None:
    rows = validate.SourceRows(
        "x", pa.table({"a": ["1", "2"]}), pa.array([1, 2]), ",", validate.QUARANTINE_SCHEMA.empty_table()
    )
    table = pa.table({"n": [1, 2]})
    assert validate.Screen(rows).finish(table).table is table
