"""What is accepted, what is set aside, what is refused: a clear outcome for each."""

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pytest

from assets.ingestion.landing import contract
from assets.ingestion.landing.contract import file_batch_digest, read_engagements, read_items
from assets.ingestion.landing.digests import landed_source_rows, row_digests
from assets.ingestion.landing.errors import LandingError, UnfinishedError
from assets.ingestion.tables import INTERACTIONS_SCHEMA
from tests.assets.ingestion.landing.drops import HEADER, NOW, SECOND, csv, drop, engagements, parquet, storage_in

GOOD = ("u", "i", "2024-05-03")


def read(root: Path, name: str, content: str | bytes, share: float = 0.0):
    return read_engagements(drop(storage_in(root), name, content), NOW, share)


def test_rows_are_canonical_and_ordered_by_content(tmp_path: Path) -> None:
    content = "user_id,item_id,timestamp,value,other\n007,a,2024-05-03,2.5,x\nu,b,2024-05-03T04:00,,\n"
    landed = read(tmp_path, "a.csv", content)
    assert landed.table.schema == INTERACTIONS_SCHEMA
    assert landed.table["user_id"].to_pylist() == ["007", "u"]
    assert landed.table["value"].to_pylist() == [2.5, None]
    assert landed.table["event_type"].to_pylist() == ["engagement"] * 2
    expected = landed_source_rows(row_digests(landed.table))
    assert landed.table["source_row"].to_pylist() == expected.tolist()
    assert len(set(expected)) == 2


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    text = read(tmp_path, "a.csv", csv(("u0", "i", "2024-05-03T04:05:06Z")))
    typed = read(tmp_path, "a.parquet", parquet(engagements([1714709106], pa.timestamp("s", "UTC"))))
    assert text.table.equals(typed.table)
    assert text.digest != typed.digest


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    content = csv(GOOD)
    assert read(tmp_path, "a.csv", content).digest == hashlib.sha256(content.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", HEADER),
        ("a.csv", HEADER.strip()),
        ("a.parquet", parquet(engagements([], pa.int64()))),
        ("a.parquet", parquet(engagements([], pa.timestamp("us")))),
        ("a.parquet", parquet(engagements([], pa.null()))),
    ],
)
def test_an_empty_batch_is_fine(tmp_path: Path, name: str, content: str | bytes) -> None:
    landed = read(tmp_path, name, content)
    assert (landed.table.num_rows, landed.rejected.num_rows) == (0, 0)
    assert landed.table.schema == INTERACTIONS_SCHEMA


def test_bad_rows_are_set_aside_each_with_its_reason(tmp_path: Path) -> None:
    bad = [
        ("", "i", "2024-05-03"),
        ("u" * 501, "i", "2024-05-03"),
        ("u", "i", "2124-05-03"),
        ("u", "i", "1969-12-31"),
        ("u", "i", "soon"),
        ("u", "i"),
    ]
    landed = read(tmp_path, "a.csv", csv(GOOD, *bad), share=0.9)
    assert landed.table["user_id"].to_pylist() == ["u"]
    assert landed.rejected["reason"].to_pylist() == [
        "empty_id",
        "id_too_long",
        "future_timestamp",
        "timestamp_before_1971",
        "unparsable_timestamp",
        "ragged_line",
    ]
    assert landed.rejected["row"].to_pylist() == [3, 4, 5, 6, 7, 8]


def test_the_future_begins_after_now(tmp_path: Path) -> None:
    table = engagements([NOW, NOW + 1], pa.timestamp("us"))
    landed = read(tmp_path, "a.parquet", parquet(table), share=0.5)
    assert landed.table["timestamp"].cast(pa.int64()).to_pylist() == [NOW]


@pytest.mark.parametrize(("share", "accepted"), [(0.5, True), (0.49, False)])
def test_more_than_a_share_of_bad_rows_refuses_the_file(tmp_path: Path, share: float, accepted: bool) -> None:
    content = csv(GOOD, ("u", "i", "soon"))
    if accepted:
        assert read(tmp_path, "a.csv", content, share).table.num_rows == 1
        return
    with pytest.raises(LandingError, match=r"a\.csv: 1 of 2 rows.*1 x unparsable_timestamp.*row 3: 'u,i,soon'"):
        read(tmp_path, "a.csv", content, share)


