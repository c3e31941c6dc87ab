"""A checkpoint that makes vectors of any items and lists of any users, by their ids: what every engine runs.

Vectors are as of the end of the tables. Who was forgotten and what was taken down since is not in them: neither as rows
nor in anybody's history. Nothing of this is in the freshness path (:mod:`assets.serving.live`): it
computes everything, and an engine that spreads it starts in ten seconds.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.ingestion.landing.removed import read_removed
from assets.ranking import Recommender
from assets.schema import Columns
from assets.storage import Storage, read_arrow
from assets.stream import DatasetTables, Int, batches, load_tables
from assets.training.checkpoints import load_recommender
from assets.training.recommender import NetRecommender
from assets.training.refresh import ItemHistories

Float = NDArray[np.float32]
VECTOR: Final = "vector"
ITEMS: Final = "items"
SCORES: Final = "scores"
SCORES_PER_CHUNK: Final = 8_000_000
"""Of users and items at once: 32 MB."""


class UnknownRowError(KeyError):
    """An id that is in none of the tables."""


@dataclass(frozen=True)
class Source:
    """Which checkpoint, over which tables.

    Attributes:
        storage: of the tables and checkpoints.
        model: registered name.
        seed: of its training.
    """

    storage: Storage
    model: str
    seed: int


class Embedder:
    """Loads the checkpoint and the tables once, and answers for blocks of ids.

    Raises:
        CheckpointError: when there is no sound checkpoint for these tables.
    """

    def __init__(self, source: Source) -> None:
        self.tables: DatasetTables = load_tables(source.storage)
        self.model: Recommender = load_recommender(source.storage, source.model, source.seed, self.tables)
        every = self.tables.stream
        self.instant = every.timestamps[-1] + np.timedelta64(1, "us")  # known: all that lies before
        self.removed = read_removed(source.storage)
        self._gone_users = self._user_rows.isin(list(self.removed.users))
        self._gone_items = self._item_rows.isin(list(self.removed.items))
        self.stream = every.where(~self._gone_users[every.users] & ~self._gone_items[every.items])

    def items(self, ids: NDArray[np.object_]) -> Float:
        """[m, D] vectors of the items ``ids`` [m].

        Raises:
            UnknownRowError: naming an id that is in no table.
        """
        rows = _rows(self._item_rows, ids, ITEMS)
        if isinstance(self.model, NetRecommender):
            return self.model.vectors_of(rows, self.stream, self.instant, self._histories).numpy()
        return self._every_item[rows]

    def lists(self, ids: NDArray[np.object_], vectors: Float, k: int) -> tuple[NDArray[np.object_], Float]:
        """[b, K] ids of the items that score highest for the users ``ids`` [b], best first, and [b, K] their scores.

        Candidates are the available items that a user had not engaged with; where those are fewer than ``k``, ids end
        in None and scores in NaN. Equal scores are in no particular order.

        Args:
            vectors: [N, D] of :meth:`items`, of every item in the order of the items' table (:func:`read_vectors`).

        Raises:
            UnknownRowError: naming an id that is in no table.
        """
        users, every = _rows(self._user_rows, ids, "users"), torch.from_numpy(vectors)
        size = max(1, SCORES_PER_CHUNK // max(1, len(every)))
        parts = [self._best(users[part], every, k) for part in batches(len(users), size)]
        top = np.concatenate([scores for scores, _ in parts])
        found = self.tables.catalog.item_ids[np.concatenate([places for _, places in parts])]
        none = np.isneginf(top)
        found[none] = None
        return found, np.where(none, np.float32("nan"), top)

    def _best(self, users: Int, items: Tensor, k: int) -> tuple[Float, Int]:
        """[b, K] scores, minus infinity of what is no candidate, and [b, K] rows of the items."""
        instants = np.full(len(users), self.instant)
        queries = self.stream.queries(users, instants, max(1, self.model.history_length))
        rows, seen = self.stream.seen_pairs(users, instants)
        with torch.inference_mode():
            scores = self.model.user_vectors(queries, items) @ items.T  # [b, N]
            scores[:, self._not_available] = -torch.inf
            scores[torch.from_numpy(rows), torch.from_numpy(seen)] = -torch.inf
            top, places = scores.topk(min(k, len(items)), dim=1)
        return top.numpy(), places.numpy()

    @cached_property
    def _histories(self) -> ItemHistories:
        assert isinstance(self.model, NetRecommender)
        return ItemHistories.build(self.stream, self.model.universe.history_user_ids)

    @cached_property
    def _every_item(self) -> Float:
        return self.model.item_vectors(self.stream, self.instant).float().numpy()

    @cached_property
    def _not_available(self) -> Tensor:
        available = torch.zeros(len(self.tables.catalog), dtype=torch.bool)
        available[torch.from_numpy(self.tables.catalog.rows_at(self.instant))] = True
        return ~available | torch.from_numpy(self._gone_items)

    @cached_property
    def _item_rows(self) -> pd.Index:
        return pd.Index(self.tables.catalog.item_ids, dtype=object)

    @cached_property
    def _user_rows(self) -> pd.Index:
        return pd.Index(self.tables.users[Columns.USER], dtype=object)


def _rows(index: pd.Index, ids: NDArray[np.object_], table: str) -> Int:
    rows = index.get_indexer(pd.Index(ids, dtype=object)).astype(np.int64)
    if (rows < 0).any():
        raise UnknownRowError(f"{ids[rows < 0][0]!r} is not in the table of {table}: export the tables again")
    return rows


def read_vectors(path: Path, item_ids: NDArray[np.object_]) -> Float:
    """[N, D] the vectors in a file, in the order of ``item_ids`` [N]; zeros for items that are not in it."""
    table = read_arrow(path, [Columns.ITEM, VECTOR])
    column = table.column(VECTOR).combine_chunks()
    held = np.asarray(column.flatten()).reshape(-1, column.type.list_size)  # [n, D]
    places = pd.Index(table.column(Columns.ITEM).to_pylist(), dtype=object).get_indexer(
        pd.Index(item_ids, dtype=object)
    )
    vectors = np.zeros((len(item_ids), held.shape[1]), np.float32)
    vectors[places >= 0] = held[places[places >= 0]]
    return vectors
