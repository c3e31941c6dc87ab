"""The user's own data: CSV or Parquet files in ``THAW_DATA_DIR/files/``.

``interactions.csv`` or ``interactions.parquet`` (required)
    One row per engagement. Columns, under these names or the ones that options give: ``user_id``, ``item_id``,
    ``timestamp``, and optionally ``value`` (a number, empty where unknown) and ``event_type`` (text; where it is
    empty or there is no such column, ``engagement``). Further columns are not read.
``items.csv`` or ``items.parquet`` (optional)
    One row per item: ``item_id``, and optionally ``title`` and ``created_at``. Every other column is a categorical
    feature; several values are separated by ``|`` (``Action|Crime``), or are a list column in Parquet.
``users.csv`` or ``users.parquet`` (optional)
    One row per user: ``user_id``; every other column is a categorical feature, as above.

CSV: a header line, one delimiter, double quotes around fields that hold it. Ids are kept as text exactly as written
(in Parquet they may be integers). A row number in an error or in the quarantine counts the header as row 1 in CSV; in
Parquet the first row is 1.

Timestamps, by option ``timestamp_format``: ``iso8601`` (without an offset they are UTC), ``epoch_seconds``,
``epoch_milliseconds``; time types in Parquet are taken as they are. ``auto``, the default, takes text as ISO 8601 and
numbers as the unit in which all of them lie after 1973; it refuses numbers for which that does not decide.

Options are keys of ``datasets.files`` in the settings file, see :class:`FilesOptions`.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from assets.ingestion import features, timestamps
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.errors import IngestionError
from assets.ingestion.origins import OwnFiles
from assets.ingestion.rows import SourceRows, read_csv, refuse_repeated_names, require_columns
from assets.ingestion.tables import QUARANTINE_SCHEMA, RawTables, interactions_table, items_table, users_table
from assets.ingestion.timestamps import TimestampFormat
from assets.ingestion.validate import Screen, Screened, absent, gather, is_blank
from assets.schema import ITEM_COLUMNS, USER_COLUMNS, Columns

NAMES = ("interactions", "items", "users")
SUFFIXES = ("csv", "parquet")
EVENT_TYPE = "engagement"  # of rows that name none
HOW = "Rename it, or name it in datasets.files.<...>_column of the settings"
# Columns that later tables add to items and users: a feature of that name would be overwritten.
RESERVED = {*ITEM_COLUMNS, *USER_COLUMNS}


class FilesOptions(AdapterOptions):
    """How the user's columns are called and written."""

    user_column: str = Columns.USER
    item_column: str = Columns.ITEM
    timestamp_column: str = Columns.TIMESTAMP
    value_column: str = Columns.VALUE
    event_type_column: str = Columns.EVENT_TYPE
    title_column: str = Columns.TITLE
    created_at_column: str = Columns.CREATED_AT
    timestamp_format: TimestampFormat = TimestampFormat.AUTO
    delimiter: str = Field(",", min_length=1, max_length=1, description="of the CSV files")
    list_separator: str = Field("|", min_length=1, description="between the values of one feature")
    encoding: str = Field("utf-8", description="of the CSV files")

    def chosen(self, option: str) -> tuple[str, ...]:
        """The column that ``option`` names, if the user named it: then it must be there."""
        return (getattr(self, option),) if option in self.model_fields_set else ()


def read(folder: Path, options: FilesOptions, now: datetime) -> RawTables:
    """Read the files of ``folder``.

    Raises:
        IngestionError: for a missing file or column, both formats of one table, an unusable column type, an
            ambiguous timestamp format, a feature name that is taken, or what :mod:`assets.ingestion.rows` refuses.
    """
    rows = _rows(folder, "interactions", options)
    if rows is None:
        raise IngestionError(f"interactions.csv or interactions.parquet: missing from {folder}; put one there")
    return gather(
        interactions(rows, options, now),
        items(_rows(folder, "items", options), options),
        _users(_rows(folder, "users", options), options),
    )


def _rows(folder: Path, name: str, options: FilesOptions) -> SourceRows | None:
    present = [path for path in (folder / f"{name}.{suffix}" for suffix in SUFFIXES) if path.is_file()]
    if len(present) > 1:
        raise IngestionError(f"{', '.join(path.name for path in present)}: keep one of them in {folder}")
    if not present:
        return None
    if present[0].suffix == ".csv":
        return read_csv(present[0], options.delimiter, options.encoding)
    return read_parquet_rows(present[0], options.list_separator)


