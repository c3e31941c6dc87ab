"""A made-up world of engagements, written in every dataset's official layout with the dirt that the dataset has.

Small enough for the whole graph, large enough that every split has something in every part of it.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.assets.ingestion.layouts import write

Ints = NDArray[np.int64]

DAY: Final = 86_400
DAYS: Final = 60
START: Final = 975_628_800
"""2000-12-01, a midnight in UTC; every layout's engagements start there."""


@dataclass(frozen=True)
class World:
    """Engagements in order of time: user and item from 1, epoch seconds, rating 1 to 5; every pair once.

    Attributes:
        user, item, time, rating: [N].
    """

    user: Ints
    item: Ints
    time: Ints
    rating: Ints

    def __len__(self) -> int:
        return len(self.user)

    @property
    def items(self) -> list[int]:
        """Ids in order, one more than anybody engaged with."""
        return list(range(1, int(self.item.max()) + 2))

    @property
    def users(self) -> list[int]:
        return list(range(1, int(self.user.max()) + 1))


def world(engagements: int = 700, users: int = 40, items: int = 70, seed: int = 0) -> World:
    """Popular items draw more, a third of the items join during the last half, users come and go."""
    generator = np.random.default_rng(seed)
    time = START + np.sort(generator.integers(0, DAYS * DAY, engagements))
    born = np.where(np.arange(items) % 3 == 0, np.linspace(0.3, 0.9, items), 0.0) * DAYS * DAY + START
    weight = 1.0 / (1 + np.arange(items)) ** 0.8
    seen: set[tuple[int, int]] = set()
    rows = []
    for instant in time:
        alive = np.where(born <= instant, weight, 0.0)
        pair = int(generator.integers(1, users + 1)), int(generator.choice(items, p=alive / alive.sum())) + 1
        if pair not in seen:
            seen.add(pair)
            rows.append((*pair, int(instant), int(generator.integers(1, 6))))
    return World(*np.array(rows, np.int64).T)


GENRES: Final = ("Drama", "Comedy|Romance", "Action|Sci-Fi", "Children's")


def _title(item: int) -> str:
    return f"Misérables, Les {item} ({1950 + item % 50})"


def _shuffled(made: World) -> list[tuple[int, int, int, int]]:
    """(user, item, rating, time) in no order, as most files are."""
    rows = list(zip(*(each.tolist() for each in (made.user, made.item, made.rating, made.time)), strict=True))
    return [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]


def ml_100k(folder: Path, made: World) -> Path:
    """Tab-separated ratings in random order; an item called unknown without dates; a Canadian zip code."""
    flags = ["|".join(str(int(place == item % 19)) for place in range(19)) for item in made.items]
    items = [
        f"{item}|{_title(item)}|01-Jan-1995||http://us.imdb.com/x|{flags[place]}"
        for place, item in enumerate(made.items[:-1])
    ]
    items.append(f"{made.items[-1]}|unknown||||1|{'|'.join('0' * 18)}")
    users = [
        f"{user}|{10 + user}|{'MF'[user % 2]}|student|{'T8H1N' if user % 7 == 0 else '94043'}" for user in made.users
    ]
    ratings = ["\t".join(map(str, row)) for row in _shuffled(made)]
    return write(folder, {"u.data": _lines(ratings), "u.item": _lines(items), "u.user": _lines(users)}, "latin-1")


def _lines(rows: list[str], end: str = "\n") -> str:
    return "".join(row + end for row in rows)


def _dat(made: World, item: Callable[[int], str] = str, scale: float = 1.0) -> str:
    return _lines([f"{user}::{item(one)}::{rating * scale:g}::{time}" for user, one, rating, time in _shuffled(made)])


def _movies_dat(made: World, item: Callable[[int], str] = str) -> str:
    return _lines([f"{item(one)}::{_title(one)}::{GENRES[one % len(GENRES)]}" for one in made.items])


def ml_1m(folder: Path, made: World) -> Path:
    """Latin-1, two colons, codes of age and occupation, a nine-digit zip code."""
    users = [f"{user}::{'MF'[user % 2]}::{(1, 18, 25)[user % 3]}::{user % 21}::55117-1234" for user in made.users]
    files = {"ratings.dat": _dat(made), "movies.dat": _movies_dat(made), "users.dat": _lines(users)}
    return write(folder, files, "latin-1")


def ml_10m(folder: Path, made: World) -> Path:
    """UTF-8, half stars, no users; a title that holds the separator is set aside."""
    broken = _movies_dat(made) + "9999::A :: B (1990)::Drama\n"
    return write(folder, {"ratings.dat": _dat(made, scale=0.5), "movies.dat": broken})


def ml_csv(folder: Path, made: World) -> Path:
    """Comma-separated with header, half stars; quoted titles, films without genres."""
    ratings = [f"{user},{item},{rating / 2:g},{time}" for user, item, rating, time in _shuffled(made)]
    movies = [
        f'{item},"{_title(item)}",{"(no genres listed)" if item % 9 == 0 else GENRES[item % len(GENRES)]}'
        for item in made.items
    ]
    files = {
        "ratings.csv": _lines(["userId,movieId,rating,timestamp", *ratings]),
        "movies.csv": _lines(["movieId,title,genres", *movies]),
    }
    return write(folder, files)


def movietweetings(folder: Path, made: World) -> Path:
    """Item ids with leading zeros, ratings of 0 to 10, films without genres, Twitter ids that nobody may keep."""
    movies = _lines([f"{item:07d}::{_title(item)}::{GENRES[0] if item % 5 else ''}" for item in made.items])
    users = _lines([f"{user}::{18_405_182 + user}" for user in made.users])
    files = {"ratings.dat": _dat(made, "{:07d}".format, 2.0), "movies.dat": movies, "users.dat": users}
    return write(folder, files)


