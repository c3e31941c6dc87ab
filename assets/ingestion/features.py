"""Builders of categorical feature columns: ``list<string>`` arrays, an empty list where nothing is known."""

import html
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def single(values: pa.Array) -> pa.Array:
    """[N] strings to [N] lists of at most one value; null and blank give the empty list."""
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    known = pc.fill_null(pc.not_equal(text, ""), False)
    return _lists(known.to_numpy(zero_copy_only=False).astype(np.int64), text.filter(known))


def split(values: pa.Array, separator: str) -> pa.Array:
    """[N] strings like ``Action|Crime`` to [N] lists, trimmed, without blanks; null gives the empty list."""
    parts = pc.split_pattern(pc.fill_null(values.cast(pa.string()), ""), separator)
    return _known(pc.list_parent_indices(parts), pc.list_flatten(parts), len(parts))


def without_nulls(lists: pa.Array) -> pa.Array:
    """[N] lists of strings with blank and null values left out; a null list becomes the empty one."""
    filled = pc.fill_null(lists, pa.scalar([], pa.list_(pa.string())))
    return _known(pc.list_parent_indices(filled), pc.list_flatten(filled), len(filled))


def flags(matrix: NDArray[np.bool_], names: Sequence[str]) -> pa.Array:
    """[N, len(names)] flags to [N] lists of the names whose flag is set."""
    chosen = np.nonzero(matrix)[1]
    return _lists(matrix.sum(axis=1), pa.array(names, pa.string()).take(pa.array(chosen)))


def year_in_title(title: pa.Array) -> pa.Array:
    """[N] titles like ``Two Friends (1986)`` to [N] lists with the last year in parentheses, if there is one."""
    found = pc.extract_regex(pc.fill_null(title, ""), r"^.*\((?P<year>\d{4})\)")
    return single(pc.struct_field(found, "year"))


def bucket(numbers: NDArray[np.int64], edges: Sequence[int], labels: Sequence[str]) -> pa.Array:
    """[N] numbers to [N] one-value lists: ``labels[i]`` where ``edges[i - 1] <= number < edges[i]``."""
    return single(pa.array(labels, pa.string()).take(pa.array(np.searchsorted(edges, numbers, side="right"))))


def grouped(owners: pa.Array, values: pa.Array, rows: int) -> pa.Array:
    """[rows] lists of ``values`` [E], trimmed, without blanks and nulls; ``owners`` [E], ascending, are their rows."""
    return _known(owners, values, rows)


def unescaped(values: pa.Array) -> pa.Array:
    """[N] texts without HTML entities: ``&amp;`` is ``&``; only the texts that hold one are looked at singly."""
    text = values.cast(pa.string())
    held = pc.fill_null(pc.match_substring(text, "&"), False)
    if not pc.any(held).as_py():
        return text
    plain = pa.array([html.unescape(one) for one in text.filter(held).to_pylist()], pa.string())
    return pc.replace_with_mask(text, held, plain)


def _known(parents: pa.Array, values: pa.Array, rows: int) -> pa.Array:
    """[rows] lists of those ``values`` that are neither null nor blank, trimmed; ``parents`` are their rows."""
    text = pc.utf8_trim_whitespace(values)
    known = pc.fill_null(pc.not_equal(text, ""), False)
    return _lists(np.bincount(parents.filter(known).to_numpy(), minlength=rows), text.filter(known))


def _lists(lengths: NDArray[np.int64], values: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
