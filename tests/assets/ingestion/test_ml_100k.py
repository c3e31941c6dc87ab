from datetime import datetime
from pathlib import Path

import pytest

from assets.ingestion.datasets.ml_100k import DATASET
from assets.ingestion.errors import IngestionError
from assets.ingestion.tables import RawTables
from tests.assets.ingestion.layouts import FLAGS, ML_DATA, ML_ITEM, ML_USER, NOW, ml_100k


def _read(folder: Path) -> RawTables:
    return DATASET.read(folder, DATASET.options(), NOW)


def test_ratings_keep_order_ids_and_seconds(tmp_path: Path) -> None:
    rows = _read(ml_100k(tmp_path)).interactions.to_pylist()
    assert rows[0] == {
        "user_id": "1",
        "item_id": "10",
        "timestamp": datetime(1997, 12, 4, 15, 55, 49),
        "event_type": "rating",
        "value": 5.0,
        "source_row": 1,
    }
    assert [row["source_row"] for row in rows] == [1, 2, 3, 4]


def test_items_have_release_genres_and_year(tmp_path: Path) -> None:
    items = {row["item_id"]: row for row in _read(ml_100k(tmp_path)).items.to_pylist()}
    assert items["10"]["genre"] == ["Animation", "Children's", "Comedy"]
    assert items["10"]["created_at"] == datetime(1995, 1, 1)
    assert items["20"] == {
        "item_id": "20",
        "title": "Misérables, Les (1995)",
        "created_at": datetime(1996, 2, 14),
        "genre": ["Drama", "Musical"],
        "year": ["1995"],
    }
    assert items["267"] == {
        "item_id": "267",
        "title": "unknown",
        "created_at": None,
        "genre": ["unknown"],
        "year": [],
    }
    assert items["30"]["created_at"] == datetime(1922, 1, 1)


def test_users_have_buckets_and_first_character_of_the_zip_code(tmp_path: Path) -> None:
    assert _read(ml_100k(tmp_path)).users.to_pylist() == [
        {"user_id": "1", "age": ["18-24"], "gender": ["M"], "occupation": ["technician"], "zip": ["8"]},
        {"user_id": "2", "age": ["50-55"], "gender": ["F"], "occupation": ["other"], "zip": ["9"]},
        {"user_id": "3", "age": ["under 18"], "gender": ["M"], "occupation": ["student"], "zip": ["T"]},
    ]


def test_age_bucket_edges(tmp_path: Path) -> None:
    ages = (17, 18, 24, 25, 34, 35, 44, 45, 49, 50, 55, 56)
    users = "".join(f"{age}|{age}|M|other|00000\n" for age in ages)
    buckets = [row["age"][0] for row in _read(ml_100k(tmp_path, user=users)).users.to_pylist()]
    expected = ["under 18", "18-24", "18-24", "25-34", "25-34", "35-44", "35-44", "45-49", "45-49", "50-55", "50-55"]
    assert buckets == [*expected, "56+"]


def test_dirt_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    data = ML_DATA + (
        "1\t20\t3\n"  # 5: a field is missing
        "\t20\t3\t881250949\n"  # 6
        "1\t \t3\t881250949\n"  # 7
        "1\t20\tfive\t881250949\n"  # 8
        "1\t20\t3\tyesterday\n"  # 9
        "1\t20\t3\t-5\n"  # 10
        "1\t20\t3\t4102444800\n"  # 11: the year 2100
        "\n"  # 12
        "3\t10\t2\t881250949\n"  # 13: right
    )
    raw = _read(ml_100k(tmp_path, data=data))
    assert raw.interactions["source_row"].to_pylist() == [1, 2, 3, 4, 13]
    assert [(row["file"], row["row"], row["reason"], row["content"]) for row in raw.quarantine.to_pylist()] == [
        ("u.data", 5, "ragged_line", "1\t20\t3"),
        ("u.data", 6, "empty_id", "\t20\t3\t881250949"),
        ("u.data", 7, "empty_id", "1\t \t3\t881250949"),
        ("u.data", 8, "non_numeric_value", "1\t20\tfive\t881250949"),
        ("u.data", 9, "unparsable_timestamp", "1\t20\t3\tyesterday"),
        ("u.data", 10, "timestamp_before_1971", "1\t20\t3\t-5"),
        ("u.data", 11, "future_timestamp", "1\t20\t3\t4102444800"),
        ("u.data", 12, "ragged_line", ""),
    ]
    assert raw.rows_read["u.data"] == 13


def test_dirty_items_and_users_are_set_aside(tmp_path: Path) -> None:
    item = ML_ITEM + f"40|Bad date (1990)|31-Feb-1990||x{FLAGS}\n41|Bad flag|01-Jan-1990||x{FLAGS[:-1]}2\n"
    user = ML_USER + "4|old|M|other|12345\n"
    raw = _read(ml_100k(tmp_path, item=item, user=user))
    assert [(row["file"], row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        ("u.item", 5, "unparsable_timestamp"),
        ("u.item", 6, "non_numeric_value"),
        ("u.user", 4, "non_numeric_value"),
    ]
    assert raw.items.num_rows == 4
    assert raw.users.num_rows == 3


def test_windows_line_ends_are_no_part_of_a_field(tmp_path: Path) -> None:
    raw = _read(ml_100k(tmp_path, data=ML_DATA.replace("\n", "\r\n"), user=ML_USER.replace("\n", "\r\n")))
    assert raw.interactions.num_rows == 4
    assert raw.quarantine.num_rows == 0


def test_reencoded_titles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match=r"u\.item: is UTF-8, but .* official file is latin-1"):
        _read(ml_100k(tmp_path, item=ML_ITEM.encode("utf-8")))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    data = "1\t10\t881250949\n2\t10\t891717742\n"
    with pytest.raises(
        IngestionError, match=r"u\.data: expected 4 fields .*user, item, rating, timestamp.*line 1 has 3"
    ):
        _read(ml_100k(tmp_path, data=data))
