"""Which rows of a table come first of their kind: exact comparison, of the few rows that a hash cannot tell apart.

Measured on 10 million interactions, two cores: 1.9 s of CPU when DuckDB hashes the rows and the hashes are sorted, 7 s
when Arrow groups by all columns. The result is the same, whatever the hash.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.transforms.sql import identifiers

SMALL: Final = 1 << 17
"""Rows up to which a grouping alone is as fast."""


def first_rows(keys: pa.Table) -> NDArray[np.bool_]:
    """[N] whether no earlier row of ``keys`` holds the same values; null is a value like any other."""
    if keys.num_rows <= SMALL:
        return _first_by_grouping(keys)
    alike = _alike(_hashes(keys))
    first = np.ones(keys.num_rows, np.bool_)
    if alike.any():
        first[alike] = _first_by_grouping(keys.filter(pa.array(alike)))
    return first


def _first_by_grouping(keys: pa.Table) -> NDArray[np.bool_]:
    position = pa.array(np.arange(keys.num_rows))
    grouped = keys.append_column("__position", position).group_by(keys.column_names)
    first = np.zeros(keys.num_rows, np.bool_)
    first[grouped.aggregate([("__position", "min")])["__position_min"].to_numpy()] = True
    return first


def _hashes(keys: pa.Table) -> NDArray[np.uint64]:
    """[N] hashes in the order of the rows: equal rows have equal ones."""
    import duckdb  # noqa: PLC0415 - 0.1 s, which small tables do without

    with duckdb.connect(":memory:") as connection:
        connection.execute("SET preserve_insertion_order = true")
        connection.register("keys", keys)
        hashes: NDArray[np.uint64] = connection.sql(
            f"SELECT hash({identifiers(keys.column_names)}) AS h FROM keys"
        ).fetchnumpy()["h"]
    return hashes


def _alike(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """[N] whether another row has the same hash."""
    ascending = np.sort(hashes)
    repeated = ascending[1:][ascending[1:] == ascending[:-1]]
    if not len(repeated):
        return np.zeros(len(hashes), np.bool_)
    return pc.is_in(pa.array(hashes), pa.array(repeated)).to_numpy(zero_copy_only=False)
