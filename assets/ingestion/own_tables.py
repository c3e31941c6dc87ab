"""Rows of the user's own files to canonical tables: which column is what, screened row by row."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from assets.ingestion import features, timestamps
from assets.ingestion.adapter import AdapterOptions
from assets.ingestion.content import content_of, with_column
from assets.ingestion.errors import IngestionError
from assets.ingestion.rows import SourceRows, require_columns
from assets.ingestion.tables import interactions_table, items_table, users_table
from assets.ingestion.timestamps import TimestampFormat
from assets.ingestion.validate import Reason, Screen, Screened, absent, is_blank
from assets.schema import ITEM_COLUMNS, USER_COLUMNS, Columns

HOW = "Rename it, or name it in datasets.files.<...>_column of the settings, or in the mapping file"
ITEM_OPTIONS = ("title_column", "created_at_column", "content_column")
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
    content_column: str = Field(Columns.CONTENT, description="lists of numbers, all of one length; Parquet only")
    timestamp_format: TimestampFormat = TimestampFormat.AUTO
    delimiter: str = Field(",", min_length=1, max_length=1, description="of the CSV files")
    list_separator: str = Field("|", min_length=1, description="between the values of one feature")
    encoding: str = Field("utf-8", description="of the CSV files")

    default_event_type: str = Field("engagement", min_length=1, description="of engagements that name none")
    event_values: dict[str, float] = Field(
        default_factory=dict, description="per event type, the value of engagements that have none of their own"
    )
    item_features: tuple[str, ...] | None = Field(None, description="columns of items that are features; none: all")
    user_features: tuple[str, ...] | None = Field(None, description="columns of users that are features; none: all")
    item_columns_left_out: tuple[str, ...] = Field((), description="columns of items that are no features")
    user_columns_left_out: tuple[str, ...] = Field((), description="columns of users that are no features")

    @model_validator(mode="after")
    def _take_or_leave(self) -> Self:
        for kind in ("item", "user"):
            if getattr(self, f"{kind}_features") is not None and getattr(self, f"{kind}_columns_left_out"):
                raise ValueError(f"{kind}_features and {kind}_columns_left_out say the same: give one of them")
        if wrong := [name for name, value in self.event_values.items() if not isfinite(value)]:
            raise ValueError(f"event_values: the value of {wrong[0]} must be a finite number")
        return self

    def chosen(self, option: str) -> tuple[str, ...]:
        """The column that ``option`` names, if the user named it: then it must be there."""
        return (getattr(self, option),) if option in self.model_fields_set else ()


def refuse_misfits(rows: SourceRows, table: str, options: FilesOptions) -> None:
    """Before interactions, items or users are read: their columns are there, and of types that they can have.

    Raises:
        IngestionError: naming the file, the column and what to make of it.
    """
    require_columns(rows, _required(table, options), HOW)
    for name, fits, wanted in _fitting(table, options):
        if name in rows.table.column_names and not fits(kind := rows.table.schema.field(name).type):
            raise IngestionError(f"{rows.file}: column {name} is {kind}; make it {wanted}")


def _required(table: str, options: FilesOptions) -> tuple[str, ...]:
    if table == "interactions":
        named = options.chosen("value_column") + options.chosen("event_type_column")
        return (options.user_column, options.item_column, options.timestamp_column, *named)
    if table == "items":
        return (options.item_column, *(chosen for option in ITEM_OPTIONS for chosen in options.chosen(option)))
    return (options.user_column,)


def _fitting(table: str, options: FilesOptions) -> Sequence[tuple[str, Callable[[pa.DataType], bool], str]]:
    """Columns, what types they can have, and the words for it; ids and content are looked at where they are read."""
    instant = (_may_be_instant, "a timestamp, a number or text")
    if table == "interactions":
        return (
            (options.timestamp_column, *instant),
            (options.value_column, _may_be_number, "a number"),
            (options.event_type_column, _may_be_text, "text"),
        )
    if table == "items":
        return ((options.created_at_column, *instant), (options.title_column, _may_be_text, "text"))
    return ()


def _may_be_text(kind: pa.DataType) -> bool:
    return not pa.types.is_nested(kind)


def _may_be_number(kind: pa.DataType) -> bool:
    return _may_be_text(kind) and not pa.types.is_temporal(kind)


def _may_be_instant(kind: pa.DataType) -> bool:
    return _may_be_number(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def one_line(table: str, options: FilesOptions) -> tuple[str, ...]:
    """Columns of interactions, items or users that cannot hold a line break in CSV, there or not."""
    if table == "items":
        return (options.item_column, options.created_at_column)
    if table == "users":
        return (options.user_column,)
    ids = (options.user_column, options.item_column)
    return (*ids, options.timestamp_column, options.value_column, options.event_type_column)


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
        IngestionError: as :func:`refuse_misfits`; for ids that are neither text nor integers, and an ambiguous
            timestamp format.
    """
    refuse_misfits(rows, "interactions", options)
    screen = Screen(rows)
    columns: dict[str, pa.Array] = {
        Columns.USER: _ids(screen, options.user_column),
        Columns.ITEM: _ids(screen, options.item_column),
        Columns.TIMESTAMP: screen.timestamps(_micros(rows, options.timestamp_column, options), now),
        Columns.EVENT_TYPE: _event_types(rows, options),
        Columns.SOURCE_ROW: rows.source_rows,
    }
    if options.value_column in rows.table.column_names:
        columns[Columns.VALUE] = screen.optional_numbers(options.value_column)
    elif options.event_values:
        columns[Columns.VALUE] = pa.nulls(len(rows), pa.float64())
    if options.event_values:
        columns[Columns.VALUE] = _valued(columns[Columns.VALUE], columns[Columns.EVENT_TYPE], options.event_values)
    return screen.finish(interactions_table(columns))


