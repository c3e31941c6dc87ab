"""MovieTweetings, snapshot 100K and the full set, in their official layout (https://github.com/sidooms/MovieTweetings).

``ratings.dat``: ``user::item::rating::epoch seconds``. ``movies.dat`` (UTF-8): ``id::Title (year)::Genre|Genre``, the
id as IMDb writes it, with leading zeros. ``users.dat``: ``user::Twitter id``.

Features: genre and year (from the title) of items. ``created_at`` is null, because only the year is known. A Twitter id
is personal data and no feature: it is not read into any table, nor kept for rows set aside.
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc

from assets.ingestion import features
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.download import Checksum
from assets.ingestion.origins import Published, Remote, SourceFile
from assets.ingestion.ratings import read_ratings
from assets.ingestion.rows import read_delimited, without_content
from assets.ingestion.tables import RawTables, items_table, users_table
from assets.ingestion.validate import Screen, Screened, gather

SEPARATOR = "::"
REPOSITORY = "https://raw.githubusercontent.com/sidooms/MovieTweetings/master"
ADDRESS = f"{REPOSITORY}/snapshots/100K"
LATEST = f"{REPOSITORY}/latest"


def _published(name: str, sha256: str, size: int) -> Remote:
    return Remote(f"{ADDRESS}/{name}", Checksum("sha256", sha256), (SourceFile(name, sha256, size),))


ORIGIN = Published(
    (
        _published("ratings.dat", "c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6", 2_945_101),
        _published("movies.dat", "e63fb84bc734e3c574f135634a40d3cbafab22b8f94f5fc0b80f80d1d2076efc", 542_192),
        _published("users.dat", "c770e68490b14abc3c47df2bbd750cd7440e3cec5a06796f99e73b0a683b6cda", 262_574),
    )
)


def read(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
    """Read the three files of ``folder``."""
    del options  # the layout leaves no choice
    ratings = read_ratings(folder / "ratings.dat", SEPARATOR, now)
    return gather(ratings, _items(folder / "movies.dat"), _users(folder / "users.dat"))


def _items(path: Path) -> Screened:
    rows = read_delimited(path, ("item", "title", "genres"), SEPARATOR)
    screen = Screen(rows)
    title = pc.utf8_trim_whitespace(rows.column("title"))
    genre, year = features.split(rows.column("genres"), "|"), features.year_in_title(title)
    return screen.finish(items_table(screen.ids("item"), title, features={"genre": genre, "year": year}))


def _users(path: Path) -> Screened:
    screen = Screen(read_delimited(path, ("user", "twitter_id"), SEPARATOR))
    screened = screen.finish(users_table(screen.ids("user")))
    return replace(screened, quarantine=without_content(screened.quarantine))


def _adapter(name: str, origin: Published) -> Adapter[AdapterOptions]:
    return Adapter(
        name=name,
        licence="MIT, Copyright (c) 2013 Simon Dooms",
        citation=(
            "Simon Dooms, Toon De Pessemier and Luc Martens. 2013. MovieTweetings: a Movie Rating Dataset Collected "
            "From Twitter. Workshop on Crowdsourcing and Human Computation for Recommender Systems, RecSys 2013"
        ),
        origin=origin,
        options=AdapterOptions,
        read=read,
    )


DATASET = _adapter("movietweetings-100k", ORIGIN)
FULL = _adapter(
    "movietweetings",  # grew until 2021; no checksum of it is published
    Published(tuple(Remote(f"{LATEST}/{file.name}", None, (SourceFile(file.name),)) for file in ORIGIN.files)),
)
