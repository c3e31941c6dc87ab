"""Blocks the nets are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

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


@dataclass(frozen=True)
class Reads:
    """Which outputs of a block over ragged sequences are wanted, and what each of them may look at.

    Attributes:
        queries: [Q] rows of the block's input [S, D].
        firsts: [Q] first row of each query's sequence; a query attends to the rows from there to itself.
    """

    queries: Tensor
    firsts: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        """[P] index into :attr:`queries`, ascending, and [P] row, of every query and every row it attends to."""
        counts = self.queries - self.firsts + 1
        query = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)  # [P]
        within = torch.arange(len(query), device=counts.device) - (counts.cumsum(0) - counts)[query]
        return query, self.firsts[query] + within

    def mask(self, rows: int) -> Tensor:
        """[Q, S] whether a query attends to a row, for S rows."""
        row = torch.arange(rows, device=self.queries.device)
        return (row >= self.firsts[:, None]) & (row <= self.queries[:, None])

    def dense(self, rows: int) -> bool:
        """Whether one masked product over all rows is cheaper than a gather per pair.

        Forward and backward, a pair costs about as much as 128 cells of the product (width 64, one thread).
        """
        pairs = int((self.queries - self.firsts + 1).sum())
        return len(self.queries) * rows < 128 * pairs


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
        mixed = self._by_mask(q, kv, reads) if reads.dense(len(x)) else self._by_pairs(q, kv, reads)
        return self.project(mixed)

    def _by_mask(self, q: Tensor, kv: Tensor, reads: Reads) -> Tensor:
        """[Q, D] softmax(Q K^T / sqrt(d / H)) V, all rows scored and masked."""
        d, h = q.shape[1], self.heads
        k, v = kv.view(len(kv), 2, h, d // h).permute(1, 2, 0, 3)  # [H, S, D/H] each
        y = functional.scaled_dot_product_attention(
            q.view(1, -1, h, d // h).transpose(1, 2), k[None], v[None], attn_mask=reads.mask(len(kv))
        )  # [1, H, Q, D/H]
        return y[0].transpose(0, 1).reshape(-1, d)

    def _by_pairs(self, q: Tensor, kv: Tensor, reads: Reads) -> Tensor:
        """[Q, D] the same, of the pairs that attend alone."""
        d, h = q.shape[1], self.heads
        query, row = reads.pairs()  # [P]
        k, v = kv.index_select(0, row).split(d, dim=1)  # [P, D] each
        scores = (q.index_select(0, query) * k).view(-1, h, d // h).sum(dim=2) * (d / h) ** -0.5  # [P, H]
        # The largest score is taken off, as in any softmax; it cancels, so no gradient need pass through it.
        top = scores.new_full((len(q), h), -torch.inf)
        top = top.scatter_reduce(0, query[:, None].expand_as(scores), scores.detach(), "amax")  # [Q, H]
        weights = (scores - top.index_select(0, query)).exp()  # [P, H]
        total = weights.new_zeros(len(q), h).index_add(0, query, weights)  # [Q, H]
        weighted = (weights[..., None] * v.view(-1, h, d // h)).flatten(1)  # [P, D]
        mixed = q.new_zeros(len(q), d).index_add(0, query, weighted)  # [Q, D]
        return (mixed.view(-1, h, d // h) / total[..., None]).flatten(1)


def segment_softmax_mean(
    own_scores: Tensor, scores: Tensor, own_values: Tensor, values: Tensor, rows: Tensor
) -> Tensor:
    """Softmax-weighted mean of each row's entries and one entry of its own: attention over ragged lists.

    No padding, so none can leak, and no row is ever masked everywhere: a row without entries gives ``own_values`` back
    exactly. Item histories hold a few entries on average and 100 at most; padded they would cost many times as much.

    Args:
        own_scores: [M].
        scores: [E].
        own_values: [M, D].
        values: [E, D].
        rows: [E] row (0..M-1) of each entry.

    Returns:
        [M, D].
    """
    # The largest score is taken off, as in any softmax; it cancels, so no gradient need pass through it.
    top = own_scores.detach().scatter_reduce(0, rows, scores.detach(), "amax")  # [M]
    own_weight = (own_scores - top).exp()  # [M]
    weight = (scores - top.index_select(0, rows)).exp()  # [E]
    total = own_weight.index_add(0, rows, weight)  # [M]
    mixed = (own_weight[:, None] * own_values).index_add(0, rows, weight[:, None] * values)  # [M, D]
    return mixed / total[:, None]
