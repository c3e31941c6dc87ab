"""Dense content of items: one vector of numbers each, from a column of the user's or made of text.

Raw items have the column ``content`` (``list<float>``) only where some item has content. All vectors have one length;
an item without content is null. A vector's numbers are finite.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from assets.config import StrictModel
from assets.ingestion.encoders import Encoder, HashingEncoder, is_blank
from assets.ingestion.errors import IngestionError
from assets.ingestion.tables import RawTables
from assets.schema import Columns

CONTENT = pa.list_(pa.float32())


class TextOptions(StrictModel):
    """Item columns that are text, and what makes vectors of it."""

    columns: tuple[str, ...] = Field(
        (Columns.TITLE,), min_length=1, description="of items, joined in this order: title, or any feature column"
    )
    keep: tuple[str, ...] = Field(
        (), description="columns that stay categorical features too; the others, but for title, are text alone"
    )
    encoder: Encoder = HashingEncoder()

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "TextOptions":
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("text.columns names a column twice")
        if unknown := [name for name in self.keep if name not in self.columns or name == Columns.TITLE]:
            raise ValueError(f"text.keep: {unknown[0]} is not a feature among text.columns (title always stays)")
        return self


def with_text_content(raw: RawTables, text: TextOptions | None) -> RawTables:
    """``raw`` with the content that ``text`` makes; as it is without ``text``.

    Raises:
        IngestionError: as :func:`with_text`.
    """
    return raw if text is None else replace(raw, items=with_text(raw.items, text))


def with_text(items: pa.Table, text: TextOptions, optional: bool = False) -> pa.Table:
    """Items with content made of their text; columns that are text alone are gone.

    Args:
        items: canonical items.
        optional: whether columns may be missing, as in a file that lands.

    Raises:
        IngestionError: naming the column, for one that is not there, or when items have content already.
    """
    missing = [name for name in text.columns if name not in items.column_names]
    if missing and not optional:
        features = [name for name in items.column_names if name not in (Columns.ITEM, Columns.CREATED_AT)]
        raise IngestionError(f"text.columns: items have no column {missing[0]!r}; they have {', '.join(features)}")
    if Columns.CONTENT in items.column_names:
        raise IngestionError("items have a column content and text is to be made into another: take one of them")
    parts = [_as_text(items[name]) for name in text.columns if name in items.column_names]
    content = encoded(_joined(parts, items.num_rows), text)
    gone = [name for name in text.columns if name in items.column_names and name not in (*text.keep, Columns.TITLE)]
    return with_column(items.drop_columns(gone), content)


def encoded(texts: pa.Array, text: TextOptions) -> pa.Array:
    """[N] vectors of texts [N] as ``list<float>``; null where there is nothing to encode. Equal texts cost one."""
    known = ~is_blank(texts)
    distinct = texts.filter(pa.array(known)).dictionary_encode()
    vectors = np.zeros((0, 0), np.float32) if not known.any() else text.encoder.encode(distinct.dictionary)
    which = np.zeros(len(texts), np.int64)
    which[known] = distinct.indices.to_numpy(zero_copy_only=False)
    return as_lists(vectors[which[known]], known)


def as_lists(vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> pa.Array:
    """[N] lists: the rows of ``vectors`` [n, C] at the n places that are ``known`` [N], null elsewhere."""
    ends = np.cumsum(known) * (vectors.shape[1] if vectors.ndim == 2 else 0)
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32()), mask=pa.array(~known))


def with_column(items: pa.Table, content: pa.Array | None) -> pa.Table:
    """Items with ``content`` behind their base columns; as they are where it holds nothing."""
    if content is None or content.null_count == len(content):
        return items
    at = items.schema.get_field_index(Columns.CREATED_AT) + 1
    return items.add_column(at, pa.field(Columns.CONTENT, CONTENT), content)


def content_of(values: pa.Array, where: str) -> tuple[pa.Array, NDArray[np.bool_]]:
    """[N] content of a column of the user's, null where it is wrong, and [N] whether it is wrong.

    Right is what has the length that most rows have, and only finite numbers. An empty list is no content.

    Raises:
        IngestionError: naming the column, when it holds anything but lists of numbers.
    """
    if values.null_count == len(values):
        return pa.nulls(len(values), CONTENT), np.zeros(len(values), np.bool_)
    if not is_lists_of_numbers(values.type):
        raise IngestionError(
            f"{where} is {values.type}; content is a list of numbers, which only Parquet holds. Name the column with"
            " content_column, rename this one, or give text to text.columns under another name"
        )
    lists = values.cast(CONTENT, safe=False)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = pc.list_flatten(lists)  # nothing of null rows
    finite = np.isfinite(pc.fill_null(flat, np.nan).to_numpy(zero_copy_only=False))
    unfinished = np.bincount(np.repeat(np.arange(len(lists)), lengths)[~finite], minlength=len(lists)) > 0
    counts = np.bincount(lengths[lengths > 0]) if lengths.any() else np.zeros(1, np.int64)
    wrong = (lengths > 0) & ((lengths != counts.argmax()) | unfinished)
    known = (lengths > 0) & ~wrong
    vectors = flat.to_numpy(zero_copy_only=False)[np.repeat(known, lengths)]
    width = int(counts.argmax()) if known.any() else 0
    return as_lists(vectors.reshape(int(known.sum()), width), known), wrong


def of_one_length(items: pa.Table, first: pa.Table) -> pa.Table:
    """Items whose content has the length of that in ``first``, where that has any; other content becomes null.

    What landed before another encoder was chosen is of another length: those items count as items without content.
    """
    if Columns.CONTENT not in items.column_names:
        return items
    content = items[Columns.CONTENT].combine_chunks().cast(CONTENT)
    lengths = pc.list_value_length(content)
    wanted = lengths
    if Columns.CONTENT in first.column_names and first[Columns.CONTENT].null_count < first.num_rows:
        wanted = pc.list_value_length(first[Columns.CONTENT].combine_chunks())
    longest = pc.mode(wanted)[0]["mode"] if wanted.null_count < len(wanted) else None
    kept = pc.fill_null(pc.equal(lengths, longest), False).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(content.filter(pa.array(kept))).to_numpy(zero_copy_only=False)
    column = as_lists(flat.reshape(int(kept.sum()), -1 if kept.any() else 0), kept)
    return items.set_column(items.schema.get_field_index(Columns.CONTENT), pa.field(Columns.CONTENT, CONTENT), column)


def is_lists_of_numbers(kind: pa.DataType) -> bool:
    """Whether a column of that type may be content: whole numbers may be features as well."""
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _as_text(values: pa.ChunkedArray) -> pa.Array:
    flat = values.combine_chunks()
    if pa.types.is_list(flat.type):
        flat = pc.binary_join(flat.cast(pa.list_(pa.string())), " ")
    return pc.fill_null(flat.cast(pa.string()), "")


def _joined(parts: list[pa.Array], rows: int) -> pa.Array:
    if not parts:
        return pa.nulls(rows, pa.string())
    joined: pa.Array = pc.binary_join_element_wise(*parts, " ")
    return joined
