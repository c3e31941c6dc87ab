"""Amazon's two releases in their exact layouts, with the dirt that they are known for."""

import gzip
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assets.ingestion.datasets.amazon import AmazonOrigin, dataset, official
from assets.ingestion.errors import IngestionError
from assets.ingestion.tables import RawTables
from tests.assets.ingestion.layouts import NOW

REVIEW_2014: dict[str, Any] = {
    "reviewerID": "A1YJEY40YUW4SE",
    "asin": "7806397051",
    "reviewerName": "Andrea",
    "helpful": [3, 4],
    "reviewText": "Very oily and creamy.",
    "overall": 1.0,
    "summary": "Don't waste your money",
    "unixReviewTime": 1391040000,
    "reviewTime": "01 30, 2014",
}
REVIEW_2018: dict[str, Any] = {
    "overall": 5.0,
    "vote": "2",
    "verified": False,
    "reviewTime": "12 3, 2015",
    "reviewerID": "A3KUPJ396OQF78",
    "asin": "B017O9P72A",
    "style": {"Size:": " 1 Pack"},
    "reviewText": "Great",
    "unixReviewTime": 1449100800,
    "image": ["https://x"],
}
META_2014 = (
    "{'asin': '7806397051', 'title': \"WAWO 15 Color's\", 'price': 3.49, 'imUrl': 'http://x',"
    " 'categories': [['Beauty', 'Makeup', 'Face'], ['Beauty', 'Tools', 'Face']], 'salesRank': {'Beauty': 1}}\n"
    "{'asin': '0000031852', 'brand': 'Cox &amp; lures', 'categories': [['Beauty']]}\n"
)
META_2018: list[dict[str, Any]] = [
    {
        "category": ["Electronics", "Computers &amp; Accessories", "Cables"],
        "description": ["x"],
        "title": "Loud 'N Lovin &amp; Co",
        "brand": "Sony",
        "price": "$1,299.00 - $1,500.00",
        "asin": "B017O9P72A",
        "rank": [">#1"],
    },
    {"category": [], "title": "No price", "price": ".a-box-inner{background-color:#fff}", "asin": "B1", "rank": "1"},
]


def lines(*objects: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in objects).encode()


def put(folder: Path, name: str, content: bytes | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def read(name: str, folder: Path) -> RawTables:
    adapter = dataset(name)
    return adapter.read(folder, adapter.options(), NOW)


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("beauty", "Beauty"),
        ("all-beauty", "All_Beauty"),
        ("games", "Video_Games"),
        ("books", "Books"),
        ("toys-and-games", "Toys_and_Games"),
        ("movies-and-tv", "Movies_and_TV"),
        ("cds-and-vinyl", "CDs_and_Vinyl"),
        ("apps-for-android", "Apps_for_Android"),
        ("amazon-instant-video", "Amazon_Instant_Video"),
        ("amazon-fashion", "AMAZON_FASHION"),
    ],
)
def test_categories_as_files_have_them(category: str, expected: str) -> None:
    assert official(category) == expected


def test_2014_reviews_and_metadata(tmp_path: Path) -> None:
    put(tmp_path, "reviews_Beauty_5.json.gz", lines(REVIEW_2014, REVIEW_2014 | {"asin": "0000031852"}))
    raw = read("amazon-beauty", put(tmp_path, "meta_Beauty.json.gz", META_2014))
    assert raw.interactions.to_pylist()[0] == {
        "user_id": "A1YJEY40YUW4SE",
        "item_id": "7806397051",
        "timestamp": datetime(2014, 1, 30),
        "event_type": "rating",
        "value": 1.0,
        "source_row": 1,
    }
    assert raw.items.to_pylist() == [
        {
            "item_id": "7806397051",
            "title": "WAWO 15 Color's",
            "created_at": None,
            "brand": [],
            "category": ["Makeup", "Face", "Tools"],
            "price": ["under 5"],
        },
        {
            "item_id": "0000031852",
            "title": None,
            "created_at": None,
            "brand": ["Cox & lures"],
            "category": [],
            "price": [],
        },
    ]
    assert raw.users.num_rows == 0


def test_2018_reviews_and_metadata(tmp_path: Path) -> None:
    put(tmp_path, "Electronics.json.gz", lines(REVIEW_2018))
    raw = read("amazon-electronics", put(tmp_path, "meta_Electronics.json.gz", lines(*META_2018)))
    assert [(row["user_id"], row["value"]) for row in raw.interactions.to_pylist()] == [("A3KUPJ396OQF78", 5.0)]
    assert [(row["title"], row["brand"], row["category"], row["price"]) for row in raw.items.to_pylist()] == [
        ("Loud 'N Lovin & Co", ["Sony"], ["Computers & Accessories", "Cables"], ["200+"]),
        ("No price", [], [], []),
    ]


def test_ratings_alone_have_their_columns_in_the_order_of_their_release(tmp_path: Path) -> None:
    old = read("amazon-books", put(tmp_path / "old", "ratings_Books.csv", "AH2L9G3DQHHAJ,0000000116,4.0,1019865600\n"))
    new = read("amazon-books", put(tmp_path / "new", "Books.csv", "0001713353,A1C6M8LCIX4M6M,5.0,1123804800\n"))
    assert [(row["user_id"], row["item_id"]) for raw in (old, new) for row in raw.interactions.to_pylist()] == [
        ("AH2L9G3DQHHAJ", "0000000116"),
        ("A1C6M8LCIX4M6M", "0001713353"),
    ]
    assert old.items.num_rows == 0


