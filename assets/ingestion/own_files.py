"""Which of the files in a folder of the user's hold a table: by name, in part files, or by a pattern."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from assets.ingestion.blocks import read_csv_blocks
from assets.ingestion.errors import IngestionError
from assets.ingestion.parquet_rows import read_parquet_blocks, read_parquet_rows
from assets.ingestion.rows import SourceRows, read_csv
from assets.storage import encodable

SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")
PARTIAL: Final = ".partial-"
"""In the names of files that a killed writer left (:func:`assets.storage.atomic_path`)."""


def kind_of(path: Path) -> str | None:
    """The known ending of a file's name; none of another."""
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def named(folder: Path, name: str) -> list[Path]:
    """The files of table ``name``: one called like it, or its part files ``<name>-*``, by name.

    Raises:
        IngestionError: for files of more than one way to hold the table, or a name that is no text.
    """
    single = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    parts = _files(folder.glob(f"{name}-*"))
    _refuse_no_text(parts, folder)
    if len(single) > 1 or (single and parts):
        raise IngestionError(f"{', '.join(path.name for path in (*single, *parts))}: keep one of them in {folder}")
    return single or _of_one_kind(parts, folder)


def matching(folder: Path, patterns: Sequence[str], key: str) -> list[Path]:
    """The files of ``folder``, and of nowhere else, that match any of ``patterns``, by name.

    Args:
        key: of the mapping, for messages.

    Raises:
        IngestionError: for a pattern that leaves the folder or matches no file, a link out of it, a name that is no
            text, or an ending that Thaw does not read.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if not pattern or Path(pattern).name != pattern or "\\" in pattern or "**" in pattern:
            raise IngestionError(f"{key}: {pattern!r} must be a name or a pattern of files in {folder} itself")
        files = {path for path in folder.glob(pattern) if path.is_file() and PARTIAL not in path.name}
        if not files:
            raise IngestionError(f"{key}: no file in {folder} is called {pattern!r}; correct it or put the file there")
        found |= files
    _refuse_no_text(found, folder)
    for path in sorted(found):
        if path.resolve().parent != folder.resolve():
            raise IngestionError(f"{key}: {path.name} is a link out of {folder}; put the file itself there")
        if kind_of(path) is None:
            raise IngestionError(f"{key}: {path.name} must end in {', '.join(SUFFIXES)}")
    return _of_one_kind(sorted(found), folder)


def _files(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file() and kind_of(path) is not None and PARTIAL not in path.name)


def _refuse_no_text(paths: Iterable[Path], folder: Path) -> None:
    """Files are named in JSON and in tables."""
    if wrong := sorted(encodable(path.name) for path in paths if encodable(path.name) != path.name):
        raise IngestionError(f"{', '.join(wrong)}: has a name that is no UTF-8; rename it in {folder}")


def _of_one_kind(parts: list[Path], folder: Path) -> list[Path]:
    if len({kind_of(path) == ".parquet" for path in parts}) > 1:
        raise IngestionError(f"{', '.join(path.name for path in parts)}: keep CSV or Parquet of them in {folder}")
    return parts


def read_whole(path: Path, delimiter: str, encoding: str, separator: str, one_line: Collection[str] = ()) -> SourceRows:
    """Rows of one file, CSV or Parquet.

    Args:
        one_line: columns that can hold no line break in CSV.

    Raises:
        IngestionError: for what cannot be read.
    """
    if kind_of(path) == ".parquet":
        return read_parquet_rows(path, separator)
    return read_csv(path, delimiter, encoding, one_line=one_line)


def read_blocks(
    paths: Sequence[Path], delimiter: str, encoding: str, separator: str, one_line: Collection[str] = ()
) -> list[SourceRows]:
    """Rows of the part files of one table in blocks; their source rows count on from file to file.

    Args:
        one_line: columns that can hold no line break in CSV.

    Raises:
        IngestionError: for what cannot be read.
    """
    blocks: list[SourceRows] = []
    before = 0
    for path in paths:
        if kind_of(path) == ".parquet":
            part = read_parquet_blocks(path, separator)
        else:
            part = read_csv_blocks(path, delimiter, encoding, one_line)
        blocks += [replace(block, before=before) for block in part]
        before += _last_record(part)
    return blocks


def _last_record(blocks: Sequence[SourceRows]) -> int:
    numbers = [column for block in blocks for column in (block.numbers, block.set_aside["row"]) if len(column)]
    return max((column[-1].as_py() for column in numbers), default=0)
