"""Vectors of items and users from what the store holds: what :class:`NetRecommender` computes from tables.

An item's vector is the same to rounding whichever items are embedded with it, so only those that need it are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from assets.instants import DAY
from assets.serving.live.content import unpacked
from assets.serving.live.items import item_ids
from assets.serving.live.model import LiveModel, Side
from assets.serving.store.interface import Reader, Table
from assets.serving.store.records import (
    ENTRY,
    USER_ENTRY,
    Records,
    id_keys,
    new_items,
    number_keys,
    unpack,
    unpack_features,
    unpack_runs,
)
from assets.stream import PADDING, Int, batches, with_requests
from models.base import Features, ItemInputs, UserInputs

Float = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)

ROWS_PER_BATCH = 4096
"""Items or users encoded at once: bounds memory, changes no result."""


def item_vectors(reader: Reader, model: LiveModel, numbers: Int) -> Float:
    """[M, D] vectors, without the trend, of the items ``numbers`` [M]; a number that is nowhere is an unknown item."""
    parts = [np.zeros((0, model.dimension), np.float32)]
    with torch.inference_mode():
        for rows in batches(len(numbers), ROWS_PER_BATCH):
            inputs = item_inputs(reader, model, number_keys(numbers[rows]))
            parts.append(model.towers.item_vectors(inputs).numpy())
    return np.concatenate(parts)


def trend_values(model: LiveModel, items: Records, epoch: int) -> Float:
    """[M] log(decayed count at ``epoch`` + smoothing) of ITEM records.

    Engagements after the epoch count more than 1: but for the smoothing, items are in the order of any later instant.
    """
    half_life = model.trend.half_life_days * DAY
    # The difference of instants is taken in integers: as float64 they are whole microseconds only up to 2255.
    exponents = (items["decayed_at"] - epoch) / half_life
    with np.errstate(divide="ignore"):  # the log of no engagement is -inf, of which nothing is left in the sum
        # As a number the count is infinite where data paused for 1,024 half-lives and the epoch is from before.
        logs = np.log(items["decayed"]) + exponents * np.log(2)
    return np.logaddexp(logs, np.log(model.trend.smoothing)).astype(np.float32)


def index_vectors(vectors: Float, trend: Float | None) -> Float:
    """[M, D + 1] what the index holds: v and the trend; ``vectors`` [M, D] themselves without a trend."""
    return vectors if trend is None else np.concatenate([vectors, trend[:, None]], axis=1)


def stored_vectors(reader: Reader, model: LiveModel, numbers: Int) -> tuple[Float, NDArray[np.bool_]]:
    """Embeddings that the store holds of the items ``numbers`` [M].

    Returns:
        [m, D] of the items that have one, in their order, and [M] whether an item does.
    """
    values = reader.get_many(Table.VECTORS, number_keys(numbers))
    found = np.fromiter((value is not None for value in values), np.bool_, len(values))
    flat = np.frombuffer(b"".join(value for value in values if value is not None), np.float32)
    return flat.reshape(int(found.sum()), model.dimension), found


def user_vectors(reader: Reader, model: LiveModel, users: Sequence[str], instant: int) -> Float:
    """[B, D or D + 1] vectors of ``users`` to search the index with; finite for unknown ones.

    A history is the latest items of the user that have an embedding, as many as the model reads.

    Args:
        instant: of the request (event clock, microseconds), see :mod:`.requests`; a user with a later engagement asks
            at the instant of that one.
    """
    parts = [np.zeros((0, model.index_dimension), np.float32)]
    with torch.inference_mode():
        for rows in batches(len(users), ROWS_PER_BATCH):
            inputs, items = user_inputs(reader, model, users[rows], instant)
            parts.append(model.towers.user_vectors(inputs, torch.from_numpy(items)).numpy())
    return np.concatenate(parts)


def seen(reader: Reader, users: Sequence[str]) -> list[list[str]]:
    """Per user the ids of every item engaged with, in order of the items' numbers; none of an unknown user."""
    values = reader.get_many(Table.SEEN, id_keys(users))
    numbers, lengths = unpack_runs(values, np.dtype("<i4"))
    distinct, places = np.unique(numbers.astype(np.int64), return_inverse=True)
    ids = np.array(item_ids(reader, distinct), dtype=object)[places]
    ends = np.cumsum(lengths).tolist()
    runs = zip([0, *ends[:-1]], ends, strict=True) if ends else ()
    return [[item for item in ids[start:end] if item is not None] for start, end in runs]


def item_inputs(reader: Reader, model: LiveModel, keys: Sequence[bytes]) -> ItemInputs:
    """The item tower's inputs for the numbers ``keys`` [M]. The trend is not among them: it is no part of v."""
    items = unpack(reader.get_many(Table.ITEMS, keys), new_items(1)[0])
    ids, features, content = _encoded_items(reader, model, keys)
    rows, users = _item_histories(reader, model, keys)
    return ItemInputs(
        ids=ids,
        features=features,
        content=content,
        counts=torch.from_numpy(items["train_count"].astype(np.float32)),
        log_trend=torch.zeros(len(keys)),
        history_rows=torch.from_numpy(rows),
        history_users=torch.from_numpy(users),
    )


