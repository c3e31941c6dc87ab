"""The user side of two towers over ids and features (Yi et al., RecSys 2019): no history is read."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from models.base import NetConfig, Sizes, UserInputs
from models.layers import MLP, FeatureEmbedding, drop_ids, embedding
from models.sequence import UserTower


class PairUsersConfig(NetConfig):
    """Hyper-parameters of :class:`PairUsers`."""

    kind: Literal["pair"] = "pair"
    feature_dim: int = Field(16, ge=1, description="width of one feature")
    hidden: int = Field(128, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1, description="probability that a user id becomes OOV in training")


class PairUsers(UserTower):
    """[id embedding ; feature bags] -> MLP -> [D]; an unknown user is the OOV id with its own features."""

    def __init__(self, config: PairUsersConfig, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.id_dropout = config.id_dropout
        self.table = embedding(sizes.users, dim)
        self.features = FeatureEmbedding(sizes.user_features, config.feature_dim)
        self.tower = MLP((dim + self.features.width, config.hidden, dim), config.dropout)

    def forward(self, users: UserInputs, items: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        del items, positions
        ids = self.table(drop_ids(users.ids, self.id_dropout, self.training))  # [B, D]
        return self.tower(torch.cat([ids, self.features(users.features, len(users))], dim=1))[rows]