def test_a_file_of_bad_rows_alone_is_refused_whatever_the_share(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"1 of 1 rows"):
        read(tmp_path, "a.csv", csv(("u", "i", "soon")), share=1.0)


WHOLE = parquet(engagements(list(range(1714709106, 1714719106)), pa.int64()))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", WHOLE[: len(WHOLE) // 2], "not a readable Parquet file"),
        ("a.parquet", WHOLE[:4] + b"\0" * 500 + WHOLE[504:], "a.parquet"),
        ("a.parquet", b"", "not a readable Parquet file"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"\xff\xfe\x00u\x00", "NUL"),
        ("a.csv", b"\xff\xfe", "not valid utf-8"),
        ("a.csv", "user_id,item_id,time\nu,i,2024-05-03\n", "column timestamp is missing; .* Rename it$"),
        ("a.csv", "user_id,item_id,timestamp,user_id\nu,i,2024-05-03,u\n", "the same"),
        ("a.csv", csv(("u", "i", "12")), "cannot tell seconds from milliseconds; write ISO 8601"),
        ("a.parquet", parquet(engagements([1.5], user_id=pa.array([1.5]))), "ids must be text or integers"),
        ("a.parquet", parquet(engagements([True])), "cannot tell"),
        ("a.parquet", parquet(engagements([[1]], pa.list_(pa.int64()))), "a.parquet"),
        ("a.parquet", parquet(engagements([1714709106], value=pa.array([{"a": 1}]))), "column value is struct"),
        ("a.parquet", parquet(engagements([1714709106], value=pa.array([["a"]]))), "a.parquet"),
        ("a.txt", csv(GOOD), r"\*\.csv or \*\.parquet"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(LandingError, match=message):
        read(tmp_path, name, content)


def test_a_file_that_grows_while_it_is_read_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop(storage_in(tmp_path), "a.csv", csv(GOOD))
    original = contract._source_rows

    def grow(of: Path, table: str):
        rows = original(of, table)
        with path.open("a") as handle:
            handle.write("u,i,2024-05-04\n")
        return rows

    monkeypatch.setattr(contract, "_source_rows", grow)
    with pytest.raises(UnfinishedError):
        read_engagements(path, NOW, 0.0)


ITEMS = "item_id,title,created_at,genre\na,One,2024-05-03,x|y\nb,,,\na,Two,,y\n"


def test_items_the_last_row_of_an_id_counts(tmp_path: Path) -> None:
    landed = read_items(drop(storage_in(tmp_path), "a.csv", ITEMS, "items"), NOW, 0.0)
    assert landed.table.column_names == ["item_id", "title", "created_at", "genre"]
    assert landed.table["item_id"].to_pylist() == ["b", "a"]
    assert landed.table["title"].to_pylist() == ["", "Two"]
    assert landed.table["genre"].to_pylist() == [[], ["y"]]


def test_items_may_be_announced_for_the_future(tmp_path: Path) -> None:
    content = "item_id,created_at\na,2124-01-01\n"
    assert read_items(drop(storage_in(tmp_path), "a.csv", content, "items"), NOW, 0.0).rejected.num_rows == 0


def test_items_seen_again_are_another_batch(tmp_path: Path) -> None:
    path = drop(storage_in(tmp_path), "a.csv", ITEMS, "items")
    first, again = (read_items(path, seen, 0.0).digest for seen in (NOW, NOW + SECOND))
    assert first != again
    assert [file_batch_digest(path, "items", seen) for seen in (NOW, NOW + SECOND)] == [first, again]


def test_a_feature_may_not_take_a_name_of_ours(tmp_path: Path) -> None:
    path = drop(storage_in(tmp_path), "a.csv", "item_id,slice\na,x\n", "items")
    with pytest.raises(LandingError, match="slice"):
        read_items(path, NOW, 0.0)


def test_the_digest_of_a_file_is_found_without_reading_it(tmp_path: Path) -> None:
    path = drop(storage_in(tmp_path), "a.csv", csv(GOOD))
    assert file_batch_digest(path, "engagements", NOW) == read_engagements(path, NOW, 0.0).digest
    os.utime(path)
    assert file_batch_digest(path, "engagements", NOW + 1) == read_engagements(path, NOW, 0.0).digest
