"""Users to search an index for: what it is tuned and measured with, and an example for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assets.serving.live.embedder import seen, user_vectors
from assets.serving.live.items import item_details
from assets.serving.live.model import LiveModel
from assets.serving.live.requests import request_instant
from assets.serving.store.interface import Reader, Table
from assets.serving.store.records import USER_ENTRY, id_keys, numbers_of, unpack_runs

Float = NDArray[np.float32]
LATEST_TITLES: Final = 10
DIGEST_KEY: Final = b"\xff"
"""What keys begin with that stand for ids too long to be keys: such users cannot be drawn."""


@dataclass(frozen=True)
class UserSample:
    """Users to search for.

    Attributes:
        user_ids: [Q] source ids.
        vectors: [Q, D].
        seen: per user, the ids of everything engaged with: excluded from results.
    """

    user_ids: list[str]
    vectors: Float
    seen: list[list[str]]

    def take(self, part: slice) -> "UserSample":
        """The users in ``part``."""
        return UserSample(self.user_ids[part], self.vectors[part], self.seen[part])


def user_sample(reader: Reader, model: LiveModel, count: int, now: int) -> UserSample:
    """Up to ``count`` users who engaged with something, drawn uniformly, in random order.

    The draw depends on the model's seed and on who the users are.

    Args:
        now: when they ask: wall clock, microseconds.
    """
    known = [key for key, _ in reader.scan(Table.SEEN) if not key.startswith(DIGEST_KEY)]
    drawn = np.random.default_rng(model.seed).permutation(len(known))[:count]
    users = [known[row].decode() for row in drawn.tolist()]
    vectors = user_vectors(reader, model, users, request_instant(reader, now))
    return UserSample(users, vectors, seen(reader, users))


def example_search(reader: Reader, sample: UserSample, found: Sequence[str | None], scores: Float) -> str:
    """A search for the first user of ``sample``, as markdown.

    Args:
        found: [k] ids that the index returned, best first, ``None`` behind.
        scores: [k] their scores.
    """
    entries, _ = unpack_runs(reader.get_many(Table.USER_HISTORIES, id_keys(sample.user_ids[:1])), USER_ENTRY)
    latest = _titles_of_numbers(reader, entries["id"][::-1][:LATEST_TITLES].astype(np.int64))
    kept = [(item, score) for item, score in zip(found, scores, strict=True) if item is not None]
    titles = _titles(reader, [item for item, _ in kept])
    places = enumerate(zip(titles, kept, strict=True), start=1)
    rows = [f"| {place} | {title} | {score:.3f} |" for place, (title, (_, score)) in places]
    heading = f"**User {sample.user_ids[0]}**, latest first: {', '.join(latest)}"
    return "\n".join([heading, "", "| # | found | score |", "|--:|:--|--:|", *rows])


def _titles(reader: Reader, ids: Sequence[str]) -> list[str]:
    """Titles of items, their ids where they have none."""
    keys = reader.get_many(Table.NUMBERS, id_keys(ids))
    return _titles_of_numbers(reader, numbers_of(key for key in keys if key is not None))


def _titles_of_numbers(reader: Reader, numbers: NDArray[np.int64]) -> list[str]:
    return [one.title or one.item_id for one in item_details(reader, numbers) if one is not None]
