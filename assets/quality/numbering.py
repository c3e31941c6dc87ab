"""Ids as numbers in the order of their texts: every distinct text is looked at once per row group, not once per row."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING = -1
"""The number of an id that is not there."""


def encoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as dictionaries of texts."""
    if pa.types.is_dictionary(values.type) and values.type.value_type == pa.string():
        return values
    return values.cast(pa.string()).dictionary_encode()


class Universe:
    """Every id of encoded columns, in order.

    Args:
        known: most of the ids; those are looked up instead of made distinct.
        columns: all that is to be numbered.

    Attributes:
        ids: [N] the texts.
    """

    def __init__(self, known: pa.ChunkedArray, columns: Sequence[pa.ChunkedArray]) -> None:
        dictionaries = {_identity(chunk.dictionary): chunk.dictionary for column in columns for chunk in column.chunks}
        texts = pa.chunked_array(list(dictionaries.values()), pa.string())
        self.ids = _in_order(known)
        places = pc.index_in(texts, self.ids)
        strangers = texts.filter(pc.is_null(places)).drop_null()
        if len(strangers):
            self.ids = _in_order(pa.chunked_array([self.ids, *strangers.chunks], pa.string()))
            places = pc.index_in(texts, self.ids)
        found = pc.fill_null(places, MISSING).to_numpy()
        ends = np.cumsum([len(one) for one in dictionaries.values()], dtype=np.int64)
        self._places = dict(zip(dictionaries, np.split(found, ends[:-1]), strict=True)) if len(ends) else {}

    def numbers(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """[E] the places of the ids of one of the columns; :data:`MISSING` for a missing one."""
        parts = [
            pc.fill_null(pa.array(self._places[_identity(chunk.dictionary)], pa.int32()).take(chunk.indices), MISSING)
            for chunk in column.chunks
        ]
        return pa.chunked_array(parts, pa.int32())


def _identity(texts: pa.Array) -> tuple[int, ...]:
    """Equal for the dictionaries that chunks share."""
    return (texts.offset, len(texts), *(0 if one is None else one.address for one in texts.buffers()))


def _in_order(values: pa.ChunkedArray) -> pa.Array:
    """The distinct texts in order; what is so already is only looked at."""
    held = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not held.null_count and (len(held) < 2 or pc.all(pc.less(held[:-1], held[1:])).as_py()):
        return held
    found = pc.unique(held).drop_null()
    return found.take(pc.sort_indices(found))
