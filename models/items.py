"""Item towers: from what is known about items at a refresh to their vectors."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import ItemInputs, NetConfig, Sizes, TrainBatch
from models.content import ContentConfig, ItemFeatures
from models.layers import INIT_STD, MLP, drop_ids, embedding


class ItemTower(nn.Module, ABC):
    """[M, D] vectors of items.

    Attributes:
        history_length: latest qualified users of an item that are read (0: none).
        input_scale: what a sequence tower multiplies the vectors by, so that its inputs outweigh its positions.
        branches: how many vectors per item :meth:`training_vectors` scores, one per branch of the user side.
    """

    history_length: int = 0
    input_scale: float = 1.0
    branches: int = 1

    @abstractmethod
    def forward(self, items: ItemInputs) -> Tensor:
        """[M, D]; finite for items that were never seen and items without history."""

    def training_vectors(self, items: ItemInputs) -> tuple[Tensor, Tensor]:
        """[M, D] what user towers read, as of :meth:`forward`, and [M, branches * D] what training scores."""
        vectors = self(items)
        return vectors, vectors

    def auxiliary_loss(self, batch: TrainBatch, users: Tensor) -> Tensor:
        """Scalar that training adds to the loss; 0 but for towers with a loss of their own.

        Args:
            batch: T targets.
            users: [T, D] what the user tower made of each target's user; no gradient passes through it.
        """
        del batch
        return users.new_zeros(())


class IdItemsConfig(NetConfig):
    """A row per item id and nothing else: SASRec's."""

    kind: Literal["id"] = "id"


class IdItems(ItemTower):
    """The id's row; items unseen in training share the OOV row."""

    def __init__(self, config: IdItemsConfig, sizes: Sizes, dim: int) -> None:
        del config
        super().__init__()
        self.table = embedding(sizes.items, dim)
        self.input_scale = dim**0.5

    def forward(self, items: ItemInputs) -> Tensor:
        return self.table(items.ids)  # [M, D]


class StaticItemsConfig(NetConfig):
    """E_S of IHM section 3.2: memorization features (the id) and generalization features, concatenated, projected.

    Generalization features are the categorical ones and the dense content.
    """

    kind: Literal["static"] = "static"
    ids: bool = Field(True, description="whether the id is among the features; without, the tower only generalizes")
    id_dropout: float = Field(
        0.1, ge=0, lt=1, description="probability that an id becomes OOV in training, so that the OOV row is trained"
    )
    feature_dim: int = Field(16, ge=1, description="width of one feature")
    hidden: int | None = Field(None, ge=1, description="width of a hidden layer; none: one linear projection")
    dropout: float = Field(0.1, ge=0, lt=1, description="behind the hidden layer")
    std: float = Field(INIT_STD, gt=0, description="of the initial rows of ids and features")
    content: ContentConfig = ContentConfig()


class StaticItems(ItemTower):
    """x -> E_S(x): no engagement is read, so an item's vector is the same at every refresh."""

    def __init__(self, config: StaticItemsConfig, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.id_dropout = config.id_dropout
        self.table = embedding(sizes.items, dim, config.std) if config.ids else None
        self.features = ItemFeatures(sizes, config.feature_dim, config.content, config.std)
        width = self.features.width + (dim if config.ids else 0)
        if width == 0:
            raise ValueError(
                "this dataset's items have no features and no content: an item tower without ids would be constant"
            )
        hidden = () if config.hidden is None else (config.hidden,)
        self.project = MLP((width, *hidden, dim), config.dropout)
        self.input_scale = dim**0.5 if config.std <= INIT_STD else 1.0

    def forward(self, items: ItemInputs) -> Tensor:
        parts = [self.features.of(items)]  # [M, F]
        if self.table is not None:
            parts.insert(0, self.table(drop_ids(items.ids, self.id_dropout, self.training)))  # [M, D]
        return self.project(torch.cat(parts, dim=1))
