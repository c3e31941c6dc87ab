"""Who and what was removed: written before anything else is done about it, and honoured by everything that reads rows.

live/removed.json {"users": [...], "items": [...]}
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.schema import Columns
from assets.storage import Storage, locked, write_json


@dataclass(frozen=True)
class Removed:
    """Ids of users that asked to be forgotten and of items that were taken down."""

    users: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.users or self.items)

    def keeps(self, table: pa.Table) -> NDArray[np.bool_]:
        """[N] whether each row names nobody and nothing removed; by the id columns that ``table`` has."""
        kept = np.ones(table.num_rows, np.bool_)
        for column, ids in ((Columns.USER, self.users), (Columns.ITEM, self.items)):
            if ids and column in table.column_names:
                gone = pc.is_in(table[column].cast(pa.string()), pa.array(sorted(ids), pa.string()))
                kept &= ~gone.to_numpy()
        return kept


def removed_path(storage: Storage) -> Path:
    """The file that holds them."""
    return storage.live / "removed.json"


def read_removed(storage: Storage) -> Removed:
    """Everything removed so far.

    Raises:
        ValueError: when the file is not what :func:`add_removed` writes: guessing would bring back what was removed.
    """
    path = removed_path(storage)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Removed(frozenset(map(str, content["users"])), frozenset(map(str, content["items"])))
    except FileNotFoundError:
        return Removed()
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: expected {{"users": [...], "items": [...]}} ({error}); restore it') from error


def add_removed(storage: Storage, users: Iterable[str] = (), items: Iterable[str] = ()) -> Removed:
    """Add ids, in one rename, and return everything removed.

    Raises:
        ValueError: for what is no id: no text at all, or one that UTF-8 cannot say. On record it would fail every
            writer from now on.
    """
    users, items = frozenset(map(_checked, users)), frozenset(map(_checked, items))
    path = removed_path(storage)
    with locked(path.with_suffix(".lock")):
        known = read_removed(storage)
        both = Removed(known.users | users, known.items | items)
        if both != known:
            write_json(path, {"users": sorted(both.users), "items": sorted(both.items)})
    return both


def _checked(each: str) -> str:
    try:
        whole = each.encode() != b""
    except UnicodeEncodeError:
        whole = False
    if not whole:
        raise ValueError(f"{each!r} is not the id of any user or item: nothing was removed")
    return each
