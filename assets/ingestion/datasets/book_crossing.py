r"""BookCrossing in its official layout (http://www2.informatik.uni-freiburg.de/~cziegler/BX/).

``BX-Book-Ratings.csv``, ``BX-Books.csv``, ``BX-Users.csv``: latin-1, semicolons, header, fields in double quotes, a
quote inside one written ``\"``, ``&amp;`` for an ampersand. Known dirt: rows of books whose title ends in ``\"`` run
into the next field and are set aside; ages up to 244; years 0 and 2050; ISBNs that are none, kept as they stand.

A rating of 0 is no rating: the user has the book. It is of event type ``implicit`` and has no value; the others are
``rating``. **Nothing has a time.** All interactions share the instant ``collected_at``, so only splits without order
are meaningful: ``leave_one_out`` with ``held_out_by: random``.

Features: author, publisher and year of publication of items; of users age in MovieLens' buckets, region and country
from the location.
"""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from assets.ingestion import features
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.datasets.ml_100k import AGE_EDGES, AGE_LABELS
from assets.ingestion.errors import IngestionError
from assets.ingestion.origins import Published, Remote, SourceFile
from assets.ingestion.rows import SourceRows, read_csv, require_columns
from assets.ingestion.tables import INSTANT, RawTables, interactions_table, items_table, users_table
from assets.ingestion.validate import Screen, Screened, gather, to_numbers
from assets.schema import Columns

RATINGS, BOOKS, USERS = "BX-Book-Ratings.csv", "BX-Books.csv", "BX-Users.csv"
ONE_LINE: Final = ("User-ID", "ISBN", "Book-Rating", "Age")
"""Columns without line breaks."""
AGES: Final = (5, 100)
"""What is believed of an age, inclusive."""
YEARS: Final = (1800, 2004)
"""What is believed of a year of publication; the data were collected in 2004."""
OFFICIAL: Final = "Use the official file unchanged."


class BookCrossingOptions(AdapterOptions):
    """Options of BookCrossing."""

    collected_at: date = Field(date(2004, 9, 1), description="instant of every interaction: the source gives none")


def read(folder: Path, options: BookCrossingOptions, now: datetime) -> RawTables:
    """Read the three files of ``folder``.

    Raises:
        IngestionError: when ``collected_at`` is after ``now``.
    """
    instant = datetime.combine(options.collected_at, time(), UTC)
    if instant > (now if now.tzinfo else now.replace(tzinfo=UTC)):
        raise IngestionError(f"book-crossing: collected_at {options.collected_at} is in the future; set an earlier day")
    return gather(_ratings(folder / RATINGS, instant), _items(folder / BOOKS), _users(folder / USERS))


def _rows(path: Path, names: dict[str, str]) -> SourceRows:
    rows = read_csv(path, ";", "latin-1", "\\", one_line=ONE_LINE)
    require_columns(rows, tuple(names), OFFICIAL)
    table = rows.table.select(list(names)).rename_columns(list(names.values()))
    return SourceRows(rows.file, table, rows.numbers, rows.separator, rows.set_aside)


def _ratings(path: Path, instant: datetime) -> Screened:
    rows = _rows(path, {"User-ID": "user", "ISBN": "item", "Book-Rating": "rating"})
    screen = Screen(rows)
    rating = screen.numbers("rating")
    rated = rating > 0
    columns = {
        Columns.USER: screen.ids("user"),
        Columns.ITEM: screen.ids("item"),
        Columns.TIMESTAMP: pa.array(np.full(len(rows), np.datetime64(instant.replace(tzinfo=None), "us")), INSTANT),
        Columns.EVENT_TYPE: pa.array(np.where(rated, "rating", "implicit")),
        Columns.VALUE: pa.array(rating, mask=~rated),
        Columns.SOURCE_ROW: rows.numbers,
    }
    return screen.finish(interactions_table(columns))


def _items(path: Path) -> Screened:
    rows = _rows(
        path,
        {
            "ISBN": "item",
            "Book-Title": "title",
            "Book-Author": "author",
            "Year-Of-Publication": "year",
            "Publisher": "publisher",
        },
    )
    screen = Screen(rows)
    known = {
        "author": features.single(features.unescaped(rows.column("author"))),
        "publisher": features.single(features.unescaped(rows.column("publisher"))),
        "year": features.single(_within(rows.column("year"), YEARS)),
    }
    return screen.finish(items_table(screen.ids("item"), features.unescaped(rows.column("title")), features=known))


def _users(path: Path) -> Screened:
    rows = _rows(path, {"User-ID": "user", "Location": "location", "Age": "age"})
    screen = Screen(rows)
    parts = pc.split_pattern(rows.column("location"), ",")
    age = _within(rows.column("age"), AGES)
    bucket = features.bucket(np.nan_to_num(to_numbers(age)).astype(np.int64), AGE_EDGES, AGE_LABELS)
    known = {
        "age": pc.if_else(pc.is_valid(age), bucket, pa.scalar([], bucket.type)),
        "region": features.single(_part(parts, 2)),
        "country": features.single(_part(parts, 1)),
    }
    return screen.finish(users_table(screen.ids("user"), known))


def _within(values: pa.Array, bounds: tuple[int, int]) -> pa.Array:
    """[N] the fields that are whole numbers within ``bounds``, as text; null for others."""
    numbers = to_numbers(values)
    believed = (numbers >= bounds[0]) & (numbers <= bounds[1]) & (numbers % 1 == 0)  # NaN is not
    text = np.where(believed, np.nan_to_num(numbers), 0).astype(np.int64)
    return pa.array(text, pa.int64(), mask=~believed).cast(pa.string())


def _part(parts: pa.Array, place: int) -> pa.Array:
    """[N] the part that is ``place``-th from the end of each list of parts, lower case; null where there are fewer."""
    lengths = pc.list_value_length(parts).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(lengths)
    there = lengths >= place
    flat = pc.list_flatten(parts)
    taken = flat.take(pa.array(np.where(there, ends - place, 0), mask=~there))
    text = pc.utf8_lower(pc.utf8_trim_whitespace(taken))
    return pc.if_else(pc.equal(text, "n/a"), pa.scalar(None, pa.string()), text)


DATASET = Adapter(
    name="book-crossing",
    licence="freely available for research use when acknowledged (see the citation)",
    citation=(
        "Cai-Nicolas Ziegler, Sean M. McNee, Joseph A. Konstan and Georg Lausen. 2005. Improving Recommendation Lists "
        "Through Topic Diversification. WWW '05. doi:10.1145/1060745.1060754"
    ),
    origin=Published(
        (
            Remote(
                "http://www2.informatik.uni-freiburg.de/~cziegler/BX/BX-CSV-Dump.zip",
                None,  # none is published
                tuple(SourceFile(name, member=name) for name in (RATINGS, BOOKS, USERS)),
            ),
        )
    ),
    options=BookCrossingOptions,
    read=read,
)
