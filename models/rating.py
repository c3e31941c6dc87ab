"""A net that predicts the value of an engagement, a rating say, and not which item comes next (HRNN-meta section 4.3).

The predicted value, standardized, is an inner product like every score: [v_j ; 1] . [x_u ; c^T x_u]. With the constant
that ends x_u (:mod:`models.recurrent`) it has a bias per item; c^T x_u is one per user and moment.
"""

import torch
from torch import Tensor, nn

from models.base import ItemInputs, Net, TrainBatch, UserInputs
from models.context import value_scales
from models.items import ItemTower
from models.sequence import UserTower
from models.work import Work


class RatingNet(Net):
    """Mean squared error between standardized values and inner products; targets without a value teach nothing."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, items: ItemTower, users: UserTower) -> None:
        super().__init__()
        self.dim = dim
        self.work = Work()
        self.items, self.users = items, users
        self.level = nn.Linear(dim, 1, bias=False)
        self.history_length = users.history_length
        self.item_history_length = items.history_length
        self.changes = self.item_history_length > 0
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))

    def fit_scales(self, values: Tensor, events: Tensor) -> None:
        self.users.fit_scales(values, events)
        self.mean, self.std = value_scales(values, torch.zeros_like(events), 1)

    def item_vectors(self, items: ItemInputs) -> Tensor:
        vectors = self.items(items)  # [M, D]
        return torch.cat([vectors, vectors.new_ones(len(vectors), 1)], dim=1)  # [M, D + 1]

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        rows = torch.arange(len(users), device=users.lengths.device)
        return self._with_level(self.users(users, items[:, : self.dim], rows, users.lengths))

    def values(self, scores: Tensor) -> Tensor:
        """Predicted values, in the data's units, for inner products of any shape."""
        return self.mean + self.std * scores

    def loss(self, batch: TrainBatch) -> Tensor:
        own, _ = self.work.items(self.items.training_vectors, batch.items)  # [M, D]
        x = self._with_level(self.work.users(self.users, batch, own))  # [T, D + 1]
        scores = (x[:, :-1] * own[batch.targets]).sum(dim=1) + x[:, -1]  # [T]
        known = ~batch.values.isnan()
        errors = (scores - (batch.values - self.mean) / self.std)[known].square()
        return errors.sum() / known.sum().clamp(min=1)

    def _with_level(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.level(x)], dim=1)