def _event_types(rows: SourceRows, options: FilesOptions) -> pa.Array:
    if options.event_type_column not in rows.table.column_names:
        return pa.repeat(options.default_event_type, len(rows))
    values = rows.column(options.event_type_column).cast(pa.string())
    blank = is_blank(values)
    return pc.if_else(pa.array(blank), options.default_event_type, values) if blank.any() else values


def _valued(values: pa.Array, events: pa.Array, known: Mapping[str, float]) -> pa.Array:
    """[N] values, those that are null as ``known`` says of their event types [N]."""
    which = pc.index_in(events, pa.array(list(known), pa.string()))
    return pc.coalesce(values, pa.array(list(known.values()), pa.float64()).take(which))


def items(rows: SourceRows | None, options: FilesOptions) -> Screened:
    """Screened items with their features; none without ``rows``.

    Raises:
        IngestionError: as :func:`interactions`, or for a feature name that is taken.
    """
    if rows is None:
        return absent(items_table(pa.array([], pa.string())))
    refuse_misfits(rows, "items", options)
    screen = Screen(rows)
    title, created_at = None, None
    if options.title_column in rows.table.column_names:
        title = rows.column(options.title_column)
    if options.created_at_column in rows.table.column_names:
        empty = is_blank(rows.column(options.created_at_column))
        created_at = screen.optional_timestamps(_micros(rows, options.created_at_column, options), empty)
    base = (options.item_column, *(getattr(options, option) for option in ITEM_OPTIONS))
    table = items_table(
        _ids(screen, options.item_column),
        title,
        created_at,
        _features(rows, base, options, (options.item_features, options.item_columns_left_out)),
    )
    return screen.finish(with_column(table, _content(screen, options)))


def _content(screen: Screen, options: FilesOptions) -> pa.Array | None:
    name = options.content_column
    if name not in screen.rows.table.column_names:
        return None
    content, wrong = content_of(screen.rows.column(name), f"{screen.rows.file}: column {name}")
    screen.reject(wrong, Reason.WRONG_CONTENT)
    return content


def users(rows: SourceRows | None, options: FilesOptions) -> Screened:
    """Screened users with their features; none without ``rows``.

    Raises:
        IngestionError: as :func:`items`.
    """
    if rows is None:
        return absent(users_table(pa.array([], pa.string())))
    refuse_misfits(rows, "users", options)
    screen = Screen(rows)
    ids = _ids(screen, options.user_column)
    return screen.finish(
        users_table(
            ids,
            _features(rows, (options.user_column,), options, (options.user_features, options.user_columns_left_out)),
        )
    )


def _features(
    rows: SourceRows,
    base: tuple[str, ...],
    options: FilesOptions,
    asked: tuple[tuple[str, ...] | None, tuple[str, ...]],
) -> Mapping[str, pa.Array]:
    """Feature columns: those ``asked`` for, or all but the ``base`` and those that are asked to be left out."""
    taken_only, left_out = asked
    require_columns(rows, (*(taken_only or ()), *left_out), "Correct the names of features and of what is left out")
    others = [name for name in rows.table.column_names if name not in (*base, *left_out)]
    names = others if taken_only is None else list(taken_only)
    if both := [name for name in names if name in base]:
        raise IngestionError(f"{rows.file}: column {', '.join(both)} has another use and cannot be a feature too")
    if taken := [name for name in names if name.casefold() in RESERVED]:
        raise IngestionError(f"{rows.file}: column {', '.join(taken)}: Thaw uses that name itself; rename the column")
    return {name: _feature(rows.column(name), options.list_separator) for name in names}


def _feature(values: pa.Array, separator: str) -> pa.Array:
    if pa.types.is_list(values.type):
        return features.without_nulls(values.cast(pa.list_(pa.string())))
    return features.split(values, separator) if pa.types.is_string(values.type) else features.single(values)
