"""Two towers over ids and features, with in-batch negatives and the logQ correction (Yi et al., RecSys 2019)."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from models import losses
from models.base import Features, Movable, Net, NetConfig, Sizes, UserInputs
from models.layers import MLP, FeatureEmbedding, drop_ids, embedding


class TwoTowerConfig(NetConfig):
    """Hyper-parameters of :class:`TwoTower`."""

    dim: int = Field(64, ge=1, description="width of ids and of the towers' outputs")
    feature_dim: int = Field(16, ge=1, description="width of one feature")
    hidden: int = Field(128, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1, description="probability that a user or item id becomes OOV in training")


@dataclass(frozen=True)
class PairBatch(Movable):
    """Engagements: each row's item is its target, and the other rows' items are its negatives.

    Attributes:
        user_ids: [B] dense ids.
        user_features: name -> [B, S].
        item_ids: [B] dense ids.
        item_features: name -> [B, S].
        log_q: [B] log probability of each row's item as a negative.
    """

    user_ids: Tensor
    user_features: Features
    item_ids: Tensor
    item_features: Features
    log_q: Tensor


class TwoTower(Net):
    """Each tower: [id embedding ; feature bags] -> MLP -> [D]. The history is not read."""

    def __init__(self, config: TwoTowerConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self.users = embedding(sizes.users, config.dim)
        self.items = embedding(sizes.items, config.dim)
        self.user_features = FeatureEmbedding(sizes.user_features, config.feature_dim)
        self.item_features = FeatureEmbedding(sizes.item_features, config.feature_dim)
        self.user_tower = MLP((config.dim + self.user_features.width, config.hidden, config.dim), config.dropout)
        self.item_tower = MLP((config.dim + self.item_features.width, config.hidden, config.dim), config.dropout)

    def item_vectors(self, item_ids: Tensor, item_features: Features) -> Tensor:
        """[N, D]; an unknown item is the OOV id with its own features."""
        ids = self.items(drop_ids(item_ids, self.config.id_dropout, self.training))  # [N, d]
        return self.item_tower(torch.cat([ids, self.item_features(item_features, len(ids))], dim=1))

    def user_vectors(self, batch: UserInputs) -> Tensor:
        """[B, D]; an unknown user is the OOV id with its own features."""
        return self._users(batch.user_ids, batch.user_features)

    def _users(self, user_ids: Tensor, user_features: Features) -> Tensor:
        ids = self.users(drop_ids(user_ids, self.config.id_dropout, self.training))  # [B, d]
        return self.user_tower(torch.cat([ids, self.user_features(user_features, len(ids))], dim=1))

    def loss(self, batch: PairBatch) -> Tensor:
        users = self._users(batch.user_ids, batch.user_features)  # [B, D]
        items = self.item_vectors(batch.item_ids, batch.item_features)  # [B, D]
        return losses.in_batch_softmax(users, items, batch.item_ids, batch.log_q)
