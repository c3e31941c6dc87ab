"""Blocks the nets are made of."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.attention import Reads, attention
from models.base import OOV, PADDING, Features

INIT_STD = 0.02


def embedding(rows: int, dim: int, std: float = INIT_STD) -> nn.Embedding:
    """A table of normal rows, small by default (GPT-2's scale): an untrained row scores near zero with anything."""
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=std)
    return table


def drop_ids(ids: Tensor, probability: float, training: bool) -> Tensor:
    """Replace each id by OOV with ``probability`` while training, so that the OOV row learns what an unknown id means.

    Padding stays padding.
    """
    if not training or probability == 0:
        return ids
    dropped = torch.rand(ids.shape, device=ids.device) < probability
    return torch.where(dropped & (ids != PADDING), OOV, ids)


class FeatureBag(nn.Module):
    """Mean embedding of a list-valued categorical feature.

    A list without values counts as the one value OOV ("missing"), whose row is trained like any other.

    Args:
        rows: value ids, OOV included.
        dim: width d.
        std: of the initial rows.
    """

    def __init__(self, rows: int, dim: int, std: float = INIT_STD) -> None:
        super().__init__()
        self.table = embedding(rows, dim, std)

    def forward(self, values: Tensor) -> Tensor:
        """[N, d] for value ids [N, S], S >= 1, :data:`models.base.PADDING` behind the last; order does not matter."""
        filled = values != PADDING  # [N, S]
        empty = ~filled.any(dim=1, keepdim=True)  # [N, 1]
        first = torch.arange(values.shape[1], device=values.device) == 0  # [S]
        weights = (filled | (empty & first)).to(self.table.weight.dtype)  # [N, S]
        # Padding reads row 0 with weight 0: it adds exactly nothing to the sum and sends back a gradient of zero.
        vectors = self.table(values.clamp(min=OOV)) * weights.unsqueeze(-1)  # [N, S, d]
        return vectors.sum(dim=1) / weights.sum(dim=1, keepdim=True)


class FeatureEmbedding(nn.Module):
    """Bags of several features side by side: [N, F * d].

    Args:
        rows: feature name -> value ids; the output's order is the sorted names'.
        dim: width d of one feature.
    """

    nothing: Tensor

    def __init__(self, rows: Mapping[str, int], dim: int, std: float = INIT_STD) -> None:
        super().__init__()
        self.names = tuple(sorted(rows))
        self.bags = nn.ModuleList(FeatureBag(rows[name], dim, std) for name in self.names)
        self.width = len(self.names) * dim
        self.register_buffer("nothing", torch.zeros(0), persistent=False)  # knows the device where there is no feature

    def forward(self, features: Features, rows: int) -> Tensor:
        """[N, F * d]; [N, 0] where the dataset has no feature (``rows`` is N)."""
        if not self.names:
            return self.nothing.new_zeros(rows, 0)
        return torch.cat([bag(features[name]) for name, bag in zip(self.names, self.bags, strict=True)], dim=1)


class MLP(nn.Module):
    """Linear layers with ReLU and dropout between them; the last is linear, so that vectors can point anywhere."""

    def __init__(self, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (inside, outside) in enumerate(pairwise(widths)):
            if index:
                layers += [nn.ReLU(), nn.Dropout(dropout)]
            layers.append(nn.Linear(inside, outside))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class FieldMLP(nn.Module):
    """Field-aware MLP (HRNN-meta section 2.2-2.3): every field has an embedding and a network of its own; they add up.

    A field without a value counts as the value OOV. A vector that all rows share stands for what no field says: it is
    all there is where a dataset has no features.

    Args:
        rows: field name -> value ids; sorted by name.
        feature_dim: width of a field's embedding.
        hidden: width of its hidden layer.
        dim: D.
        dropout: behind the hidden layer.
    """

    def __init__(self, rows: Mapping[str, int], feature_dim: int, hidden: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.names = tuple(sorted(rows))
        self.bags = nn.ModuleList(FeatureBag(rows[name], feature_dim, std=1.0) for name in self.names)
        self.mlps = nn.ModuleList(MLP((feature_dim, hidden, dim), dropout) for _ in self.names)
        self.shared = nn.Parameter(torch.zeros(dim))
        for mlp in self.mlps:  # beside tables that begin small: together the fields begin as small as a row
            *_, weight, bias = mlp.parameters()
            nn.init.normal_(weight, std=INIT_STD / (hidden * len(self.names)) ** 0.5)
            nn.init.zeros_(bias)

    def forward(self, features: Features, rows: int) -> Tensor:
        """[N, D] for N rows."""
        total = self.shared.expand(rows, -1)
        for name, bag, mlp in zip(self.names, self.bags, self.mlps, strict=True):
            total = total + mlp(bag(features[name]))
        return total


def linear_near_identity(inside: int, outside: int) -> nn.Linear:
    """A linear layer that begins by passing its first ``outside`` inputs on, the others close to zero.

    A layer put behind a tower then starts from what the tower knows: for a sequence tower, in the space of its inputs.
    """
    layer = nn.Linear(inside, outside)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(outside, inside) + INIT_STD * torch.randn(outside, inside))
        layer.bias.zero_()
    return layer


class CausalBlock(nn.Module):
    """Pre-norm transformer block over ragged sequences: a flat list of positions and the pairs that attend.

    There is no padding to compute or to mask: 258,000 positions of an epoch on MovieTweetings would be 1.5 million,
    padded to each batch's longest history. No row of the attention is ever masked everywhere (softmax of which is NaN,
    and NaN scores rank first silently), because every query attends to its own position at least. And outputs nobody
    reads are not computed: queries and the feed-forward are five sixths of a block, and the last block of an encoder is
    read at one position in six.

    The attention is eq. 2-3 of SASRec (Kang and McAuley 2018), softmax(Q K^T / sqrt(d / H)) V per head; the
    feed-forward is eq. 5 with GELU, four times as wide. Norms come before each sublayer, not behind. Dropout acts on
    what each sublayer adds.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        assert dim % heads == 0, f"dim {dim} must be a multiple of heads {heads}"
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, reads: Reads) -> Tensor:
        """[Q, D] outputs at ``reads.queries`` for positions [S, D]."""
        y = x.index_select(0, reads.queries) + self.dropout(self.attend(self.norm_attention(x), reads))
        return y + self.dropout(self.feed_forward(self.norm_feed_forward(y)))

    def attend(self, x: Tensor, reads: Reads) -> Tensor:
        """[Q, D] for positions [S, D]."""
        d = x.shape[1]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = functional.linear(x.index_select(0, reads.queries), weight[:d], bias[:d])  # [Q, D]
        kv = functional.linear(x, weight[d:], bias[d:])  # [S, 2 D] keys, values
        return self.project(attention(q, kv, self.heads, reads))
