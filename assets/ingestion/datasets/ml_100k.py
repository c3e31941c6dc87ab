"""MovieLens 100K in its official layout (https://grouplens.org/datasets/movielens/100k/).

``u.data``: user, item, rating, epoch seconds, tab-separated, in random order. ``u.item`` (latin-1): id, title, release
date ``01-Jan-1995``, video release date, address, 19 genre flags, pipe-separated. ``u.user``: id, age, gender,
occupation, zip code.

Features: genre and year (from the title) of items; of users age in the buckets MovieLens itself used from its next
release on, gender, occupation, and the zip code's first character (a region of the United States; a letter is a
Canadian postal district). ``created_at`` is the release in cinemas, null where unknown.
"""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion import features, timestamps
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.download import Checksum
from assets.ingestion.origins import Published, Remote, SourceFile
from assets.ingestion.ratings import read_ratings
from assets.ingestion.rows import read_delimited
from assets.ingestion.tables import RawTables, items_table, users_table
from assets.ingestion.validate import Reason, Screen, Screened, gather, is_blank

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
ITEM_FIELDS = ("item", "title", "release_date", "video_release_date", "address", *GENRES)
USER_FIELDS = ("user", "age", "gender", "occupation", "zip")
AGE_EDGES = (18, 25, 35, 45, 50, 56)
AGE_LABELS = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")

ORIGIN = Published(
    (
        Remote(
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            # GroupLens publishes an MD5 (ml-100k.zip.md5); the SHA-256 below also holds each file unpacked from it.
            checksum=Checksum("md5", "0e33842e24a9c977be4e0107933c0723"),
            files=(
                SourceFile(
                    "u.data",
                    "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
                    1_979_173,
                    "ml-100k/u.data",
                ),
                SourceFile(
                    "u.item",
                    "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
                    236_344,
                    "ml-100k/u.item",
                ),
                SourceFile(
                    "u.user",
                    "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
                    22_628,
                    "ml-100k/u.user",
                ),
            ),
        ),
    )
)


def read(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
    """Read the three files of ``folder``."""
    del options  # the layout leaves no choice
    return gather(read_ratings(folder / "u.data", "\t", now), _items(folder / "u.item"), _users(folder / "u.user"))


def _items(path: Path) -> Screened:
    rows = read_delimited(path, ITEM_FIELDS, "|", encoding="latin-1")
    screen = Screen(rows)
    released = rows.column("release_date")
    title = pc.utf8_trim_whitespace(rows.column("title"))
    table = items_table(
        screen.ids("item"),
        title,
        screen.optional_timestamps(timestamps.day_month_year(released), is_blank(released)),
        {"genre": _genres(screen), "year": features.year_in_title(title)},
    )
    return screen.finish(table)


def _genres(screen: Screen) -> pa.Array:
    flags = np.stack([screen.rows.table[name].to_numpy() for name in GENRES], axis=1)  # [N, genres] of "0" or "1"
    is_flag = np.isin(flags, ["0", "1"])
    screen.reject(np.asarray(~is_flag.all(axis=1)), Reason.NON_NUMERIC_VALUE)
    return features.flags(flags == "1", GENRES)


def _users(path: Path) -> Screened:
    rows = read_delimited(path, USER_FIELDS, "|")
    screen = Screen(rows)
    ids, age = screen.ids("user"), np.nan_to_num(screen.numbers("age")).astype(np.int64)
    table = users_table(
        ids,
        {
            "age": features.bucket(age, AGE_EDGES, AGE_LABELS),
            "gender": features.single(rows.column("gender")),
            "occupation": features.single(rows.column("occupation")),
            "zip": features.single(pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(rows.column("zip")), 0, 1)),
        },
    )
    return screen.finish(table)


DATASET = Adapter(
    name="ml-100k",
    licence="GroupLens usage licence: research, no redistribution, no commercial use without permission",
    citation=(
        "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
        "ACM TiiS 5, 4, Article 19. doi:10.1145/2827872"
    ),
    origin=ORIGIN,
    options=AdapterOptions,
    read=read,
)
