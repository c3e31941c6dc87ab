"""Amazon reviews of any category, 2014 and 2018, in their official layouts, as ``amazon-<category>``.

2014 (http://jmcauley.ucsd.edu/data/amazon/): ``reviews_<Category>_5.json.gz`` or ``reviews_<Category>.json.gz``, one
JSON object a line; ``meta_<Category>.json.gz``, one Python dictionary with single quotes a line;
``ratings_<Category>.csv``, ``user,item,rating,epoch seconds`` without a header.
2018 (https://nijianmo.github.io/amazon/): ``<Category>_5.json.gz`` or ``<Category>.json.gz``;
``meta_<Category>.json.gz``, JSON; ``<Category>.csv``, ``item,user,rating,epoch seconds``.

The category in the dataset's name is that of the file in lower case with dashes: ``amazon-all-beauty`` is
``All_Beauty``, ``amazon-toys-and-games`` is ``Toys_and_Games``; ``amazon-games`` is ``Video_Games`` and
``amazon-amazon-fashion`` is ``AMAZON_FASHION``. The first of the files above that lies in
``THAW_DATA_DIR/amazon-<category>/`` is read, reviews before ratings; metadata where they are there. Upper and lower
case of the files' names make no difference. Without that folder the 2014 5-core and its metadata are downloaded.
Neither release publishes checksums.

Features of items, from metadata alone: brand, category (the path from the second level on) and the bucket of the price.
``created_at`` is null. Nothing is known of users.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion import features
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.errors import IngestionError
from assets.ingestion.json_lines import lines_of, python_object, read_json_lines, read_object_lines
from assets.ingestion.origins import Located, Published, Remote, SourceFile
from assets.ingestion.ratings import rating_table
from assets.ingestion.rows import SourceRows, read_delimited
from assets.ingestion.tables import RawTables, drop_duplicates, items_table, users_table
from assets.ingestion.validate import Screen, Screened, absent, gather, to_numbers
from assets.runs import places_in_runs
from assets.storage import file_digest

PREFIX: Final = "amazon-"
SHORT: Final = {
    "games": "Video_Games",
    "movies": "Movies_and_TV",
    "cds": "CDs_and_Vinyl",
    "sports": "Sports_and_Outdoors",
    "amazon-fashion": "AMAZON_FASHION",
}
"""Categories by the names that papers use, and those whose files are not named by the rule."""
SMALL_WORDS: Final = ("and", "for")
ACRONYMS: Final = {"tv": "TV", "cds": "CDs"}
ADDRESS: Final = "http://snap.stanford.edu/data/amazon/productGraph/categoryFiles"

REVIEW: Final = pa.schema(
    [("reviewerID", pa.string()), ("asin", pa.string()), ("overall", pa.float64()), ("unixReviewTime", pa.int64())]
)
TEXTS: Final = pa.list_(pa.string())
META_2014: Final = pa.schema(
    [
        ("asin", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("price", pa.string()),
        ("categories", pa.list_(TEXTS)),
    ]
)
META_2018: Final = pa.schema(
    [
        ("asin", pa.string()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("price", pa.string()),
        ("category", TEXTS),
    ]
)
PRICES: Final = (5, 10, 20, 50, 100, 200)
PRICE_LABELS: Final = ("under 5", "5-9", "10-19", "20-49", "50-99", "100-199", "200+")
"""US dollars."""


def official(category: str) -> str:
    """The category as files have it: ``toys-and-games`` is ``Toys_and_Games``."""
    if category in SHORT:
        return SHORT[category]
    words = [ACRONYMS.get(word, word if word in SMALL_WORDS else word.capitalize()) for word in category.split("-")]
    return "_".join(words)


@dataclass(frozen=True)
class AmazonOrigin:
    """The user's official files of one category, of either release, or else a download of the 2014 5-core.

    Attributes:
        category: as files have it.
    """

    category: str

    @property
    def interactions(self) -> tuple[str, ...]:
        """Names of files with reviews or ratings, in the order of preference."""
        name = self.category
        reviews = (f"reviews_{name}_5", f"reviews_{name}", f"{name}_5", name)
        zipped = [f"{review}.json{suffix}" for review in reviews for suffix in (".gz", "")]
        return (*zipped, f"ratings_{name}.csv", f"{name}.csv")

    @property
    def meta(self) -> tuple[str, ...]:
        """Names of files with metadata."""
        return (f"meta_{self.category}.json.gz", f"meta_{self.category}.json")

    @property
    def published(self) -> Published:
        """What is downloaded."""
        names = (f"reviews_{self.category}_5.json.gz", f"meta_{self.category}.json.gz")
        return Published(tuple(Remote(f"{ADDRESS}/{name}", None, (SourceFile(name),)) for name in names))

    def locate(self, name: str, data_dir: Path | None, cache: Path) -> Located:
        """See :class:`assets.ingestion.origins.Origin`.

        Raises:
            IngestionError: also when two files differ in upper and lower case only.
        """
        folder = None if data_dir is None else data_dir / name
        if folder is None or not folder.is_dir():
            return self.published.locate(name, data_dir, cache)
        chosen = [path for path in (first(folder, self.interactions), first(folder, self.meta)) if path is not None]
        return Located(folder, "local copy", {path.name: file_digest(path) for path in chosen})


def first(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the files that is there, in upper or lower case: a category's files are not all written alike.

    Raises:
        IngestionError: when two files have that name but for upper and lower case.
    """
    held: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.is_file():
            held.setdefault(path.name.lower(), []).append(path)
    found = next((held[name.lower()] for name in names if name.lower() in held), [])
    if len(found) > 1:
        same = " and ".join(path.name for path in found)
        raise IngestionError(f"{folder}: {same} differ in upper and lower case only; leave the one to read there")
    return found[0] if found else None


