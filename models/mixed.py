"""Eq. 2 of HRNN-meta (Ma et al., KDD 2020, section 2.3): items by their interactions and by their features, mixed.

    phi~_j(h) = (1 - lambda) phi_j(h) + lambda phi'(h, f_j)                                         (2)
    phi_j(h) = w_j^T h + b_j,   phi'(h, f_j) = w(f_j)^T h + b(f_j)

w_j and b_j are one row of an id table, w(f) and b(f) one output of a field-aware MLP: the bias is the vector's last
entry, and the user vectors of :class:`models.recurrent.RecurrentUsers` end with a constant 1. In training lambda is
drawn from U[0, 1] for every example, so that features learn to stand alone; served, each item has a lambda of its own:

    lambda_j = 1/2 + 1/2 k / (k + n_j),   n_j engagements that the item's row was trained with

1 for cold items, as in the paper; for tail items it falls with what was learned of them, towards the mean 1/2 of
training. The paper has no rule for them; k is ``half_count``.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from models.base import ItemInputs, NetConfig, Sizes, TrainBatch
from models.content import ContentConfig, ItemFields
from models.head import Losses, SingleHead
from models.items import ItemTower
from models.layers import embedding


class MixedItemsConfig(NetConfig):
    """Hyper-parameters of :class:`MixedItems`."""

    kind: Literal["mixed"] = "mixed"
    feature_dim: int = Field(16, ge=1, description="width of one field's embedding")
    hidden: int = Field(64, ge=1, description="width of a field's hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="behind a field's hidden layer")
    content: ContentConfig = ContentConfig()
    half_count: float = Field(
        10.0, gt=0, description="k: an item trained with that many engagements is served with lambda 3/4"
    )


class MixedItems(ItemTower):
    """[w_j ; b_j] and [w(f_j) ; b(f_j)], mixed by what is known of the item; training scores both."""

    branches = 2

    def __init__(self, config: MixedItemsConfig, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.half_count = config.half_count
        self.table = embedding(sizes.items, dim)
        self.fields = ItemFields(sizes, config.feature_dim, config.hidden, dim, config.dropout, config.content)
        self.input_scale = dim**0.5

    def forward(self, items: ItemInputs) -> Tensor:
        return self.mix(*self.both(items), items.counts)

    def both(self, items: ItemInputs) -> tuple[Tensor, Tensor]:
        """[M, D] by interactions and [M, D] by features."""
        return self.table(items.ids), self.fields.of(items)

    def mix(self, own: Tensor, by_features: Tensor, counts: Tensor) -> Tensor:
        """[M, D] eq. 2 with each item's lambda."""
        weight = self.served_lambda(counts)[:, None]  # [M, 1]
        return torch.lerp(own, by_features, weight)

    def served_lambda(self, counts: Tensor) -> Tensor:
        """[M] lambda_j for the engagements [M] that each item was trained with."""
        return 0.5 + 0.5 * self.half_count / (self.half_count + counts)

    def training_vectors(self, items: ItemInputs) -> tuple[Tensor, Tensor]:
        own, by_features = self.both(items)
        return self.mix(own, by_features, items.counts), torch.cat([own, by_features], dim=1)  # [M, D], [M, 2 D]


class MixingHeadConfig(NetConfig):
    """Hyper-parameters of :class:`MixingHead`."""

    kind: Literal["mixing"] = "mixing"
    fixed: float | None = Field(None, ge=0, le=1, description="lambda of every example; none: drawn from U[0, 1]")


class MixingHead(SingleHead):
    """Eq. 2 in training: x^T ((1 - lambda) w_j + lambda w(f_j)) = [(1 - lambda) x ; lambda x]^T [w_j ; w(f_j)]."""

    def __init__(self, config: MixingHeadConfig) -> None:
        super().__init__()
        self.fixed = config.fixed

    def loss(self, x: Tensor, batch: TrainBatch, losses: Losses) -> Tensor:
        return super().loss(self.beside(x, self.draw(x)), batch, losses)

    def draw(self, x: Tensor) -> Tensor:
        """[T, 1] lambda of each example [T, D]."""
        return torch.rand_like(x[:, :1]) if self.fixed is None else torch.full_like(x[:, :1], self.fixed)

    @staticmethod
    def beside(x: Tensor, weight: Tensor) -> Tensor:
        """[T, 2 D] for users [T, D] and their lambda [T, 1]."""
        return torch.cat([(1 - weight) * x, weight * x], dim=1)
