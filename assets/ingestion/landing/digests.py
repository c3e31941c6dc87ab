"""A 64-bit digest per interaction: what tells a repetition from a new row, whatever file either came in.

Two rows have one digest where user, item, timestamp, event type and value are the same. That two different rows share
one is possible and rare: among 10^8 rows the chance of a single such pair is 3 in 10,000.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.util import hash_array

from assets.ingestion.tables import INSTANT
from assets.schema import Columns

Digests = NDArray[np.uint64]

LANDED_ROWS: Final = 1 << 62
"""Source rows of landed interactions start here, behind every row of the dataset's own source."""

_MULTIPLIERS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_NO_VALUE: Final = np.uint64(0xD6E8FEB86659FD93)


def row_digests(table: pa.Table) -> Digests:
    """[E] uint64 digests of interactions.

    Args:
        table: E rows with user_id, item_id, timestamp, event_type and value; further columns do not count. Ids may be
            dictionary-encoded. A value that is null, NaN or not there is no value; minus zero is zero.
    """
    digest = np.zeros(table.num_rows, np.uint64)
    for column in _columns(table):
        digest = _mixed(digest * _STEP + column)
    return digest


def digests_of_arrays(columns: Mapping[str, Any]) -> Digests:
    """[E] uint64 digests of interactions given as numpy arrays [E] per column; see :func:`row_digests`."""
    return row_digests(pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}))


def landed_source_rows(digests: Digests) -> NDArray[np.int64]:
    """[E] source rows in [2**62, 2**63): the order of equal timestamps must not depend on what arrived first."""
    return (digests >> np.uint64(2)).astype(np.int64) + LANDED_ROWS


def _columns(table: pa.Table) -> list[Digests]:
    return [
        _texts(table[Columns.USER]),
        _texts(table[Columns.ITEM]),
        _instants(table[Columns.TIMESTAMP]),
        _texts(table[Columns.EVENT_TYPE]),
        _values(table[Columns.VALUE]) if Columns.VALUE in table.column_names else _no_values(table.num_rows),
    ]


def _texts(column: pa.ChunkedArray) -> Digests:
    """Each distinct text is hashed once; null is the empty text."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    distinct = np.array([*_filled(encoded.dictionary.cast(pa.string()), "").to_pylist(), ""], dtype=object)
    at = _filled(encoded.indices.cast(pa.int64()), len(distinct) - 1).to_numpy(zero_copy_only=False)
    return hash_array(distinct, categorize=False)[at]


def _instants(column: pa.ChunkedArray) -> Digests:
    micros = column.combine_chunks().cast(INSTANT).cast(pa.int64())
    return _filled(micros, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)


def _values(column: pa.ChunkedArray) -> Digests:
    values = _filled(column.combine_chunks().cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(values), _NO_VALUE, (values + 0.0).view(np.uint64))


def _filled(column: pa.Array, value: object) -> pa.Array:
    """``column`` with ``value`` for its nulls; most have none."""
    return pc.fill_null(column, value) if column.null_count else column


def _no_values(rows: int) -> Digests:
    return np.full(rows, _NO_VALUE)


def _mixed(digest: Digests) -> Digests:
    """The finalizer of splitmix64: every bit of the input moves about half the bits of the output."""
    digest = (digest ^ (digest >> np.uint64(30))) * np.uint64(_MULTIPLIERS[0])
    digest = (digest ^ (digest >> np.uint64(27))) * np.uint64(_MULTIPLIERS[1])
    return digest ^ (digest >> np.uint64(31))