def _asin(item: int) -> str:
    return f"B{item:09d}"


def _reviewer(user: int) -> str:
    return f"A{user:012d}"


def amazon_2014(folder: Path, made: World) -> Path:
    """Gzipped JSON lines and metadata as Python dictionaries; times are days; a torn line in each."""
    reviews = [
        json.dumps(
            {
                "reviewerID": _reviewer(user),
                "asin": _asin(item),
                "overall": float(rating),
                "unixReviewTime": time // DAY * DAY,
                "helpful": [0, 1],
                "reviewText": 'It\'s "fine"',
            }
        )
        for user, item, rating, time in _shuffled(made)
    ]
    meta = [
        repr(
            {
                "asin": _asin(item),
                "title": f"Kid's {item}",
                "price": item * 1.5,
                "categories": [["Beauty", f"C{item % 4}"]],
            }
        )
        for item in made.items
    ]
    return write(
        folder,
        {
            "reviews_Beauty_5.json.gz": gzip.compress(_lines([*reviews, reviews[0][:30]]).encode(), mtime=0),
            "meta_Beauty.json.gz": gzip.compress(_lines([*meta, meta[0][:20]]).encode(), mtime=0),
        },
    )


def amazon_2018(folder: Path, made: World) -> Path:
    """Gzipped JSON lines and JSON metadata; prices that are ranges or style sheets; reviews that are repeated."""
    reviews = [
        json.dumps(
            {"overall": float(rating), "reviewerID": _reviewer(user), "asin": _asin(item), "unixReviewTime": time}
        )
        for user, item, rating, time in _shuffled(made)
    ]
    prices = ("$1,299.00 - $1,500.00", ".a-box{}", "$3.49")
    meta = [
        json.dumps({"asin": _asin(item), "title": f"T &amp; {item}", "brand": f"b{item % 6}", "price": prices[item % 3],
                    "category": ["Video Games", f"C{item % 4}"]})
        for item in made.items
    ]  # fmt: skip
    return write(
        folder,
        {
            "Video_Games_5.json.gz": gzip.compress(_lines([*reviews, *reviews[:5]]).encode(), mtime=0),
            "meta_Video_Games.json.gz": gzip.compress(_lines(meta).encode(), mtime=0),
        },
    )


def amazon_ratings(folder: Path, made: World) -> Path:
    """The ratings alone, without header and without metadata: nothing is known of items."""
    rows = [f"{_reviewer(user)},{_asin(item)},{rating}.0,{time}" for user, item, rating, time in _shuffled(made)]
    return write(folder, {"ratings_Books.csv": _lines(rows)})


def book_crossing(folder: Path, made: World) -> Path:
    """Latin-1, semicolons, every field quoted; zeros for no rating, escaped quotes, torn titles, no times."""
    ratings = [f'"{user}";"{item:010d}";"{rating if rating > 2 else 0}"' for user, item, rating, _ in _shuffled(made)]
    books = [
        f'"{item:010d}";"The \\"{_title(item)}\\" &amp; Co";"Author {item % 11}";"{item % 8 and 1990 + item % 9}"'
        f';"P{item % 5}";"s";"m";"l"'
        for item in made.items
    ]
    torn = '"078946697X";"How It All Began (Level 4)\\";Michael Teitelbaum";"2000";"DK";"s";"m";"l"'
    users = [f'"{user}";"tyler, texas, usa";{"NULL" if user % 3 else 244 if user % 2 else 30}' for user in made.users]
    head = (
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"'
    )
    files = {
        "BX-Book-Ratings.csv": _lines(['"User-ID";"ISBN";"Book-Rating"', *ratings], "\r\n"),
        "BX-Books.csv": _lines([head, *books, torn], "\r\n"),
        "BX-Users.csv": _lines(['"User-ID";"Location";"Age"', *users], "\r\n"),
    }
    return write(folder, files, "latin-1")


def own_files(folder: Path, made: World) -> Path:
    """CSV of the user's own with a feature of items, event types, and a row without an item."""
    rows = [
        f"u{user},i{item},{time},{rating},{'click' if rating < 3 else 'buy'}"
        for user, item, rating, time in _shuffled(made)
    ]
    rows.append(f"u1,,{START},1,click")
    items = [f"i{item},{GENRES[item % len(GENRES)]}" for item in made.items]
    files = {
        "interactions.csv": _lines(["user_id,item_id,timestamp,value,event_type", *rows]),
        "items.csv": _lines(["item_id,genre", *items]),
    }
    return write(folder, files)


LAYOUTS: Final[Mapping[str, Callable[[Path, World], Path]]] = {
    "ml-100k": ml_100k,
    "ml-1m": ml_1m,
    "ml-10m": ml_10m,
    "ml-20m": ml_csv,
    "ml-latest-small": ml_csv,
    "movietweetings": movietweetings,
    "movietweetings-100k": movietweetings,
    "amazon-beauty": amazon_2014,
    "amazon-games": amazon_2018,
    "amazon-books": amazon_ratings,
    "book-crossing": book_crossing,
    "files": own_files,
}
"""Dataset -> its files written into a folder. Amazon's three releases are under one category each."""


def put(data_dir: Path, dataset: str, made: World | None = None) -> Path:
    """Write ``dataset``'s files where ``THAW_DATA_DIR`` = ``data_dir`` holds them."""
    return LAYOUTS[dataset](data_dir / dataset, made or world())
