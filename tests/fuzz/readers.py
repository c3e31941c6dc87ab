"""Every reader of what comes from outside: its files, what it is called with, and the errors that it may raise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.config import ConfigError, FreshnessConfig, LimitsConfig, Settings, load_settings
from assets.ingestion.archive import extract_member
from assets.ingestion.datasets import mapped
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import ingest
from assets.ingestion.landing.batches import read_batch, read_info
from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.landing.intake import ingest_claimed
from assets.ingestion.landing.land import land
from assets.ingestion.landing.partitions import bounds
from assets.ingestion.landing.places import Kind, done_folder, quarantine_folder
from assets.ingestion.limits import within
from assets.ingestion.registry import options_of
from assets.schema import Columns
from assets.storage import Storage

MIB: Final = 1 << 20
LIMITS: Final = LimitsConfig(
    source_bytes=8 * MIB, landed_bytes=8 * MIB, unpacked_bytes=8 * MIB, table_bytes=64 * MIB, rows=1_000_000
)
NOW: Final = datetime(2025, 1, 1)
WALL: Final = bounds("2025-01-01-00")[0]
"""The same instant in microseconds."""
QUARANTINE_SHARE: Final = 0.9
"""Of the rows: a file with some bad ones is read on, for the stages behind screening to see what it leaves."""
READ: Final = "read"


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: of its folder in the corpus.
        names: files that it may be given.
        prepare: ``(root)`` to a function that reads what lies in :attr:`inbox`, raises one of ``refusals``, and returns
            what became of it.
        refusals: errors that the reader documents.
        inbox: folder of a case's files, from the root.
        told: words of which an error has to hold one, beside the names of the files: what says where to look.
        keeps: whether a refusal leaves the data root as it was.
    """

    name: str
    names: tuple[str, ...]
    prepare: Callable[[Path], Callable[[], str]]
    refusals: tuple[type[Exception], ...]
    inbox: str
    told: tuple[str, ...] = ()
    keeps: bool = True


def _dataset(name: str, *files: str, said: str | None = None, **options: Any) -> Reader:
    """A dataset through ingestion's entry; ``name`` is also its folder's."""
    dataset = said or name

    def prepare(root: Path) -> Callable[[], str]:
        settings = Settings(
            dataset=dataset,
            home=root,
            data_dir=root / "local",
            limits=LIMITS,
            datasets={dataset: {"max_quarantine_share": QUARANTINE_SHARE} | options},
        )

        def read() -> str:
            report = ingest(settings, settings.storage, NOW)
            _whole(settings.storage, report.rows)
            return READ

        return read

    return Reader(
        name, files, prepare, (IngestionError,), f"local/{dataset}", (dataset, "text is to be made", "text.columns")
    )


def _whole(storage: Storage, rows: Mapping[str, int]) -> None:
    """What was written is what the report says, ids are there, and times are within what the reader admits."""
    for name, count in rows.items():
        assert pq.read_metadata(storage.raw_table(name)).num_rows == count, name
    needed = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP]
    interactions = pq.ParquetFile(storage.raw_table("interactions")).read(needed, use_threads=False)
    assert interactions.num_rows
    assert not any(interactions[name].null_count for name in needed)
    assert pc.max(interactions[Columns.TIMESTAMP]).as_py() <= NOW


def _mapped(root: Path) -> Callable[[], str]:
    def read() -> str:
        settings = Settings(dataset="own", home=root, data_dir=root / "local", limits=LIMITS)
        report = ingest(settings, settings.storage, NOW)
        _whole(settings.storage, report.rows)
        return READ

    return read


def _config(root: Path) -> Callable[[], str]:
    def read() -> str:
        settings = load_settings({"THAW_CONFIG": str(root / "in" / "thaw.yaml"), "THAW_DATA_DIR": str(root / "local")})
        assert settings.storage.base.parent.name == "data"
        if settings.dataset == "ml-100k":
            options_of(_ml_100k(), settings)
        return READ

    return read


def _ml_100k() -> Any:
    from assets.ingestion.datasets import ml_100k  # noqa: PLC0415 - beside its use

    return ml_100k.DATASET


def _landed_by_hand(kind: str) -> Callable[[Path], Callable[[], str]]:
    def prepare(root: Path) -> Callable[[], str]:
        storage = Storage(root / "data", "toy")

        def read() -> str:
            files = sorted((root / "in").iterdir())
            with within(LIMITS):
                landing = land(storage, files, "day", WALL, kind, QUARANTINE_SHARE)
            for file in landing.files:
                file.path.unlink()
            return READ

        return read

    return prepare


