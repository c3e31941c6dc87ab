"""MovieLens 1M, 10M, 20M and latest-small in their official layouts (https://grouplens.org/datasets/movielens/).

``ml-1m`` (latin-1): ``ratings.dat`` ``user::item::rating::epoch seconds``, ``movies.dat``
``id::Title (year)::Genre|Genre``, ``users.dat`` ``id::gender::age::occupation::zip code``, age and occupation as codes
of its README.
``ml-10m`` (UTF-8): the same two files of ratings, in half stars, and movies; nothing is known of users.
``ml-20m``, ``ml-latest-small`` (UTF-8, CSV with header): ``ratings.csv``, ``movies.csv``.

Features as those of ``ml-100k``: genre and year of items; of users age, gender, occupation, first character of the zip
code. ``created_at`` is null, because only the year is known.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion import features
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.datasets.ml_100k import AGE_EDGES, AGE_LABELS
from assets.ingestion.datasets.ml_100k import DATASET as ML_100K
from assets.ingestion.download import Checksum
from assets.ingestion.origins import Published, Remote, SourceFile
from assets.ingestion.ratings import rating_table, read_ratings
from assets.ingestion.rows import SourceRows, read_csv, read_delimited, require_columns
from assets.ingestion.tables import RawTables, items_table, users_table
from assets.ingestion.validate import Reason, Screen, Screened, absent, gather

ADDRESS: Final = "https://files.grouplens.org/datasets/movielens"
SEPARATOR: Final = "::"
NO_GENRES: Final = "(no genres listed)"
OFFICIAL: Final = "Use the official file unchanged."
OCCUPATIONS: Final = (
    "other",
    "educator",
    "artist",
    "clerical",
    "college student",
    "customer service",
    "doctor",
    "executive",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales",
    "scientist",
    "self-employed",
    "technician",
    "tradesman",
    "unemployed",
    "writer",
)
"""Of ``ml-1m``'s codes 0 to 20, in its README's order."""

Reader = Callable[[Path, AdapterOptions, datetime], RawTables]


def read_1m(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
    """Read the three files of ``folder``."""
    del options  # the layout leaves no choice
    ratings = read_ratings(folder / "ratings.dat", SEPARATOR, now)
    return gather(ratings, _movies_dat(folder / "movies.dat", "latin-1"), _users_dat(folder / "users.dat"))


def read_10m(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
    """Read the two files of ``folder``."""
    del options
    ratings = read_ratings(folder / "ratings.dat", SEPARATOR, now)
    return gather(ratings, _movies_dat(folder / "movies.dat", "utf-8"), _nobody())


def read_with_header(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
    """Read the two CSV files of ``folder``."""
    del options
    ratings = _csv(folder / "ratings.csv", {"userId": "user", "movieId": "item", "rating": "rating"}, "timestamp")
    movies = _csv(folder / "movies.csv", {"movieId": "item", "title": "title", "genres": "genres"})
    return gather(rating_table(ratings, now), _movies(movies), _nobody())


def _csv(path: Path, names: dict[str, str], *more: str) -> SourceRows:
    rows = read_csv(path, one_line=(*names, *more))  # titles neither have line breaks
    require_columns(rows, (*names, *more), OFFICIAL)
    table = rows.table.select([*names, *more]).rename_columns([*names.values(), *more])
    return SourceRows(rows.file, table, rows.numbers, rows.separator, rows.set_aside)


def _movies_dat(path: Path, encoding: str) -> Screened:
    return _movies(read_delimited(path, ("item", "title", "genres"), SEPARATOR, encoding))


def _movies(rows: SourceRows) -> Screened:
    screen = Screen(rows)
    title, listed = pc.utf8_trim_whitespace(rows.column("title")), rows.column("genres")
    genres = pc.if_else(pc.equal(pc.utf8_trim_whitespace(listed), NO_GENRES), "", listed)
    known = {"genre": features.split(genres, "|"), "year": features.year_in_title(title)}
    return screen.finish(items_table(screen.ids("item"), title, features=known))


def _users_dat(path: Path) -> Screened:
    rows = read_delimited(path, ("user", "gender", "age", "occupation", "zip"), SEPARATOR, "latin-1")
    screen = Screen(rows)
    ids, age, code = screen.ids("user"), screen.numbers("age"), screen.numbers("occupation")
    screen.reject(~np.isin(code, np.arange(len(OCCUPATIONS))), Reason.NON_NUMERIC_VALUE)
    named = np.where(screen.passed, code, 0).astype(np.int64)  # of a row that is set aside nothing counts
    table = users_table(
        ids,
        {
            "age": features.bucket(np.nan_to_num(age).astype(np.int64), AGE_EDGES, AGE_LABELS),
            "gender": features.single(rows.column("gender")),
            "occupation": features.single(pa.array(OCCUPATIONS, pa.string()).take(pa.array(named))),
            "zip": features.single(pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(rows.column("zip")), 0, 1)),
        },
    )
    return screen.finish(table)


def _nobody() -> Screened:
    """Nothing is known of users but that they rate."""
    return absent(users_table(pa.array([], pa.string())))


def _adapter(name: str, read: Reader, files: Sequence[str], folder: str, md5: str | None) -> Adapter[AdapterOptions]:
    """One release: ``<name>.zip``, whose MD5 GroupLens publishes, holds ``files`` in ``folder``."""
    members = tuple(SourceFile(file, member=f"{folder}/{file}") for file in files)
    checksum = None if md5 is None else Checksum("md5", md5)
    return Adapter(
        name=name,
        licence=ML_100K.licence,
        citation=ML_100K.citation,
        origin=Published((Remote(f"{ADDRESS}/{name}.zip", checksum, members),)),
        options=AdapterOptions,
        read=read,
    )


DAT: Final = ("ratings.dat", "movies.dat")
CSV: Final = ("ratings.csv", "movies.csv")

DATASETS: Final = (
    _adapter("ml-1m", read_1m, (*DAT, "users.dat"), "ml-1m", "c4d9eecfca2ab87c1945afe126590906"),
    _adapter("ml-10m", read_10m, DAT, "ml-10M100K", "ce571fd55effeba0271552578f2648bd"),
    _adapter("ml-20m", read_with_header, CSV, "ml-20m", "cd245b17a1ae2cc31bb14903e1204af3"),
    _adapter("ml-latest-small", read_with_header, CSV, "ml-latest-small", None),  # changes with every release
)
