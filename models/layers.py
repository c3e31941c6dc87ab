"""Blocks the nets are made of."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.base import OOV, PADDING, Features

INIT_STD = 0.02


def embedding(rows: int, dim: int) -> nn.Embedding:
    """A table with small normal rows (GPT-2's scale): an untrained row scores near zero with anything."""
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=INIT_STD)
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
    """

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.table = embedding(rows, dim)

    def forward(self, values: Tensor) -> Tensor:
        """[N, d] for value ids [N, S], :data:`models.base.PADDING` behind the last; order does not matter."""
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

    def __init__(self, rows: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.names = tuple(sorted(rows))
        self.bags = nn.ModuleList(FeatureBag(rows[name], dim) for name in self.names)
        self.width = len(self.names) * dim

    def forward(self, features: Features, rows: int) -> Tensor:
        """[N, F * d]; [N, 0] where the dataset has no feature (``rows`` is N)."""
        if not self.names:
            return torch.zeros(rows, 0, device=next(iter(features.values())).device if features else None)
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


class CausalBlock(nn.Module):
    """Pre-norm transformer block whose position t attends to positions <= t.

    Sequences must be left-aligned with padding *behind*. Then causality alone keeps padding away from real positions,
    and every row of the attention matrix has at least its own diagonal. With padding in front, a padding mask and a
    causal mask together leave whole rows masked, softmax of which is NaN, and NaN scores rank first silently.

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

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        x = x + self.dropout(self.attend(self.norm_attention(x)))
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))

    def attend(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # 3 x [B, H, T, D/H]
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # [B, H, T, D/H]
        return self.project(y.transpose(1, 2).reshape(b, t, d))  # [B, T, D]
