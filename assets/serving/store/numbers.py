"""Numbers of items: small keys for what is read and written most."""

import json
from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from assets.schema import Columns
from assets.serving.store.interface import Reader, Table, Writer
from assets.serving.store.meta import ITEMS, get_meta, put_meta
from assets.serving.store.records import id_keys, number_keys
from assets.stream import Int

UNKNOWN = -1
"""Stands for the number of an item that has none."""


def numbers_for(reader: Reader, item_ids: Sequence[str]) -> Int:
    """[n] numbers of items, :data:`UNKNOWN` where there is none."""
    values = reader.get_many(Table.NUMBERS, id_keys(item_ids))
    unknown = (2**32 - 1).to_bytes(4, "big")
    numbers = np.frombuffer(b"".join(unknown if value is None else value for value in values), ">u4").astype(np.int64)
    return np.where(numbers == 2**32 - 1, UNKNOWN, numbers)


def assign_numbers(writer: Writer, item_ids: Sequence[str]) -> tuple[Int, NDArray[np.bool_]]:
    """[n] numbers of distinct items, and [n] whether each is new: those get the next numbers, in the order given.

    A new item has details that hold its id alone; whoever knows more writes them anew.
    """
    numbers = numbers_for(writer, item_ids)
    new = numbers == UNKNOWN
    count = int(new.sum())
    if count:
        first = get_meta(writer, ITEMS, 0)
        numbers[new] = np.arange(first, first + count)
        put_meta(writer, ITEMS, first + count)
        ids, keys = list(compress(item_ids, new)), number_keys(numbers[new])
        writer.put_many(Table.NUMBERS, zip(id_keys(ids), keys, strict=True))
        writer.put_many(Table.DETAILS, zip(keys, map(_details, ids), strict=True))
    return numbers, new


def _details(item_id: str) -> bytes:
    return json.dumps({Columns.ITEM: item_id, Columns.TITLE: None, Columns.CREATED_AT: None}).encode()