def read_parquet_rows(path: Path, separator: str) -> SourceRows:
    """Rows of a Parquet file, columns in plain types.

    Raises:
        IngestionError: when it is not readable, has a column twice or one of a type that no column can have.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise IngestionError(f"{path.name}: not a readable Parquet file: {error}") from error
    refuse_repeated_names(path.name, table.column_names)
    plain = {name: _plain(path.name, name, table[name].combine_chunks()) for name in table.column_names}
    numbers = pa.array(np.arange(1, table.num_rows + 1))
    return SourceRows(path.name, pa.table(plain), numbers, separator, QUARANTINE_SCHEMA.empty_table())


def _plain(file: str, name: str, values: pa.Array) -> pa.Array:
    """Dictionary-encoded and large types as plain ones; types that no column can have are refused."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_large_string(kind) or pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not _is_scalar(kind.value_type):
            raise IngestionError(f"{file}: column {name} is {kind}; make it a list of strings")
        return values.cast(pa.list_(pa.string()))
    if not _is_scalar(kind):
        raise IngestionError(f"{file}: column {name} is {kind}; make it text, a number, a timestamp or a list of text")
    return values


def _is_scalar(kind: pa.DataType) -> bool:
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return is_time or is_text or is_number or pa.types.is_boolean(kind)


def _ids(screen: Screen, column: str) -> pa.Array:
    kind = screen.rows.table.schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind)):
        raise IngestionError(f"{screen.rows.file}: column {column} is {kind}; ids must be text or integers")
    return screen.ids(column)


def _micros(rows: SourceRows, column: str, options: FilesOptions) -> timestamps.Micros:
    return timestamps.parse(rows.column(column), options.timestamp_format, f"{rows.file}, column {column}")


def interactions(rows: SourceRows, options: FilesOptions, now: datetime) -> Screened:
    """Screened interactions.

    Raises:
        IngestionError: for a missing column, ids that are neither text nor integers, an ambiguous timestamp format.
    """
    required = (options.user_column, options.item_column, options.timestamp_column)
    optional = options.chosen("value_column") + options.chosen("event_type_column")
    require_columns(rows, required + optional, HOW)
    screen = Screen(rows)
    columns: dict[str, pa.Array] = {
        Columns.USER: _ids(screen, options.user_column),
        Columns.ITEM: _ids(screen, options.item_column),
        Columns.TIMESTAMP: screen.timestamps(_micros(rows, options.timestamp_column, options), now),
        Columns.EVENT_TYPE: pa.array(np.full(len(rows), EVENT_TYPE)),
        Columns.SOURCE_ROW: rows.numbers,
    }
    if options.value_column in rows.table.column_names:
        columns[Columns.VALUE] = screen.optional_numbers(options.value_column)
    if options.event_type_column in rows.table.column_names:
        columns[Columns.EVENT_TYPE] = _event_types(rows.column(options.event_type_column))
    return screen.finish(interactions_table(columns))


def _event_types(values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(is_blank(values)), EVENT_TYPE, values.cast(pa.string()))


def items(rows: SourceRows | None, options: FilesOptions) -> Screened:
    """Screened items with their features; none without ``rows``.

    Raises:
        IngestionError: as :func:`interactions`, or for a feature name that is taken.
    """
    if rows is None:
        return absent(items_table(pa.array([], pa.string())))
    optional = options.chosen("title_column") + options.chosen("created_at_column")
    require_columns(rows, (options.item_column, *optional), HOW)
    screen = Screen(rows)
    title, created_at = None, None
    if options.title_column in rows.table.column_names:
        title = rows.column(options.title_column)
    if options.created_at_column in rows.table.column_names:
        empty = is_blank(rows.column(options.created_at_column))
        created_at = screen.optional_timestamps(_micros(rows, options.created_at_column, options), empty)
    base = (options.item_column, options.title_column, options.created_at_column)
    table = items_table(_ids(screen, options.item_column), title, created_at, _features(rows, base, options))
    return screen.finish(table)


def _users(rows: SourceRows | None, options: FilesOptions) -> Screened:
    if rows is None:
        return absent(users_table(pa.array([], pa.string())))
    require_columns(rows, (options.user_column,), HOW)
    screen = Screen(rows)
    ids = _ids(screen, options.user_column)
    return screen.finish(users_table(ids, _features(rows, (options.user_column,), options)))


def _features(rows: SourceRows, base: tuple[str, ...], options: FilesOptions) -> Mapping[str, pa.Array]:
    names = [name for name in rows.table.column_names if name not in base]
    if taken := [name for name in names if name.casefold() in RESERVED]:
        raise IngestionError(f"{rows.file}: column {', '.join(taken)}: Thaw uses that name itself; rename the column")
    return {name: _feature(rows.column(name), options.list_separator) for name in names}


def _feature(values: pa.Array, separator: str) -> pa.Array:
    if pa.types.is_list(values.type):
        return features.without_nulls(values)
    return features.split(values, separator) if pa.types.is_string(values.type) else features.single(values)


DATASET = Adapter(
    name="files",
    licence="the user's own data",
    citation="none",
    origin=OwnFiles(NAMES, SUFFIXES),
    options=FilesOptions,
    read=read,
)
