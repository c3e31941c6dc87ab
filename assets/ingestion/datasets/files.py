"""The user's own data: CSV or Parquet files in ``THAW_DATA_DIR/files/``.

``interactions.csv``, ``interactions.csv.gz`` or ``interactions.parquet``, or part files ``interactions-*`` (required)
    One row per engagement. Columns, under these names or the ones that options give: ``user_id``, ``item_id``,
    ``timestamp``, and optionally ``value`` (a number, empty where unknown) and ``event_type`` (text; where it is
    empty or there is no such column, ``engagement``). Further columns are not read.
``items.*`` or ``items-*`` (optional)
    One row per item: ``item_id``, and optionally ``title``, ``created_at`` and, in Parquet, ``content``: a dense vector
    of the item, a list of numbers of one length for all (null: none; see ``docs/content.md``). Every other column is a
    categorical feature; several values are separated by ``|`` (``Action|Crime``), or are a list column in Parquet.
``users.*`` or ``users-*`` (optional)
    One row per user: ``user_id``; every other column is a categorical feature, as above.

CSV: a header line, one delimiter, double quotes around fields that hold it. Ids are kept as text exactly as written
(in Parquet they may be integers). Texts may hold line breaks, within quotes; lines that a stray quote swallowed are set
aside. A row number in an error or in the quarantine counts the header as row 1 in CSV; in
Parquet the first row is 1.

Timestamps, by option ``timestamp_format``: ``iso8601`` (without an offset they are UTC), ``epoch_seconds``,
``epoch_milliseconds``; time types in Parquet are taken as they are. ``auto``, the default, takes text as ISO 8601 and
numbers as the unit in which all of them lie after 1973; it refuses numbers for which that does not decide.

Options are keys of ``datasets.files`` in the settings file, see :class:`FilesOptions`; ``docs/files.md`` has examples.
A mapping file makes any folder of ``THAW_DATA_DIR`` a dataset (:mod:`assets.ingestion.datasets.mapped`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.ingestion import own_tables, timestamps
from assets.ingestion.adapter import Adapter
from assets.ingestion.errors import IngestionError
from assets.ingestion.origins import OwnFiles
from assets.ingestion.own_files import named, read_blocks, read_whole
from assets.ingestion.own_tables import FilesOptions
from assets.ingestion.rows import SourceRows
from assets.ingestion.tables import RawTables
from assets.ingestion.threads import in_threads
from assets.ingestion.timestamps import TimestampFormat
from assets.ingestion.validate import Screened, gather_parts
from assets.schema import Columns

NAMES = ("interactions", "items", "users")
SUFFIXES = ("csv", "csv.gz", "parquet")


@dataclass(frozen=True)
class Source:
    """Files that hold one table, and how they are written."""

    paths: Sequence[Path]
    options: FilesOptions


def read(folder: Path, options: FilesOptions, now: datetime) -> RawTables:
    """Read the files of ``folder``.

    Raises:
        IngestionError: for a missing file or column, both formats of one table, an unusable column type, an
            ambiguous timestamp format, a feature name that is taken, or what :mod:`assets.ingestion.rows` refuses.
    """
    found = [Source(named(folder, name), options) for name in NAMES]
    if not found[0].paths:
        raise IngestionError(f"interactions.csv or interactions.parquet: missing from {folder}; put one there")
    return read_sources(found, now)


def read_sources(sources: Sequence[Source], now: datetime) -> RawTables:
    """Raw tables from the files of interactions, items and users, in this order; items and users may have none.

    Raises:
        IngestionError: as :func:`read`.
    """
    interactions, items, users = sources
    return gather_parts(
        _interactions(interactions, now),
        _of_one_length(_parts("items", items, own_tables.items)),
        _parts("users", users, own_tables.users),
    )


def _interactions(source: Source, now: datetime) -> list[Screened]:
    """Screened blocks; how timestamps are written is found out from all of them."""
    options = source.options
    how = (options.delimiter, options.encoding, options.list_separator)
    blocks = read_blocks(source.paths, *how, own_tables.one_line("interactions", options))
    for rows in blocks:
        own_tables.refuse_misfits(rows, "interactions", options)
    options = _with_form(blocks, options.timestamp_column, options)
    # Each block is let go of when it was screened: its text is as large as the table made of it.
    return in_threads(lambda rows: own_tables.interactions(rows, options, now), _emptied(blocks))


def _with_form(blocks: Sequence[SourceRows], column: str, options: FilesOptions) -> FilesOptions:
    """``options`` with the form of timestamps that all blocks agree on, where the user named none."""
    if options.timestamp_format is not TimestampFormat.AUTO:
        return options
    shown = in_threads(lambda rows: timestamps.evidence(rows.column(column)), blocks)
    form = timestamps.form_of(shown, f"{blocks[0].file}, column {column}")
    return options.model_copy(update={"timestamp_format": form})


def _emptied(blocks: list[SourceRows]) -> Iterator[SourceRows]:
    blocks.reverse()
    while blocks:
        yield blocks.pop()


def _parts(table: str, source: Source, screen: Callable[[SourceRows | None, FilesOptions], Screened]) -> list[Screened]:
    """Screened files of items or users, whose columns have to be the same."""
    options = source.options
    how = (options.delimiter, options.encoding, options.list_separator)
    parts = [read_whole(path, *how, own_tables.one_line(table, options)) for path in source.paths]
    for rows in parts[1:]:
        if rows.table.column_names != parts[0].table.column_names:
            raise IngestionError(
                f"{rows.file}: its columns are {', '.join(rows.table.column_names)}, those of {parts[0].file} "
                f"{', '.join(parts[0].table.column_names)}; parts of one table have the same columns"
            )
    for rows in parts:
        own_tables.refuse_misfits(rows, table, options)
    if parts and options.created_at_column in parts[0].table.column_names:
        options = _with_form(parts, options.created_at_column, options)
    return [screen(rows, options) for rows in parts] or [screen(None, options)]


def _of_one_length(parts: list[Screened]) -> list[Screened]:
    """Parts of items whose content has one length over all files."""
    lengths = {part.file: length for part in parts if (length := _content_length(part.table))}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length} in {file}" for file, length in lengths.items())
        raise IngestionError(f"content vectors have different lengths: {said}; make them of one length")
    return parts


def _content_length(items: pa.Table) -> int:
    if Columns.CONTENT not in items.column_names:
        return 0
    return int(pc.max(pc.list_value_length(items[Columns.CONTENT])).as_py() or 0)


DATASET = Adapter(
    name="files",
    licence="the user's own data",
    citation="none",
    origin=OwnFiles(NAMES, SUFFIXES),
    options=FilesOptions,
    read=read,
)
