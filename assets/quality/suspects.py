"""Of a large table, the few rows that Great Expectations has to see: all among which any that breaks something is.

DuckDB counts them in one pass over the Parquet file. What it looks for may be too much, never too little: whether a
suspect breaks an expectation is for Great Expectations to say. Of ten million engagements on which all is right there
are none, and what took 40 s takes 4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.row_conditions import ComparisonCondition, Operator
from numpy.typing import NDArray

from assets.transforms.sql import identifier, quoted

Rows = NDArray[np.int64]
NONE: Final[Rows] = np.empty(0, np.int64)

MOST: Final = 100_000
"""Suspects of one expectation that are looked at; of more, the first ones are."""

ROW: Final = "file_row_number"
_TRUTH: Final = {Operator.EQUAL: "is not distinct from", Operator.NOT_EQUAL: "is distinct from"}


class UnknownToDuckDBError(Exception):
    """An expectation whose suspects SQL cannot tell, or a table without what it reads."""


def scan(path: Path) -> str:
    """A Parquet file's rows, numbered, in SQL."""
    return f"read_parquet({quoted(path)}, file_row_number = true)"


def literal(value: Any) -> str:
    """A value in SQL.

    Raises:
        UnknownToDuckDBError: for one of another type than text, number, truth or time.
    """
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat(sep=' ')}'"
    if isinstance(value, bool | int | float):
        return repr(value).lower()
    raise UnknownToDuckDBError(f"{value!r} has no place in SQL")


def _between(one: Any) -> str:
    column = identifier(one.column)
    sides = [
        f"{column} {sign} {literal(limit)}"
        for sign, limit in (("<", one.min_value), (">", one.max_value))
        if limit is not None
    ]
    return f"({' or '.join(sides)})" if sides else "false"


def _in(one: Any) -> str:
    return f"{identifier(one.column)} in ({', '.join(map(literal, one.value_set))})"


_PREDICATES: Final[dict[type[Expectation], Callable[[Any], str]]] = {
    gxe.ExpectColumnValuesToNotBeNull: lambda one: f"{identifier(one.column)} is null",
    gxe.ExpectColumnValuesToBeNull: lambda one: f"{identifier(one.column)} is not null",
    gxe.ExpectColumnValuesToBeBetween: _between,
    gxe.ExpectColumnValuesToBeInSet: lambda one: f"not {_in(one)}",
    gxe.ExpectColumnValuesToNotBeInSet: _in,
    gxe.ExpectColumnValuesToBeOfType: lambda one: f"{identifier(one.column)} is null and false",
    gxe.ExpectColumnToExist: lambda one: f"{identifier(one.column)} is null and false",
    gxe.ExpectTableRowCountToBeBetween: lambda _: "false",
}
"""Kind of expectation -> SQL of the rows that break it; those of a type are about the column as a whole."""

_UNIQUE: Final = (gxe.ExpectColumnValuesToBeUnique, gxe.ExpectCompoundColumnsToBeUnique)


def predicate(expectation: Expectation) -> str:
    """SQL of an expectation's suspects.

    Raises:
        UnknownToDuckDBError: for a kind of expectation that is not known here.
    """
    kind = type(expectation)
    if kind not in _PREDICATES:
        raise UnknownToDuckDBError(f"no SQL of {kind.__name__}")
    return f"({_PREDICATES[kind](expectation)} and {condition(expectation)})"


def condition(expectation: Expectation) -> str:
    """SQL of the rows that an expectation is about.

    Raises:
        UnknownToDuckDBError: for a condition that is not known here.
    """
    asked = getattr(expectation, "row_condition", None)
    if asked is None:
        return "true"
    if not isinstance(asked, ComparisonCondition) or asked.operator not in _TRUTH:
        raise UnknownToDuckDBError(f"no SQL of {asked!r}")
    return f"({identifier(asked.column.name)} {_TRUTH[asked.operator]} {literal(asked.parameter)})"


@dataclass
class Found:
    """What was found of one expectation.

    Attributes:
        count: of suspects.
        rows: of those the first :data:`MOST`, ascending.
        about: rows that the expectation is about.
        present: of those the rows whose column has a value; counted where there are suspects.
    """

    count: int
    rows: Rows
    about: int
    present: int


def find(
    connection: duckdb.DuckDBPyConnection, path: Path, expectations: Sequence[Expectation], false: Mapping[str, Rows]
) -> list[Found]:
    """The suspects of each expectation of a suite.

    Args:
        connection: to any database.
        path: the table's file.
        expectations: the suite.
        false: column added to the table -> ascending rows at which it is false.

    Raises:
        UnknownToDuckDBError: for a suite that has an expectation of an unknown kind.
        duckdb.Error: for a table that lacks a column or has it in a type that cannot be compared.
    """
    others = (*_UNIQUE, gxe.ExpectColumnDistinctValuesToContainSet)
    told = [one for one in expectations if not isinstance(one, others) and column_of(one) not in false]
    sums = [f"count(*) filter ({part})" for one in told for part in (predicate(one), condition(one))]
    total, *counted = _rows(connection, f"select {', '.join(['count(*)', *sums])} from {scan(path)}")[0]
    counts = {id(one): counted[2 * place : 2 * place + 2] for place, one in enumerate(told)}
    return [
        _found(connection, path, one, *counts[id(one)])
        if id(one) in counts
        else _other(connection, path, one, total, false)
        for one in expectations
    ]


def _found(connection: duckdb.DuckDBPyConnection, path: Path, one: Expectation, count: int, about: int) -> Found:
    where, column = condition(one), column_of(one)
    if not count or not column:
        return Found(0, NONE, about, about)
    ((present,),) = _rows(connection, f"select count({identifier(column)}) from {scan(path)} where {where}")
    sql = f"select {ROW} from {scan(path)} where {predicate(one)} order by {ROW} limit {MOST}"
    return Found(count, _numbers(connection, sql), about, present)


def _other(
    connection: duckdb.DuckDBPyConnection, path: Path, one: Expectation, total: int, false: Mapping[str, Rows]
) -> Found:
    """The suspects of what is no question of one row by itself, or was answered already."""
    column = column_of(one)
    if column in false:
        return Found(len(false[column]), false[column][:MOST], total, total)
    if isinstance(one, gxe.ExpectColumnDistinctValuesToContainSet):
        sql = f"select min({ROW}) from {scan(path)} group by {identifier(column)} limit {MOST}"
        return Found(0, _numbers(connection, sql), total, total)
    columns = getattr(one, "column_list", None) or [column]
    rows = _repeated(connection, path, columns)
    present = total
    if column:
        ((present,),) = _rows(connection, f"select count({identifier(column)}) from {scan(path)}")
    return Found(len(rows), rows[:MOST], total, present)


def _repeated(connection: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str]) -> Rows:
    """Rows whose values stand elsewhere too, told by hashes; a single missing value stands nowhere else."""
    held = f"hash({', '.join(map(identifier, columns))})"
    if len(columns) == 1:
        held = f"case when {identifier(columns[0])} is null then hash({ROW}, 'missing') else {held} end"
    rows = connection.execute(f"select {held} as held, {ROW} as row from {scan(path)}").fetchnumpy()
    hashes = np.asarray(rows["held"])
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return NONE
    return np.sort(np.asarray(rows["row"])[np.isin(hashes, twice)]).astype(np.int64)


def column_of(one: Expectation) -> str:
    """The one column that an expectation is about; empty where it is about several or none."""
    return str(getattr(one, "column", None) or "")


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def _numbers(connection: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    return np.sort(np.array([row for (row,) in _rows(connection, sql)], np.int64))
