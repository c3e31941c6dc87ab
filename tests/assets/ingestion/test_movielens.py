"""MovieLens' releases in their exact layouts, with the dirt that they are known for."""

from datetime import datetime
from pathlib import Path

import pytest

from assets.ingestion.datasets.movielens import OCCUPATIONS
from assets.ingestion.errors import IngestionError
from assets.ingestion.registry import find
from assets.ingestion.tables import RawTables
from tests.assets.ingestion.layouts import NOW, write

RATINGS_DAT = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
MOVIES_DAT = (
    "1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
    "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
    "73::Misérables, Les (1995)::Drama|Musical\n"
)
USERS_DAT = "1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117-1234\n"

RATINGS_CSV = "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,4.0,1112484676\n7,2,0.5,1011208463\n"
MOVIES_CSV = (
    "movieId,title,genres\n"
    "2,Jumanji (1995),Adventure|Children|Fantasy\n"
    '29,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Adventure|Drama\n'
    '131,"""Great Performances"" Cats (1998)",(no genres listed)\n'
    "140,Paterson,(no genres listed)\n"
)


def read(name: str, folder: Path) -> RawTables:
    dataset = find(name)
    return dataset.read(folder, dataset.options(), NOW)


def ml_1m(folder: Path, **changed: str | bytes) -> Path:
    files = {"ratings.dat": RATINGS_DAT, "movies.dat": MOVIES_DAT, "users.dat": USERS_DAT}
    return write(folder, files | {f"{name}.dat": content for name, content in changed.items()}, "latin-1")


def with_header(folder: Path, **changed: str | bytes) -> Path:
    files = {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV}
    return write(folder, files | {f"{name}.csv": content for name, content in changed.items()})


def test_1m_ratings_movies_and_users(tmp_path: Path) -> None:
    raw = read("ml-1m", ml_1m(tmp_path))
    assert raw.interactions.to_pylist()[0] == {
        "user_id": "1",
        "item_id": "1193",
        "timestamp": datetime(2000, 12, 31, 22, 12, 40),
        "event_type": "rating",
        "value": 5.0,
        "source_row": 1,
    }
    assert raw.items.to_pylist()[2] == {
        "item_id": "73",
        "title": "Misérables, Les (1995)",
        "created_at": None,
        "genre": ["Drama", "Musical"],
        "year": ["1995"],
    }
    assert raw.users.to_pylist() == [
        {"user_id": "1", "age": ["under 18"], "gender": ["F"], "occupation": ["K-12 student"], "zip": ["4"]},
        {"user_id": "2", "age": ["56+"], "gender": ["M"], "occupation": ["self-employed"], "zip": ["7"]},
        {"user_id": "3", "age": ["25-34"], "gender": ["M"], "occupation": ["scientist"], "zip": ["5"]},
    ]


def test_1m_codes_of_ages_and_occupations(tmp_path: Path) -> None:
    ages = (1, 18, 25, 35, 45, 50, 56)
    users = "".join(f"{place}::M::{age}::0::00000\n" for place, age in enumerate(ages))
    found = [row["age"][0] for row in read("ml-1m", ml_1m(tmp_path, users=users)).users.to_pylist()]
    assert found == ["under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+"]
    users = "".join(f"{code}::M::1::{code}::00000\n" for code in range(21))
    found = [row["occupation"][0] for row in read("ml-1m", ml_1m(tmp_path, users=users)).users.to_pylist()]
    assert found == list(OCCUPATIONS)


def test_1m_dirt_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    raw = read(
        "ml-1m",
        ml_1m(
            tmp_path,
            ratings=RATINGS_DAT + "1::1193::5\n1::661::x::978302109\n",
            movies=MOVIES_DAT + "9::A :: B (1990)::Drama\n",
            users=USERS_DAT + "4::M::old::1::0\n5::M::25::21::0\n6::M::25::1.5::0\n",
        ),
    )
    assert [(row["file"], row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        ("ratings.dat", 4, "ragged_line"),
        ("ratings.dat", 5, "non_numeric_value"),
        ("movies.dat", 4, "ragged_line"),
        ("users.dat", 4, "non_numeric_value"),
        ("users.dat", 5, "non_numeric_value"),
        ("users.dat", 6, "non_numeric_value"),
    ]


def test_1m_is_latin_1_and_10m_is_utf_8(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match=r"movies\.dat: is UTF-8, but .* official file is latin-1"):
        read("ml-1m", ml_1m(tmp_path / "1m", movies=MOVIES_DAT.encode()))
    with pytest.raises(IngestionError, match=r"movies\.dat, line 3: byte 0xe9 is not valid utf-8"):
        read("ml-10m", ml_1m(tmp_path / "10m"))


def test_10m_has_half_stars_and_knows_nothing_of_users(tmp_path: Path) -> None:
    files = {"ratings.dat": "1::122::4.5::838985046\n2::122::5::838983525\n", "movies.dat": MOVIES_DAT}
    raw = read("ml-10m", write(tmp_path, files))
    assert raw.interactions["value"].to_pylist() == [4.5, 5.0]
    assert raw.items.num_rows == 3
    assert raw.users.num_rows == 0


@pytest.mark.parametrize("name", ["ml-20m", "ml-latest-small"])
def test_csv_releases_have_quoted_titles_and_films_without_genres(tmp_path: Path, name: str) -> None:
    raw = read(name, with_header(tmp_path))
    assert [row["source_row"] for row in raw.interactions.to_pylist()] == [2, 3, 4]
    assert raw.interactions.to_pylist()[0]["timestamp"] == datetime(2005, 4, 2, 23, 53, 47)
    assert [(row["title"], row["genre"], row["year"]) for row in raw.items.to_pylist()] == [
        ("Jumanji (1995)", ["Adventure", "Children", "Fantasy"], ["1995"]),
        (
            "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
            ["Adventure", "Drama"],
            ["1995"],
        ),
        ('"Great Performances" Cats (1998)', [], ["1998"]),
        ("Paterson", [], []),
    ]
    assert raw.users.num_rows == 0


def test_a_csv_release_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match=r"ratings\.csv: column movieId is missing; the file has userId, item"):
        read("ml-20m", with_header(tmp_path, ratings="userId,item,rating,timestamp\n1,2,3,4\n"))


def test_official_archives_and_members() -> None:
    named = {name: find(name).origin.remotes[0] for name in ("ml-1m", "ml-10m", "ml-20m", "ml-latest-small")}
    assert {name: remote.files[0].member for name, remote in named.items()} == {
        "ml-1m": "ml-1m/ratings.dat",
        "ml-10m": "ml-10M100K/ratings.dat",
        "ml-20m": "ml-20m/ratings.csv",
        "ml-latest-small": "ml-latest-small/ratings.csv",
    }
    assert all(remote.url.endswith(f"/movielens/{name}.zip") for name, remote in named.items())
    assert [name for name, remote in named.items() if remote.checksum is None] == ["ml-latest-small"]
