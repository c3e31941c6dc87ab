"""What a store says, decoded into frames to compare and to look at. Read only; whole tables, so not for a hot path."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.instants import DAY
from assets.runs import places_in_runs
from assets.schema import Columns
from assets.serving.live.generation import OpenGeneration
from assets.serving.store.interface import Reader, Table
from assets.serving.store.meta import EPOCH, WATERMARK, get_meta
from assets.serving.store.records import (
    ENTRY,
    NEVER,
    PENDING,
    USER_ENTRY,
    id_keys,
    new_items,
    number_keys,
    numbers_of,
    unpack,
    unpack_runs,
)
from assets.stream import Int

NUMBER = np.dtype("<i4")
INSTANTS = ("first_engaged_at", "last_engaged_at")


@dataclass(frozen=True)
class StoredItems:
    """Every item that has a number, N of them.

    Attributes:
        frame: indexed by item id: ``title``, ``available``, ``first_engaged_at``, ``last_engaged_at``, ``total``,
            ``train_count``, ``decayed`` (as of the store's epoch), ``pending``, ``trend_stale``, ``has_vector``.
        numbers: [N] ascending.
        vectors: [N, D] without the trend; NaN where there is none.
    """

    frame: pd.DataFrame
    numbers: Int
    vectors: NDArray[np.float32]

    def ids_of(self, numbers: Int) -> NDArray[np.object_]:
        """[n] ids of items by their numbers; ``None`` for numbers that no item has."""
        at = np.searchsorted(self.numbers, numbers)
        inside = np.minimum(at, len(self.numbers) - 1)
        known = (at < len(self.numbers)) & (self.numbers[inside] == numbers)
        ids: NDArray[np.object_] = self.frame.index.to_numpy(dtype=object)[inside]
        ids[~known] = None
        return ids


def stored_items(reader: Reader, opened: OpenGeneration) -> StoredItems:
    """Every item, in order of its number."""
    numbers = np.sort(numbers_of(value for _, value in reader.scan(Table.NUMBERS)))
    keys = number_keys(numbers)
    details = [json.loads(value or b"{}") for value in reader.get_many(Table.DETAILS, keys)]
    records = unpack(reader.get_many(Table.ITEMS, keys), new_items(1))
    waiting = reader.get_many(Table.PENDING, keys)
    vectors = reader.get_many(Table.VECTORS, keys)
    half_life = opened.model.trend.half_life_days * DAY
    ages = (records["decayed_at"] - get_meta(reader, EPOCH)) / half_life
    available = (records["available_at"] != NEVER) & (records["available_at"] <= get_meta(reader, WATERMARK))
    frame = pd.DataFrame(
        {
            Columns.TITLE: np.array([one.get(Columns.TITLE) for one in details], dtype=object),
            "available": available,
            **{name: records[name].view("datetime64[us]") for name in INSTANTS},
            "total": records["total"],
            "train_count": records["train_count"],
            "decayed": records["decayed"] * np.exp2(np.where(records["decayed"] > 0, ages, 0)),
            "pending": np.array([value is not None for value in waiting], bool),
            "trend_stale": unpack(waiting, np.zeros(1, PENDING))["trend_stale"] > 0,
            "has_vector": np.array([value is not None for value in vectors], bool),
        },
        index=pd.Index([one.get(Columns.ITEM) for one in details], name=Columns.ITEM, dtype=object),
    )
    return StoredItems(frame, numbers, _matrix(vectors, opened.model.dimension))


def item_histories(reader: Reader, items: StoredItems) -> pd.DataFrame:
    """``item_id``, ``place`` (0 the oldest), ``user`` (dense id among the qualified users)."""
    entries, lengths = unpack_runs(reader.get_many(Table.ITEM_HISTORIES, number_keys(items.numbers)), ENTRY)
    owners = np.repeat(items.frame.index.to_numpy(dtype=object), lengths)
    return pd.DataFrame(
        {Columns.ITEM: owners, "place": places_in_runs(lengths), "user": entries["id"].astype(np.int64)}
    )


def user_histories(reader: Reader, items: StoredItems, users: Sequence[str]) -> pd.DataFrame:
    """``user_id``, ``place``, ``item_id``, ``timestamp``, ``value``, ``event`` (dense id of its type) of ``users``."""
    entries, lengths = unpack_runs(reader.get_many(Table.USER_HISTORIES, id_keys(users)), USER_ENTRY)
    return pd.DataFrame(
        {
            Columns.USER: np.repeat(np.array(users, dtype=object), lengths),
            "place": places_in_runs(lengths),
            Columns.ITEM: items.ids_of(entries["id"].astype(np.int64)),
            Columns.TIMESTAMP: entries["timestamp"].astype("datetime64[us]"),
            Columns.VALUE: entries["value"].astype(np.float32),
            "event": entries["event"].astype(np.int64),
        }
    )


def seen_items(reader: Reader, items: StoredItems, users: Sequence[str]) -> pd.DataFrame:
    """``user_id``, ``item_id`` of ``users``."""
    numbers, lengths = unpack_runs(reader.get_many(Table.SEEN, id_keys(users)), NUMBER)
    owners = np.repeat(np.array(users, dtype=object), lengths)
    return pd.DataFrame({Columns.USER: owners, Columns.ITEM: items.ids_of(numbers.astype(np.int64))})


def _matrix(values: Sequence[bytes | None], dimension: int) -> NDArray[np.float32]:
    blank = np.full(dimension, np.nan, np.float32).tobytes()
    flat = np.frombuffer(b"".join(blank if value is None else value for value in values), np.float32)
    return flat.reshape(len(values), dimension)