def user_inputs(reader: Reader, model: LiveModel, users: Sequence[str], instant: int) -> tuple[UserInputs, Float]:
    """The user tower's inputs for ``users`` [B] who ask at ``instant``, see :func:`user_vectors`.

    Returns:
        The inputs, and the vectors [M, D] that their histories point into.
    """
    keys = id_keys(users)
    ids, features = _encoded_rows(reader, model, "users", keys)
    entries, counts = unpack_runs(reader.get_many(Table.USER_HISTORIES, keys), USER_ENTRY)
    distinct, places = np.unique(entries["id"].astype(np.int64), return_inverse=True)
    vectors, found = stored_vectors(reader, model, distinct)
    owners = np.repeat(np.arange(len(users)), counts)  # [E]
    there = found[places]
    kept = entries[there]
    rows = (np.cumsum(found) - 1)[places[there]]  # [e] rows of vectors
    latest = Latest.of(owners[there], len(users), model.towers.history_length)
    timestamps = latest.padded(kept["timestamp"].astype(np.int64), 0)
    inputs = UserInputs(
        ids=ids,
        features=features,
        history=torch.from_numpy(latest.padded(rows, PADDING)),
        times=torch.from_numpy(with_requests(timestamps, latest.lengths, _asked_at(entries, counts, instant))),
        values=torch.from_numpy(latest.padded(kept["value"].astype(np.float32), np.nan)),
        events=torch.from_numpy(latest.padded(kept["event"].astype(np.int64), PADDING)),
        lengths=torch.from_numpy(latest.lengths),
    )
    return inputs, vectors.copy()


def _asked_at(entries: Records, counts: Int, instant: int) -> Int:
    """[B] instants of the requests: ``instant``, and not before the last of a user's ``counts`` [B] entries."""
    asked = np.full(len(counts), instant, np.int64)
    some = counts > 0
    asked[some] = np.maximum(instant, entries["timestamp"][np.cumsum(counts)[some] - 1])
    return asked


@dataclass(frozen=True)
class Latest:
    """The last few of several values per row.

    Attributes:
        lengths: [rows] how many there are.
        owners: [e] the row of each value, ascending.
        slots: [e] its place in the row, below 0 where it is not among the last.
    """

    lengths: Int
    owners: Int
    slots: Int

    @classmethod
    def of(cls, owners: Int, rows: int, length: int) -> Self:
        """The last ``length`` of each row, of values that belong to ``owners`` [e], ascending."""
        counts = np.bincount(owners, minlength=rows).astype(np.int64)
        lengths = np.minimum(counts, length)
        first = np.cumsum(counts) - lengths  # [rows] place of the first that is kept
        return cls(lengths, owners, np.arange(len(owners)) - first[owners])

    def padded(self, values: NDArray[T], behind: float) -> NDArray[T]:
        """[rows, L] ``values`` [e], left-aligned, ``behind`` after the last; L is the longest."""
        padded = np.full((len(self.lengths), int(self.lengths.max(initial=0))), behind, values.dtype)
        kept = self.slots >= 0
        padded[self.owners[kept], self.slots[kept]] = values[kept]
        return padded


def _encoded_rows(reader: Reader, model: LiveModel, side: Side, keys: Sequence[bytes]) -> tuple[torch.Tensor, Features]:
    """[n] dense ids, and per feature [n, S] value ids."""
    names = model.feature_names(side)
    table = Table.FEATURES if side == "items" else Table.USERS
    ids, features = unpack_features(reader.get_many(table, keys), len(names))
    return torch.from_numpy(ids), _padded(names, features, len(keys))


def _encoded_items(
    reader: Reader, model: LiveModel, keys: Sequence[bytes]
) -> tuple[torch.Tensor, Features, torch.Tensor]:
    """[n] dense ids, per feature [n, S] value ids, and [n, C] content, a row of NaN where an item has none."""
    if not model.content:
        return *_encoded_rows(reader, model, "items", keys), torch.zeros(len(keys), 0)
    names = model.feature_names("items")
    rows = reader.get_many(Table.FEATURES, keys)
    ids, (*features, behind) = unpack_features(rows, len(names) + 1)
    content = unpacked(behind, rows, model.content)
    return torch.from_numpy(ids), _padded(names, features, len(keys)), torch.from_numpy(content)


def _padded(names: Sequence[str], features: Sequence[tuple[Int, Int]], rows: int) -> Features:
    padded = {
        name: Latest.of(np.repeat(np.arange(rows), lengths), rows, len(values)).padded(values, PADDING)
        for name, (values, lengths) in zip(names, features, strict=True)
    }
    return {name: torch.from_numpy(values) for name, values in padded.items()}


def _item_histories(reader: Reader, model: LiveModel, keys: Sequence[bytes]) -> tuple[Int, Int]:
    """[E] row (0..M-1) of each entry, ascending, and [E] dense ids of users, oldest first within an item."""
    if not model.item_history_length:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    entries, lengths = unpack_runs(reader.get_many(Table.ITEM_HISTORIES, keys), ENTRY)
    return np.repeat(np.arange(len(keys)), lengths), entries["id"].astype(np.int64)
