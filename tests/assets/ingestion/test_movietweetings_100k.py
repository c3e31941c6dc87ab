from datetime import datetime
from pathlib import Path

import pytest

from assets.ingestion.datasets.movietweetings_100k import DATASET
from assets.ingestion.errors import IngestionError
from assets.ingestion.tables import RawTables
from tests.assets.ingestion.layouts import MT_MOVIES, MT_RATINGS, MT_USERS, NOW, movietweetings


def _read(folder: Path) -> RawTables:
    return DATASET.read(folder, DATASET.options(), NOW)


def test_ratings_keep_leading_zeros(tmp_path: Path) -> None:
    rows = _read(movietweetings(tmp_path)).interactions.to_pylist()
    assert [row["item_id"] for row in rows] == ["1074638", "0002844", "0002844"]
    assert rows[0]["timestamp"] == datetime(2013, 4, 3, 22, 45, 7)
    assert [row["value"] for row in rows] == [7.0, 8.0, 8.0]


def test_items_have_genres_and_year_but_no_creation_time(tmp_path: Path) -> None:
    assert _read(movietweetings(tmp_path)).items.to_pylist() == [
        {
            "item_id": "0002844",
            "title": "Fantômas - À l'ombre de la guillotine (1913)",
            "created_at": None,
            "genre": ["Crime", "Drama"],
            "year": ["1913"],
        },
        {
            "item_id": "1074638",
            "title": "Skyfall (2012)",
            "created_at": None,
            "genre": ["Action", "Adventure", "Thriller"],
            "year": ["2012"],
        },
        {"item_id": "0099999", "title": "Nothing Known (1990)", "created_at": None, "genre": [], "year": ["1990"]},
    ]


def test_twitter_ids_appear_nowhere(tmp_path: Path) -> None:
    raw = _read(movietweetings(tmp_path, users=MT_USERS + "3::123::456\n::777\n"))
    assert raw.users.to_pylist() == [{"user_id": "1"}, {"user_id": "2"}]
    aside = raw.quarantine.to_pylist()
    assert [(row["row"], row["reason"], row["content"]) for row in aside] == [
        (3, "ragged_line", None),
        (4, "empty_id", None),
    ]


def test_a_title_with_the_separator_is_set_aside(tmp_path: Path) -> None:
    raw = _read(movietweetings(tmp_path, movies=MT_MOVIES + "5::Alien :: Director's Cut (1979)::Horror\n"))
    assert [(row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [(4, "ragged_line")]


def test_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(
        IngestionError, match=r"movies\.dat, line 1: byte 0xf4 is not valid utf-8; save the file as utf-8"
    ):
        _read(movietweetings(tmp_path, movies=MT_MOVIES.encode("latin-1")))


def test_another_separator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match=r"ratings\.dat: expected 4 fields separated by '::'"):
        _read(movietweetings(tmp_path, ratings=MT_RATINGS.replace("::", ",")))
