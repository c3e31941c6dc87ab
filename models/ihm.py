"""IHM, the item history model (Zuo et al., KDD 2024): an item tower that pools the users who engaged with the item.

Section 3.2-3.4 with H heads, E_S(x_i) the static embedding and e_u the embedding of a qualified user u in U_i:

    E_h = [E_U ; E_S] softmax( (W_K,h [E_U ; E_S])^T (W_S,h E_S) / sqrt(d) )         (2), no value projection
    g_h = W_gate^T [E_h ; E_S],  G = softmax(g)                                      (3)
    e_i = sum_h G_h E_h                                                              (1)

A frozen net re-embeds an item in one forward pass from the users of that moment. An item without history gets E_S back.

Departures, with reasons. Queries and keys begin near a multiple of the identity, not at random, so that an item attends
to itself and to users near it before anything is learned: with random projections the mean of 30 users drowns E_S.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import ItemInputs, Sizes
from models.items import ItemTower, StaticItems, StaticItemsConfig
from models.layers import embedding
from models.pooling import pool


class HistoryItemsConfig(StaticItemsConfig):
    """E_S and the pooling of qualified users."""

    kind: Literal["history"] = "history"  # type: ignore[assignment]
    std: float = Field(0.5, gt=0, description="of the initial rows of ids and features")
    heads: int = Field(1, ge=1, description="H, experts of eq. 1-3")
    history_length: int = Field(100, ge=1, description="latest qualified users of an item that are read")
    user_std: float = Field(0.05, gt=0, description="of the initial rows of users")
    self_attention: float = Field(2.0, gt=0, description="queries and keys begin at this multiple of the identity")


class HistoryItems(ItemTower):
    """Eq. 1-3 over E_S and the item's latest qualified users."""

    def __init__(self, config: HistoryItemsConfig, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.history_length = config.history_length
        self.static = StaticItems(config, sizes, dim)
        self.input_scale = self.static.input_scale
        self.users = embedding(sizes.history_users, dim, config.user_std)
        self.query = nn.Parameter(_near_identity(config.heads, dim, config.self_attention))  # [H, D, D] W_S
        self.key = nn.Parameter(_near_identity(config.heads, dim, config.self_attention))  # [H, D, D] W_K
        self.gate = nn.Linear(2 * dim, 1, bias=False)

    def forward(self, items: ItemInputs) -> Tensor:
        static = self.static(items)  # [M, D]
        experts = self.experts(static, items)  # [M, H, D]
        if experts.shape[1] == 1:
            return experts[:, 0]  # the softmax over one gate is 1
        return (self.gates(static, experts)[..., None] * experts).sum(dim=1)  # [M, D] eq. 1

    def experts(self, static: Tensor, items: ItemInputs) -> Tensor:
        """[M, H, D] of eq. 2 for E_S [M, D]."""
        return torch.stack([self._pool(static, items, head) for head in range(len(self.key))], dim=1)

    def _pool(self, static: Tensor, items: ItemInputs, head: int) -> Tensor:
        # (W_S q)^T (W_K e) = (W_K^T W_S q)^T e: the query is projected once instead of every history entry.
        query = static @ (self.query[head].T @ self.key[head]) / static.shape[1] ** 0.5  # [M, D]
        own = (query * static).sum(dim=1)  # [M]
        return pool(own, query, static, self.users, items.history_users, items.history_rows)

    def gates(self, static: Tensor, experts: Tensor) -> Tensor:
        """[M, H] of eq. 3."""
        both = torch.cat([experts, static[:, None].expand_as(experts)], dim=2)  # [M, H, 2 D]
        return self.gate(both)[..., 0].softmax(dim=1)


def _near_identity(heads: int, dim: int, scale: float) -> Tensor:
    return scale * torch.eye(dim) + 0.3 * torch.randn(heads, dim, dim) / dim**0.5
