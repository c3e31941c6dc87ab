"""The cheap look: it must say what the whole reading says, and never cost more than the beginning of the file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assets.ingestion.landing.contract import read_engagements
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.landing.partitions import partition_key
from assets.ingestion.landing.peek import first_partition, seems_whole
from tests.assets.ingestion.landing.drops import HEADER, NOW, csv, drop, engagements, parquet, storage_in


def look(root: Path, name: str, content: str | bytes, span: str = "day") -> str | None:
    return first_partition(drop(storage_in(root), name, content), span, NOW)


WRITTEN = [
    "2024-05-03T04:05:06Z",
    "2024-05-03T23:30:00+02:00",
    "2024-05-03T23:30:00-02:00",
    "2024-05-03 04:05:06.123456",
    "2024-05-03",
    "1714709106",
    "1714709106000",
    " 1714709106.5 ",
]


@pytest.mark.parametrize("text", WRITTEN)
@pytest.mark.parametrize("span", ["day", "hour"])
def test_the_look_at_csv_agrees_with_reading(tmp_path: Path, text: str, span: str) -> None:
    path = drop(storage_in(tmp_path), "a.csv", csv(("u", "i", text)))
    instant = read_engagements(path, NOW, 0.0).table["timestamp"].cast(pa.int64())[0].as_py()
    assert first_partition(path, span, NOW) == partition_key(instant, span)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1714709106], pa.int64()),
        ([1714709106.0], pa.float64()),
        (["2024-05-03T04:05:06Z"], pa.large_string()),
        ([1714709106000], pa.timestamp("ms", "Europe/Amsterdam")),
        ([1714709106], pa.timestamp("s")),
        ([19846], pa.date32()),
    ],
)
def test_the_look_at_parquet_takes_every_kind_of_timestamp(tmp_path: Path, values: list, kind: pa.DataType) -> None:
    assert look(tmp_path, "a.parquet", parquet(engagements(values, kind))) == "2024-05-03"


def test_rows_that_will_be_set_aside_do_not_decide(tmp_path: Path) -> None:
    content = csv(("u", "i", "never"), ("u", "i", "2124-05-01"), ("u", "i"), ("u", "i", "2024-05-03"))
    assert look(tmp_path, "a.csv", content) == "2024-05-03"


def test_the_first_row_decides(tmp_path: Path) -> None:
    assert look(tmp_path, "a.csv", csv(("u", "i", "2024-05-03"), ("u", "i", "2024-05-01"))) == "2024-05-03"


@pytest.mark.parametrize("content", [HEADER, csv(("u", "i", "never")), csv(("u", "i", "2124-05-01"))])
def test_no_usable_row(tmp_path: Path, content: str) -> None:
    assert look(tmp_path, "a.csv", content) is None


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    assert look(tmp_path, "a.parquet", parquet(engagements([], pa.int64()))) is None


def test_columns_in_any_order_and_quotes(tmp_path: Path) -> None:
    content = '\ufeff\ufefftimestamp,item_id,"user_id"\n2024-05-03,"a,b",u\n'
    assert look(tmp_path, "a.csv", content) == "2024-05-03"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "user_id,item_id\nu,i\n", "column timestamp is missing; the file has user_id, item_id"),
        ("a.csv", b"", "column user_id, item_id, timestamp is missing"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("a.parquet", parquet(engagements([1]).drop_columns(["item_id"])), "column item_id is missing"),
        ("a.parquet", parquet(engagements([True])), "cannot tell seconds from milliseconds"),
        ("a.parquet", parquet(engagements([[1]], pa.list_(pa.int64()))), "a.parquet"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(LandingError, match=message):
        look(tmp_path, name, content)


def test_random_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        noise = rng.integers(0, 256, 200, dtype=np.uint8).tobytes()
        content = noise if number % 2 else HEADER.encode() + noise
        for name in ("a.csv", "a.parquet"):
            try:
                look(tmp_path, name, content)
            except LandingError:
                continue


@pytest.mark.parametrize(
    ("name", "content", "whole"),
    [
        ("a.csv", HEADER, True),
        ("a.csv", HEADER[:-1], False),
        ("a.csv", b"", False),
        ("a.parquet", parquet(engagements([1])), True),
        ("a.parquet", parquet(engagements([1]))[:-1], False),
        ("a.parquet", b"PAR1", False),
        ("a.parquet", b"", False),
    ],
)
def test_whether_a_file_ends_as_a_finished_one(tmp_path: Path, name: str, content: str | bytes, whole: bool) -> None:
    assert seems_whole(drop(storage_in(tmp_path), name, content)) is whole
