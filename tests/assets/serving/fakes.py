"""A recommender with a known answer, in place of a trained one."""

import numpy as np
import torch

from assets.stream import EngagementStream, Queries

USERS, ITEMS = 40, 300


class RandomRecommender:
    """Vectors drawn once per user and item; item vectors remember what they were asked with."""

    history_length = 5

    def __init__(self, dimension: int = 8) -> None:
        random = torch.Generator().manual_seed(0)
        self.items = torch.randn(ITEMS, dimension, generator=random)
        self.users = torch.randn(USERS, dimension, generator=random)
        self.asked: list[tuple[int, np.datetime64]] = []

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> torch.Tensor:
        self.asked.append((len(known), instant))
        return self.items

    def user_vectors(self, queries: Queries, items: torch.Tensor) -> torch.Tensor:
        return self.users[torch.from_numpy(queries.users)]