def read(category: str, folder: Path, now: datetime) -> RawTables:
    """Read reviews or ratings, and metadata where there are any.

    Args:
        category: as files have it.

    Raises:
        IngestionError: when ``folder`` holds no reviews and no ratings of the category, or two files whose names differ
            in upper and lower case only.
    """
    origin = AmazonOrigin(category)
    path = first(folder, origin.interactions)
    if path is None:
        wanted = ", ".join(origin.interactions[::2])
        raise IngestionError(f"{folder} holds no reviews or ratings of {category}; put one of {wanted} there")
    rows = _ratings(path) if path.suffix.lower() == ".csv" else _reviews(path)
    return gather(
        rating_table(rows, now), _items(first(folder, origin.meta)), absent(users_table(pa.array([], pa.string())))
    )


def _ratings(path: Path) -> SourceRows:
    who = ("user", "item") if path.name.lower().startswith("ratings_") else ("item", "user")
    return read_delimited(path, (*who, "rating", "timestamp"), ",")


def _reviews(path: Path) -> SourceRows:
    rows = read_json_lines(path, REVIEW)
    names = {"reviewerID": "user", "asin": "item", "overall": "rating", "unixReviewTime": "timestamp"}
    table = rows.table.rename_columns([names[name] for name in rows.table.column_names])
    return SourceRows(rows.file, table, rows.numbers, rows.separator, rows.set_aside)


def _items(path: Path | None) -> Screened:
    if path is None:
        return absent(items_table(pa.array([], pa.string())))
    rows, category = _meta(path)
    screen = Screen(rows)
    known = {
        "brand": features.single(features.unescaped(rows.column("brand"))),
        "category": category,
        "price": _price_bucket(rows.column("price")),
    }
    return screen.finish(items_table(screen.ids("asin"), features.unescaped(rows.column("title")), features=known))


def _meta(path: Path) -> tuple[SourceRows, pa.Array]:
    """Rows of metadata of either release, and [N] lists of categories, those of the first level left out."""
    if _is_python(path):
        rows = read_object_lines(path, META_2014, python_object)
        paths = rows.column("categories")
        flat = pc.list_flatten(paths)  # a product may stand in several places
        names = _below_the_first(flat, pc.list_parent_indices(paths))
    else:
        rows = read_json_lines(path, META_2018)
        paths = rows.column("category")
        names = _below_the_first(paths, pa.array(np.arange(len(rows))))
    return rows, features.grouped(*names, len(rows))


def _is_python(path: Path) -> bool:
    """Whether the first line is a Python dictionary with single quotes, which 2014's metadata are."""
    return next(lines_of(path), "").lstrip().startswith("{'")


def _below_the_first(paths: pa.Array, owners: pa.Array) -> tuple[pa.Array, pa.Array]:
    """For [P] paths of categories: [E] owners and [E] names of all levels but the first, each once per owner."""
    lengths = pc.fill_null(pc.list_value_length(paths), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = features.unescaped(pc.list_flatten(paths))
    level = places_in_runs(lengths)
    owner = np.repeat(owners.to_numpy(), lengths)
    deep = level > 0
    table = pa.table({"owner": owner[deep], "name": flat.filter(pa.array(deep))})
    kept, _ = drop_duplicates(table, ["owner", "name"])
    return kept["owner"].combine_chunks(), kept["name"].combine_chunks()


def _price_bucket(prices: pa.Array) -> pa.Array:
    """[N] lists of the bucket of the first amount in texts like ``$1,299.00 - $1,500.00``; the empty one for others."""
    found = pc.extract_regex(pc.fill_null(prices, ""), r"^\s*\$?\s*(?P<amount>\d[\d,]*(?:\.\d+)?)")
    amount = to_numbers(pc.replace_substring(pc.struct_field(found, "amount"), ",", ""))
    bucket = features.bucket(np.nan_to_num(amount).astype(np.int64), PRICES, PRICE_LABELS)
    return pc.if_else(pa.array(np.isfinite(amount)), bucket, pa.scalar([], bucket.type))


def dataset(name: str) -> Adapter[AdapterOptions]:
    """The adapter of ``amazon-<category>``, whatever the category."""
    category = official(name.removeprefix(PREFIX))

    def read_category(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
        del options  # the layout leaves no choice
        return read(category, folder, now)

    return Adapter(
        name=name,
        licence="no licence is stated; published for research, cite the papers",
        citation=(
            "2014: Ruining He and Julian McAuley. 2016. Ups and Downs: Modeling the Visual Evolution of Fashion Trends"
            " with One-Class Collaborative Filtering. WWW '16. 2018: Jianmo Ni, Jiacheng Li and Julian McAuley. 2019."
            " Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects. EMNLP '19"
        ),
        origin=AmazonOrigin(category),
        options=AdapterOptions,
        read=read_category,
    )


NAMED: Final = tuple(dataset(f"{PREFIX}{category}") for category in ("beauty", "games", "books"))
"""Categories of the papers; any other is made by :func:`dataset` when it is asked for."""