def _dropped(kind: str) -> Callable[[Path], Callable[[], str]]:
    """The whole way of a dropped file: no error at all may come out of it, whatever lies there."""

    def prepare(root: Path) -> Callable[[], str]:
        storage = Storage(root / "data", "toy")
        config = FreshnessConfig(max_quarantine_share=QUARANTINE_SHARE)

        def read() -> str:
            with within(LIMITS):
                claims = claim(storage, config, WALL, 60.0)
                intake = ingest_claimed(storage, config, None, WALL)
            assert not claims.failed, claims.failed
            accounted(storage, len(claims.files), len(claims.quarantined), intake.refused)
            landed = [(batch, read_batch(batch.path)) for batch in intake.batches]
            assert all(read_info(batch.path) == batch and table.num_rows == batch.rows for batch, table in landed)
            reasons = (*claims.quarantined.values(), *intake.refused.values())
            unexpected = [reason for reason in reasons if "failed with" in reason]
            assert not unexpected, unexpected
            return READ if landed else "refused"

        return read

    return prepare


def accounted(storage: Storage, taken: int, quarantined: int, refused: Mapping[str, str]) -> None:
    """Every file that was dropped is claimed or has a reason beside it in the quarantine."""
    still = sum(len(files) for files in claimed(storage).values())
    reasons = list(quarantine_folder(storage).glob("*.reason.txt"))
    assert still == taken - len(refused), (still, taken, refused)
    assert len(reasons) == quarantined + len(refused)
    assert all(path.read_text(encoding="utf-8").strip() for path in reasons)
    assert all(path.with_name(path.name.removesuffix(".reason.txt")).exists() for path in reasons)
    assert not done_folder(storage).exists()


def _archive(root: Path) -> Callable[[], str]:
    def read() -> str:
        (root / "data").mkdir(exist_ok=True)
        with within(LIMITS):
            target = extract_member(root / "in" / "a.zip", "u.data", root / "data" / "u.data", 1 << 16)
        assert target.stat().st_size <= 1 << 16
        target.unlink()
        return READ

    return read


_OWN: Final = tuple(
    f"{table}{ending}" for table in ("interactions", "items", "users") for ending in (".csv", ".parquet")
)
_LANDED: Final = ("a.csv", "a.parquet")

_DATASETS: Final = (
    _dataset("ml-100k", "u.data", "u.item", "u.user"),
    _dataset("ml-1m", "ratings.dat", "movies.dat", "users.dat"),
    _dataset("ml-10m", "ratings.dat", "movies.dat"),
    _dataset("ml-20m", "ratings.csv", "movies.csv"),
    _dataset("movietweetings-100k", "ratings.dat", "movies.dat", "users.dat"),
    _dataset("amazon-beauty", "reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"),
    _dataset("amazon-games", "Video_Games_5.json.gz", "meta_Video_Games.json.gz"),
    _dataset("amazon-books", "ratings_Books.csv"),
    _dataset("book-crossing", "BX-Book-Ratings.csv", "BX-Books.csv", "BX-Users.csv"),
    _dataset("files", *_OWN, "interactions.csv.gz", "interactions-1.csv", "interactions-2.csv"),
    _dataset("text", *_OWN, said="files", text={"columns": ["title", "genre"]}),
)
_OTHERS: Final = (
    Reader(
        "mapping",
        (mapped.MAPPING, "log-1.csv", "log-2.csv", "things.csv"),
        _mapped,
        (ConfigError, IngestionError),
        "local/own",
        ("own", mapped.MAPPING),
    ),
    Reader("config", ("thaw.yaml",), _config, (ConfigError,), "in", ("split.kind", "datasets.")),
    Reader("archive", ("a.zip",), _archive, (IngestionError, FileNotFoundError), "in"),
    Reader("land-engagements", _LANDED, _landed_by_hand(Kind.ENGAGEMENTS), (LandingError,), "in"),
    Reader("land-items", _LANDED, _landed_by_hand(Kind.ITEMS), (LandingError,), "in"),
    Reader("drop-engagements", _LANDED, _dropped(Kind.ENGAGEMENTS), (), "data/toy/landing/engagements", keeps=False),
    Reader("drop-items", _LANDED, _dropped(Kind.ITEMS), (), "data/toy/landing/items", keeps=False),
)

READERS: Final[Mapping[str, Reader]] = {reader.name: reader for reader in (*_DATASETS, *_OTHERS)}
