"""DAT, the dual augmented two-tower model (Yu et al., DLP-KDD 2021), around an item tower and a user tower of choice.

Each id has an augmented vector beside what its tower makes of it, a_i per item and a_u per user. A tower reads both,
and each a is drawn to what it met on the other side, so that towers that never see each other exchange knowledge:

    p_i = W_i [v_i ; a_i],   p_u = W_u [x_u ; a_u],   s(u, i) = p_u^T p_i
    L = L_p + lambda_1 mean |a_u - p_i|^2 + lambda_2 mean |a_i - p_u|^2        over engagements (u, i)

In the mimic losses p_i and p_u are constants: only the augmented vectors learn from them. For pairs without engagement
the paper's mimic losses are 0. IHM appendix B takes lambda_1 = lambda_2 = 0.5.

Departures, with reasons. No category alignment loss: it needs one dominant category, which our datasets lack. No L2
normalization: scores are logits of a softmax, which unit vectors cannot spread; squared distances are means over the D
entries instead, so that they stay comparable to the loss. An id is dropped for OOV now and then, in reading and in
mimicking, so that unknown ids have a trained vector. W_i and W_u begin near [identity ; 0].
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.base import ItemInputs, NetConfig, Sizes, TrainBatch, UserInputs
from models.ihm import HistoryItemsConfig
from models.items import IdItemsConfig, ItemTower, StaticItemsConfig
from models.layers import drop_ids, embedding, linear_near_identity
from models.pair import PairUsersConfig
from models.sequence import SequenceUsersConfig, UserTower


class AugmentedConfig(NetConfig):
    """Hyper-parameters of either side."""

    kind: Literal["augmented"] = "augmented"
    mimic_weight: float = Field(0.5, ge=0, description="lambda of this side's mimic loss")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="probability that an id becomes OOV in training")


class AugmentedItemsConfig(AugmentedConfig):
    """The item side around another tower."""

    inner: Annotated[IdItemsConfig | StaticItemsConfig | HistoryItemsConfig, Field(discriminator="kind")]


class AugmentedUsersConfig(AugmentedConfig):
    """The user side around another tower."""

    inner: Annotated[SequenceUsersConfig | PairUsersConfig, Field(discriminator="kind")]


class AugmentedItems(ItemTower):
    """p_i = W_i [v_i ; a_i], v_i from ``inner``."""

    def __init__(self, config: AugmentedItemsConfig, inner: ItemTower, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.config = config
        self.inner = inner
        self.history_length = inner.history_length
        self.input_scale = inner.input_scale
        self.augmented = embedding(sizes.items, dim)
        self.project = linear_near_identity(2 * dim, dim)

    def forward(self, items: ItemInputs) -> Tensor:
        return self.project(torch.cat([self.inner(items), self._augment(items.ids)], dim=1))  # [M, D]

    def auxiliary_loss(self, batch: TrainBatch, users: Tensor) -> Tensor:
        own = self._augment(batch.items.ids[batch.targets])  # [T, D] a_i
        return self.config.mimic_weight * (own - users.detach()).square().mean()

    def _augment(self, ids: Tensor) -> Tensor:
        return self.augmented(drop_ids(ids, self.config.id_dropout, self.training))


class AugmentedUsers(UserTower):
    """p_u = W_u [x_u ; a_u], x_u from ``inner``."""

    def __init__(self, config: AugmentedUsersConfig, inner: UserTower, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.config = config
        self.inner = inner
        self.history_length = inner.history_length
        self.augmented = embedding(sizes.users, dim)
        self.project = linear_near_identity(2 * dim, dim)

    def forward(self, users: UserInputs, items: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        own = self._augment(users.ids[rows])  # [T, D] a_u
        return self.project(torch.cat([self.inner(users, items, rows, positions), own], dim=1))

    def auxiliary_loss(self, batch: TrainBatch, items: Tensor) -> Tensor:
        own = self._augment(batch.users.ids[batch.target_rows])  # [T, D] a_u
        return self.config.mimic_weight * (own - items.detach()).square().mean()

    def _augment(self, ids: Tensor) -> Tensor:
        return self.augmented(drop_ids(ids, self.config.id_dropout, self.training))
