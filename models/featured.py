"""Items by their features, with a bias of their own: the item features alone, of HRNN-meta's Table 1 (row 2)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import ItemInputs, NetConfig, Sizes
from models.content import ContentConfig, ItemFields
from models.items import ItemTower


class FeatureItemsConfig(NetConfig):
    """Hyper-parameters of :class:`FeatureItems`."""

    kind: Literal["features"] = "features"
    feature_dim: int = Field(16, ge=1, description="width of one field's embedding")
    hidden: int = Field(64, ge=1, description="width of a field's hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="behind a field's hidden layer")
    content: ContentConfig = ContentConfig()


class FeatureItems(ItemTower):
    """[w(f_j) ; b(f_j) + b_j]: what an item is, by its features, and how often it is wanted, by its id.

    Of the id there is one number, against the constant 1 that :class:`models.recurrent.RecurrentUsers` ends user
    vectors with. Without it every item of one genre would be as likely as any other, which no count of engagements is.
    """

    def __init__(self, config: FeatureItemsConfig, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.fields = ItemFields(sizes, config.feature_dim, config.hidden, dim, config.dropout, config.content)
        self.bias = nn.Embedding(sizes.items, 1)
        nn.init.zeros_(self.bias.weight)
        self.input_scale = dim**0.5

    def forward(self, items: ItemInputs) -> Tensor:
        vectors = self.fields.of(items)  # [M, D]
        return torch.cat([vectors[:, :-1], vectors[:, -1:] + self.bias(items.ids)], dim=1)
