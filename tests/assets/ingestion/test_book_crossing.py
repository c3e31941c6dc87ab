"""BookCrossing in its exact layout, with the dirt that it is known for."""

from datetime import datetime
from pathlib import Path

import pytest

from assets.ingestion.datasets.book_crossing import DATASET
from assets.ingestion.errors import IngestionError
from assets.ingestion.tables import RawTables
from tests.assets.ingestion.layouts import NOW, write

RATINGS = '"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"5"\r\n'
BOOKS = (
    '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"\r\n'
    '"0195153448";"Classical Mythology";"Mark P. O. Morford";"2002";"Oxford University Press";"s";"m";"l"\r\n'
    '"034545104X";"Flesh Tones: A Novel; Part 2";"M. J. Rose";"0";"Ballantine &amp; Books";"s";"m";"l"\r\n'
    '"0155061224";"The \\"Rites\\" of Passage, Émile";"Judith Rae";"2050";"Heinle";"s";"m";"l"\r\n'
)
USERS = (
    '"User-ID";"Location";"Age"\r\n'
    '"276725";"tyler, texas, usa";NULL\r\n'
    '"276726";"seattle, washington, USA";"18"\r\n'
    '"276727";"h, new south wales, australia";"244"\r\n'
    '"276728";"lisboa, n/a, portugal";"35"\r\n'
    '"276729";"nowhere";"5"\r\n'
)


def book_crossing(folder: Path, **changed: str | bytes) -> Path:
    names = {"ratings": "BX-Book-Ratings.csv", "books": "BX-Books.csv", "users": "BX-Users.csv"}
    files: dict[str, str | bytes] = {"ratings": RATINGS, "books": BOOKS, "users": USERS} | changed
    return write(folder, {names[name]: content for name, content in files.items()}, "latin-1")


def read(folder: Path) -> RawTables:
    return DATASET.read(folder, DATASET.options(), NOW)


def test_a_zero_is_no_rating_and_nothing_has_a_time(tmp_path: Path) -> None:
    rows = read(book_crossing(tmp_path)).interactions.to_pylist()
    assert [(row["user_id"], row["item_id"], row["event_type"], row["value"]) for row in rows] == [
        ("276725", "034545104X", "implicit", None),
        ("276726", "0155061224", "rating", 5.0),
    ]
    assert {row["timestamp"] for row in rows} == {datetime(2004, 9, 1)}
    assert [row["source_row"] for row in rows] == [2, 3]


def test_books_with_escaped_quotes_entities_and_unbelievable_years(tmp_path: Path) -> None:
    items = {row["item_id"]: row for row in read(book_crossing(tmp_path)).items.to_pylist()}
    assert items["0195153448"] == {
        "item_id": "0195153448",
        "title": "Classical Mythology",
        "created_at": None,
        "author": ["Mark P. O. Morford"],
        "publisher": ["Oxford University Press"],
        "year": ["2002"],
    }
    assert (items["034545104X"]["title"], items["034545104X"]["publisher"], items["034545104X"]["year"]) == (
        "Flesh Tones: A Novel; Part 2",
        ["Ballantine & Books"],
        [],
    )
    assert (items["0155061224"]["title"], items["0155061224"]["year"]) == ('The "Rites" of Passage, Émile', [])


def test_users_have_age_region_and_country_where_they_are_believed(tmp_path: Path) -> None:
    assert read(book_crossing(tmp_path)).users.to_pylist() == [
        {"user_id": "276725", "age": [], "region": ["texas"], "country": ["usa"]},
        {"user_id": "276726", "age": ["18-24"], "region": ["washington"], "country": ["usa"]},
        {"user_id": "276727", "age": [], "region": ["new south wales"], "country": ["australia"]},
        {"user_id": "276728", "age": ["35-44"], "region": [], "country": ["portugal"]},
        {"user_id": "276729", "age": ["under 18"], "region": [], "country": ["nowhere"]},
    ]


def test_a_title_that_runs_into_the_author_is_set_aside(tmp_path: Path) -> None:
    torn = '"078946697X";"How It All Began (Level 4)\\";Michael Teitelbaum";"2000";"DK";"s";"m";"l"\r\n'
    raw = read(book_crossing(tmp_path, books=BOOKS + torn, ratings=RATINGS + '"276727";"078946697X";"x"\r\n'))
    assert raw.items.num_rows == 3
    assert [(row["file"], row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        ("BX-Book-Ratings.csv", 4, "non_numeric_value"),
        ("BX-Books.csv", 5, "ragged_line"),
    ]


def test_what_is_not_the_official_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match=r"BX-Books\.csv: is UTF-8, but .* official file is latin-1"):
        read(book_crossing(tmp_path / "utf8", books=BOOKS.encode()))
    with pytest.raises(IngestionError, match=r"BX-Users\.csv: column Age is missing"):
        read(book_crossing(tmp_path / "columns", users='"User-ID";"Location"\r\n"1";"x"\r\n'))


def test_an_instant_in_the_future_is_refused(tmp_path: Path) -> None:
    options = DATASET.options(collected_at="2030-01-01")
    with pytest.raises(IngestionError, match="collected_at 2030-01-01 is in the future"):
        DATASET.read(book_crossing(tmp_path), options, NOW)