def test_reviews_come_before_ratings_and_the_core_before_all(tmp_path: Path) -> None:
    put(tmp_path, "ratings_Beauty.csv", "u,i,4.0,1019865600\n")
    put(tmp_path, "reviews_Beauty.json", lines(REVIEW_2014, REVIEW_2014))
    assert read("amazon-beauty", tmp_path).interactions.num_rows == 2
    put(tmp_path, "reviews_Beauty_5.json", lines(REVIEW_2014))
    assert read("amazon-beauty", tmp_path).interactions.num_rows == 1


def test_the_files_that_are_read_are_those_that_are_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "amazon-beauty", "reviews_Beauty_5.json", lines(REVIEW_2014))
    put(folder, "meta_Beauty.json.gz", META_2014)
    put(folder, "ratings_Beauty.csv", "u,i,4.0,1019865600\n")
    located = AmazonOrigin("Beauty").locate("amazon-beauty", tmp_path, tmp_path / "cache")
    assert (located.folder, located.source) == (folder, "local copy")
    assert sorted(located.digests) == ["meta_Beauty.json.gz", "reviews_Beauty_5.json"]


def test_upper_and_lower_case_of_the_files_make_no_difference(tmp_path: Path) -> None:
    """Categories of 2018 are written like this one in some places and in capitals in others."""
    folder = put(tmp_path / "amazon-amazon-fashion", "AMAZON_FASHION.json.gz", lines(REVIEW_2018))
    put(folder, "meta_Amazon_Fashion.json.gz", lines(*META_2018))
    adapter = dataset("amazon-amazon-fashion")
    assert sorted(adapter.origin.locate(adapter.name, tmp_path, tmp_path / "cache").digests) == [
        "AMAZON_FASHION.json.gz",
        "meta_Amazon_Fashion.json.gz",
    ]
    raw = read("amazon-amazon-fashion", folder)
    assert (raw.interactions.num_rows, raw.items.num_rows) == (1, 2)
    old = read("amazon-books", put(tmp_path / "old", "Ratings_books.CSV", "AH2L9G3DQHHAJ,0000000116,4.0,1019865600\n"))
    assert old.interactions["user_id"].to_pylist() == ["AH2L9G3DQHHAJ"]


def test_two_files_that_differ_in_case_only_are_an_error_that_names_both(tmp_path: Path) -> None:
    folder = put(tmp_path / "amazon-all-beauty", "All_Beauty.json", lines(REVIEW_2018))
    put(folder, "ALL_BEAUTY.json", lines(REVIEW_2018, REVIEW_2018))
    words = r"ALL_BEAUTY\.json and All_Beauty\.json differ in upper and lower case only"
    with pytest.raises(IngestionError, match=words):
        AmazonOrigin("All_Beauty").locate("amazon-all-beauty", tmp_path, tmp_path / "cache")
    with pytest.raises(IngestionError, match=words):
        read("amazon-all-beauty", folder)
    put(folder, "All_Beauty_5.json", lines(REVIEW_2018))  # comes before both
    assert read("amazon-all-beauty", folder).interactions.num_rows == 1


def test_dirt_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    good = json.dumps(REVIEW_2014)
    dirty = [
        good,
        good[:40],  # 2: torn
        json.dumps(REVIEW_2014 | {"reviewerID": ""}),  # 3
        json.dumps({key: value for key, value in REVIEW_2014.items() if key != "overall"}),  # 4
        json.dumps(REVIEW_2014 | {"unixReviewTime": None}),  # 5
        json.dumps(REVIEW_2014 | {"overall": "five"}),  # 6
        "[1, 2]",  # 7
    ]
    raw = read("amazon-beauty", put(tmp_path, "reviews_Beauty_5.json.gz", "\n".join(dirty) + "\n"))
    assert raw.interactions["source_row"].to_pylist() == [1]
    assert [(row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        (2, "ragged_line"),
        (3, "empty_id"),
        (4, "non_numeric_value"),
        (5, "unparsable_timestamp"),
        (6, "non_numeric_value"),
        (7, "ragged_line"),
    ]


def test_a_torn_line_of_metadata_is_set_aside_and_nothing_in_it_is_executed(tmp_path: Path) -> None:
    put(tmp_path, "reviews_Beauty_5.json", lines(REVIEW_2014))
    evil = "{'asin': __import__('os').getpid()}\n{'asin': 'x', 'title': \n"
    raw = read("amazon-beauty", put(tmp_path, "meta_Beauty.json.gz", META_2014 + evil))
    assert raw.items.num_rows == 2
    assert [(row["file"], row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        ("meta_Beauty.json.gz", 3, "ragged_line"),
        ("meta_Beauty.json.gz", 4, "ragged_line"),
    ]


def test_a_damaged_archive_and_an_empty_folder_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "reviews_Beauty_5.json.gz").write_bytes(gzip.compress(lines(REVIEW_2014))[:-9])
    with pytest.raises(IngestionError, match=r"reviews_Beauty_5\.json\.gz: cannot be read"):
        read("amazon-beauty", tmp_path)
    with pytest.raises(IngestionError, match=r"holds no reviews or ratings of Books; put one of reviews_Books_5"):
        read("amazon-books", tmp_path)
