"""What an index is built from and measured with: one model's item and user vectors at the end of the known stream.

The instant of a snapshot is just after the last engagement of the dataset, test period included: an index exists to
answer the next request, so it holds every item available by then, trends and refreshed embeddings as of then. Nothing
is trained on that period: weights stay those of the train cutoff, and quality is measured by evaluation, which never
reads an index.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from assets.ranking import Recommender
from assets.schema import Columns
from assets.stream import DatasetTables, Int

Float = NDArray[np.float32]
LATEST_TITLES = 10


@dataclass(frozen=True)
class ItemSnapshot:
    """Every item available at ``instant``: ids [N] and vectors [N, D]."""

    instant: np.datetime64
    item_ids: list[str]
    vectors: Float


@dataclass(frozen=True)
class UserSample:
    """Users to search for.

    Attributes:
        user_ids: [Q] source ids.
        vectors: [Q, D].
        seen: per user, the ids of everything engaged with, oldest first: excluded from results.
    """

    user_ids: list[str]
    vectors: Float
    seen: list[list[str]]

    def take(self, part: slice) -> "UserSample":
        """The users in ``part``."""
        return UserSample(self.user_ids[part], self.vectors[part], self.seen[part])


def serving_instant(tables: DatasetTables) -> np.datetime64:
    """One microsecond after the last engagement.

    Raises:
        ValueError: when there is no engagement.
    """
    if not len(tables.stream):
        raise ValueError("the interactions table is empty: nothing to serve")
    return tables.stream.timestamps[-1] + np.timedelta64(1, "us")


@torch.inference_mode()
def item_snapshot(tables: DatasetTables, model: Recommender) -> ItemSnapshot:
    """Vectors of the items available now."""
    instant = serving_instant(tables)
    rows = tables.catalog.rows_at(instant)
    vectors = model.item_vectors(tables.stream.before(instant), instant)  # [N, D] of the universe
    return ItemSnapshot(instant, tables.catalog.item_ids[rows].tolist(), _to_numpy(vectors)[rows])


@torch.inference_mode()
def user_sample(tables: DatasetTables, model: Recommender, count: int, seed: int) -> UserSample:
    """Vectors of up to ``count`` users with history, drawn uniformly with ``seed``, in random order."""
    instant = serving_instant(tables)
    users = np.random.default_rng(seed).permutation(np.unique(tables.stream.users))[:count]
    instants = np.full(len(users), instant)
    queries = tables.stream.queries(users, instants, max(1, model.history_length))
    vectors = model.user_vectors(queries, model.item_vectors(tables.stream.before(instant), instant))  # [Q, D]
    rows, items = tables.stream.seen_pairs(users, instants)
    return UserSample(
        user_ids=tables.users[Columns.USER].to_numpy(dtype=object)[users].tolist(),
        vectors=_to_numpy(vectors),
        seen=_grouped(rows, tables.catalog.item_ids[items], len(users)),
    )


def example_search(tables: DatasetTables, sample: UserSample, found: Sequence[str | None], scores: Float) -> str:
    """A search for the first user of ``sample``, as markdown.

    Args:
        found: [k] ids that the index returned, best first, ``None`` behind.
        scores: [k] their scores.
    """
    titles = tables.catalog.frame.set_index(Columns.ITEM)[Columns.TITLE].dropna()
    latest = [str(titles.get(item, item)) for item in reversed(sample.seen[0][-LATEST_TITLES:])]
    places = enumerate(zip(found, scores, strict=True), start=1)
    rows = [
        f"| {place} | {titles.get(item, item)} | {score:.3f} |" for place, (item, score) in places if item is not None
    ]
    heading = f"**User {sample.user_ids[0]}**, latest first: {', '.join(latest)}"
    return "\n".join([heading, "", "| # | found | score |", "|--:|:--|--:|", *rows])


def _to_numpy(vectors: torch.Tensor) -> Float:
    return vectors.detach().cpu().to(torch.float32).numpy()


def _grouped(rows: Int, values: NDArray[np.object_], count: int) -> list[list[str]]:
    """The values of each of ``count`` rows, for ``rows`` ascending."""
    ends = np.cumsum(np.bincount(rows, minlength=count))
    return [part.tolist() for part in np.split(values, ends[:-1])] if count else []
