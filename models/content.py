"""Dense content of items (an embedding of their text, say) as an input of item towers.

With c_i the content of item i and m, s the mean and the standard deviation of each of its C numbers over the items
that the net was trained on:

    z(i) = W (c_i - m) / s + b   for an item with content,   z(i) = a   for one without

a is learned. While training, content is left out with a small probability, so that a is trained where every item has
content. m and s are part of the weights. What is built here is only built for data with content: without, a tower
has the same parameters as ever.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import ItemInputs, NetConfig, Sizes
from models.layers import INIT_STD, MLP, FeatureEmbedding, FieldMLP


class ContentConfig(NetConfig):
    """How content is read; without effect where items have none."""

    width: int = Field(64, ge=1, description="of z(i)")
    drop: float = Field(
        0.1, ge=0, lt=1, description="probability that content is left out in training, so that its stand-in is trained"
    )


class ContentEmbedding(nn.Module):
    """z(i).

    Args:
        numbers: C.
        std: of z at the start, over items.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: ContentConfig, numbers: int, std: float) -> None:
        super().__init__()
        self.width = config.width
        self.drop = config.drop
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("scale", torch.ones(numbers))
        self.project = nn.Linear(numbers, config.width)
        nn.init.normal_(self.project.weight, std=std / numbers**0.5)
        nn.init.zeros_(self.project.bias)
        self.missing = nn.Parameter(std * torch.randn(config.width))  # a

    def fit(self, content: Tensor) -> None:
        """Take m and s from items' content [n, C], NaN rows left out; s is 1 where a number never varies."""
        known = content[~content.isnan().any(dim=1)].double()
        self.mean = known.mean(dim=0).float()
        scale = known.std(dim=0, correction=0).float()
        self.scale = scale.where(scale > 0, 1.0)

    def forward(self, content: Tensor) -> Tensor:
        """[M, width] for content [M, C], a row of NaN for an item without."""
        missing = content.isnan().any(dim=1, keepdim=True)  # [M, 1]
        # What is left out must not be NaN in any sum: a gradient through it would be NaN as well.
        filled = torch.where(missing, self.mean, content)
        if self.training and self.drop > 0:
            missing = missing | (torch.rand(missing.shape, device=missing.device) < self.drop)
        return torch.where(missing, self.missing, self.project((filled - self.mean) / self.scale))


class ItemFeatures(FeatureEmbedding):
    """i_gen of an item tower: its categorical features side by side and, behind them, z(i).

    Args:
        dim: width of one categorical feature.
        std: of the initial outputs.
    """

    def __init__(self, sizes: Sizes, dim: int, content: ContentConfig, std: float = INIT_STD) -> None:
        super().__init__(sizes.item_features, dim, std)
        self.content = ContentEmbedding(content, sizes.content, std) if sizes.content else None
        self.width += 0 if self.content is None else content.width

    def of(self, items: ItemInputs) -> Tensor:
        """[M, width]."""
        features = self(items.features, len(items))
        return features if self.content is None else torch.cat([features, self.content(items.content)], dim=1)


class ItemFields(FieldMLP):
    """w(f_j) of HRNN-meta with content as one more field, which has an embedding and a network of its own as all have.

    Args:
        feature_dim: width of a categorical field's embedding; that of content is its own configuration's.
        hidden: width of a field's hidden layer.
        dim: D.
        dropout: behind the hidden layer.
    """

    def __init__(
        self, sizes: Sizes, feature_dim: int, hidden: int, dim: int, dropout: float, content: ContentConfig
    ) -> None:
        super().__init__(sizes.item_features, feature_dim, hidden, dim, dropout)
        self.content = ContentEmbedding(content, sizes.content, std=1.0) if sizes.content else None
        if self.content is not None:
            self.of_content = MLP((content.width, hidden, dim), dropout)
            *_, weight, bias = self.of_content.parameters()
            nn.init.normal_(weight, std=INIT_STD / hidden**0.5)  # small, as the other fields together
            nn.init.zeros_(bias)

    def of(self, items: ItemInputs) -> Tensor:
        """[M, D]."""
        total = self(items.features, len(items))
        return total if self.content is None else total + self.of_content(self.content(items.content))


def fit_content(net: nn.Module, content: Tensor) -> None:
    """Take the scales of content in ``net`` from that of training items [n, C], rows of NaN left out."""
    for module in net.modules():
        if isinstance(module, ContentEmbedding):
            module.fit(content)
