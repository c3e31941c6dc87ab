"""Tiny datasets in the exact official layouts, and settings that read them."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from assets.config import Settings

NOW = datetime(2025, 1, 1)
FLAGS = "|0" * 19

ML_DATA = "1\t10\t5\t881250949\n2\t10\t3\t891717742\n1\t20\t1\t878887116\n3\t20\t4\t878887116\n"
ML_ITEM = (
    "10|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "20|Misérables, Les (1995)|14-Feb-1996||http://us.imdb.com/x|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"
    "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "30|Nosferatu (1922)|01-Jan-1922||http://us.imdb.com/y|0|0|0|0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0\n"
)
ML_USER = "1|24|M|technician|85711\n2|53|F|other|94043\n3|7|M|student|T8H1N\n"

MT_RATINGS = "1::1074638::7::1365029107\n1::0002844::8::1366576639\n2::0002844::8::1364690142\n"
MT_MOVIES = (
    "0002844::Fantômas - À l'ombre de la guillotine (1913)::Crime|Drama\n"
    "1074638::Skyfall (2012)::Action|Adventure|Thriller\n"
    "0099999::Nothing Known (1990)::\n"
)
MT_USERS = "1::18405182\n2::31260677\n"


def write(folder: Path, files: Mapping[str, str | bytes], encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    return folder


def ml_100k(folder: Path, **changed: str | bytes) -> Path:
    """Official files; ``data``, ``item`` and ``user`` replace one."""
    files = {"u.data": ML_DATA, "u.item": ML_ITEM, "u.user": ML_USER}
    return write(folder, files | {f"u.{name}": content for name, content in changed.items()}, "latin-1")


def movietweetings(folder: Path, **changed: str | bytes) -> Path:
    """Official files; ``ratings``, ``movies`` and ``users`` replace one."""
    files = {"ratings.dat": MT_RATINGS, "movies.dat": MT_MOVIES, "users.dat": MT_USERS}
    return write(folder, files | {f"{name}.dat": content for name, content in changed.items()})


def settings(root: Path, dataset: str, **options: Any) -> Settings:
    """Settings with ``root`` as home and ``root/local`` as the folder of local copies."""
    return Settings(dataset=dataset, home=root, data_dir=root / "local", datasets={dataset: options} if options else {})
