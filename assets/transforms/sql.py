"""What goes into a SQL text that is no constant: values as literals, names as quoted identifiers.

Wherever DuckDB takes parameters, give it parameters; paths of ``read_parquet`` and names of columns are none. A test
walks the code and refuses any other expression in a text of SQL.
"""

from collections.abc import Iterable


def quoted(value: object) -> str:
    """A text as a SQL literal: ``O'Hara`` becomes ``'O''Hara'``.

    Raises:
        ValueError: for a NUL, at which some readers of SQL end.
    """
    return "'" + _whole(str(value)).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name of a table or column in double quotes; those that it holds are doubled.

    Raises:
        ValueError: for a NUL or no name at all.
    """
    if not name:
        raise ValueError("a name in SQL cannot be empty")
    return '"' + _whole(name).replace('"', '""') + '"'


def identifiers(names: Iterable[str]) -> str:
    """Names, separated by commas."""
    return ", ".join(map(identifier, names))


def _whole(text: str) -> str:
    if "\x00" in text:
        raise ValueError(f"{text!r} has a NUL and cannot be part of SQL")
    return text
