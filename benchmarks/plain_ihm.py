"""A plain per-row IHM-SASRec: what training speed is compared with, never what is served.

The model is IHM (Zuo et al., KDD 2024, eq. 1-3) on the SASRec backbone of :mod:`models.layers`. The way it trains is
that of common public code: a Python loop samples each user's sequence and pads it to the same length, every position
has one uniform negative with an item history of its own, histories are gathered per position for positives and
negatives, keys are projected per history slot, and the loss is binary cross-entropy.

Where such code leaves a choice, the faster was taken, so that the comparison errs in its favour: fused Adam and fused
causal attention; no gradient for padding's row; the encoder reads the vectors that the targets have anyway, one
position later; users with one engagement, whose rows would be padding but for one position, are left out, while of all
others every engagement is a target (a start token precedes the first).
"""

import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from assets.stream import EngagementStream, Int
from models.base import Features
from models.layers import INIT_STD, FeatureEmbedding, embedding

PADDING = 0
"""Fills sequences and histories. Dense ids start at 1, so row 0 of a table belongs to nobody here."""


@dataclass(frozen=True)
class Shape:
    """Sizes that both sides of the comparison share.

    Attributes:
        dim: d of every embedding.
        layers: of the user's encoder.
        heads: of the user's encoder.
        length: positions of a user sequence; every row is padded to it.
        experts: H of the item tower.
        item_history: L_h, latest qualified users that an item's history keeps.
        feature_dim: width of one item feature.
        ids: whether E_S reads the item's ID besides its features.
        dropout: of the user's encoder.
    """

    dim: int = 64
    layers: int = 2
    heads: int = 2
    length: int = 50
    experts: int = 1
    item_history: int = 30
    feature_dim: int = 16
    ids: bool = True
    dropout: float = 0.2


@dataclass(frozen=True)
class PlainBatch:
    """Sequences padded to the full length L, padding behind.

    Attributes:
        targets: [B, L] item ids; the encoder reads them one position later.
        negatives: [B, L] item ids, one for each target.
        target_users: [B, L, L_h] history of each target, strictly before it, oldest first, padding behind.
        negative_users: [B, L, L_h] history of each negative at the same instant.
    """

    targets: Tensor
    negatives: Tensor
    target_users: Tensor
    negative_users: Tensor

    @property
    def interactions(self) -> int:
        """Targets that are not padding."""
        return int((self.targets != PADDING).sum())


class PlainSampler:
    """Python lists and loops over users, positions and history slots.

    Args:
        sequences: per user (item, instant) pairs, oldest first.
        histories: per item the instants, ascending, and the qualified users of its engagements.
        n_items: item ids are 1 .. n_items.
    """

    def __init__(
        self,
        sequences: list[list[tuple[int, int]]],
        histories: dict[int, tuple[list[int], list[int]]],
        n_items: int,
        shape: Shape,
        seed: int,
    ) -> None:
        self.sequences = [sequence for sequence in sequences if len(sequence) > 1]
        self.histories = histories
        self.n_items = n_items
        self.shape = shape
        self.random = random.Random(seed)

    @classmethod
    def build(cls, known: EngagementStream, item_ids: Int, history_user_ids: Int, shape: Shape, seed: int) -> Self:
        """Lists of the engagements ``known``.

        Args:
            item_ids: [N] dense id, from 1, of every universe row.
            history_user_ids: [U] dense id, from 1, of every qualified user's universe row, :data:`PADDING` for others.
        """
        sequences: dict[int, list[tuple[int, int]]] = {}
        histories: dict[int, tuple[list[int], list[int]]] = {}
        items, instants = item_ids[known.items].tolist(), known.timestamps.astype(np.int64).tolist()
        qualified = history_user_ids[known.users].tolist()
        for user, item, instant, member in zip(known.users.tolist(), items, instants, qualified, strict=True):
            sequences.setdefault(user, []).append((item, instant))
            if member != PADDING:
                when, who = histories.setdefault(item, ([], []))
                when.append(instant)
                who.append(member)
        return cls(list(sequences.values()), histories, int(item_ids.max()), shape, seed)

    def epoch(self, batch_size: int) -> Iterator[PlainBatch]:
        """Every user once, in random order, ``batch_size`` users at a time."""
        order = list(range(len(self.sequences)))
        self.random.shuffle(order)
        for start in range(0, len(order), batch_size):
            yield self.batch([self.sequences[index] for index in order[start : start + batch_size]])

    def batch(self, sequences: list[list[tuple[int, int]]]) -> PlainBatch:
        rows = [self._row(sequence) for sequence in sequences]
        return PlainBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _row(self, sequence: list[tuple[int, int]]) -> tuple[Int, Int, Int, Int]:
        length, slots = self.shape.length, self.shape.item_history
        targets, negatives = (np.zeros(length, np.int64) for _ in range(2))
        target_users, negative_users = (np.zeros((length, slots), np.int64) for _ in range(2))
        seen = {item for item, _ in sequence}
        for position, (item, instant) in enumerate(sequence[-length:]):
            negative = self._negative(seen)
            targets[position], negatives[position] = item, negative
            self._fill(target_users[position], item, instant)
            self._fill(negative_users[position], negative, instant)
        return targets, negatives, target_users, negative_users

    def _negative(self, seen: set[int]) -> int:
        """Uniform over the items that the user never engaged with; any item where there is none."""
        negative = self.random.randint(1, self.n_items)
        while negative in seen and len(seen) < self.n_items:
            negative = self.random.randint(1, self.n_items)
        return negative

    def _fill(self, row: Int, item: int, instant: int) -> None:
        """Write the latest users of ``item`` strictly before ``instant`` into ``row`` [L_h]."""
        when, who = self.histories.get(item, ((), ()))
        end = bisect_left(when, instant)
        latest = who[max(0, end - len(row)) : end]
        row[: len(latest)] = latest


class PlainItemTower(nn.Module):
    """E_S and IHM's eq. 1-3, for every row of a batch by itself.

    Args:
        users: rows of the table of qualified users, row 0 for padding.
        items: rows of the item table.
        feature_rows: feature name -> value ids.
    """

    def __init__(self, users: int, items: int, feature_rows: dict[str, int], shape: Shape) -> None:
        super().__init__()
        d, self.experts = shape.dim, shape.experts
        self.items = embedding(items, d) if shape.ids else None
        self.users = nn.Embedding(users, d, padding_idx=PADDING)  # no time goes into padding's gradient
        nn.init.normal_(self.users.weight, std=INIT_STD)
        self.features = FeatureEmbedding(feature_rows, shape.feature_dim)
        self.static_projection = nn.Linear(self.features.width + (d if shape.ids else 0), d)
        self.key = nn.Linear(d, self.experts * d, bias=False)  # W_K of every head, one below the other
        self.query = nn.Linear(d, self.experts * d, bias=False)  # W_S
        self.gate = nn.Linear(2 * d, 1, bias=False)  # W_gate

    def static(self, items: Tensor, features: Features) -> Tensor:
        """[M, d] E_S(x_i): ID and features concatenated and projected."""
        parts = [self.features(features, len(items))]
        if self.items is not None:
            parts.append(self.items(items))
        return self.static_projection(torch.cat(parts, dim=1))

    def forward(self, static: Tensor, history: Tensor) -> Tensor:
        """[M, d] e_i of eq. 1 for E_S [M, d] and history users [M, L_h]; E_S itself is the last of the slots."""
        m, d = static.shape
        slots = torch.cat([self.users(history), static[:, None]], dim=1)  # [M, L_h + 1, d]
        keys = self.key(slots).view(m, -1, self.experts, d)  # [M, L_h + 1, H, d]
        queries = self.query(static).view(m, self.experts, d, 1)  # [M, H, d, 1]
        logits = (keys.transpose(1, 2) @ queries)[..., 0] / d**0.5  # [M, H, L_h + 1]
        filled = torch.cat([history != PADDING, torch.ones(m, 1, dtype=torch.bool)], dim=1)  # [M, L_h + 1]
        weights = logits.masked_fill(~filled[:, None], -torch.inf).softmax(dim=2)  # [M, H, L_h + 1]
        experts = weights @ slots  # [M, H, d], eq. 2: the values are not projected
        beside = torch.cat([experts, static[:, None].expand(-1, self.experts, -1)], dim=2)  # [M, H, 2 d]
        return (self.gate(beside).softmax(dim=1) * experts).sum(dim=1)  # eq. 3, eq. 1


class PaddedBlock(nn.Module):
    """:class:`models.layers.CausalBlock` over padded sequences, as public code computes it.

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


class PlainIHM(nn.Module):
    """IHM-SASRec with binary cross-entropy over padded positions.

    Args:
        users: rows of the table of qualified users, row 0 for padding.
        items: rows of the item table, likewise.
        item_features: name -> [items, S] value ids by item id.
        feature_rows: name -> value ids.
    """

    def __init__(
        self, users: int, items: int, item_features: Features, feature_rows: dict[str, int], shape: Shape
    ) -> None:
        super().__init__()
        self.item_features = item_features
        self.tower = PlainItemTower(users, items, feature_rows, shape)
        self.start = nn.Parameter(torch.zeros(shape.dim))
        self.positions = embedding(shape.length, shape.dim)
        self.blocks = nn.ModuleList(PaddedBlock(shape.dim, shape.heads, shape.dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        self.dropout = nn.Dropout(shape.dropout)

    def encode(self, items: Tensor) -> Tensor:
        """[B, L, d] for item vectors [B, L, d]; position t knows the start token and the items before it."""
        x = torch.cat([self.start.expand(len(items), 1, -1), items[:, :-1]], dim=1)
        x = self.dropout(x + self.positions.weight)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def item_vectors(self, items: Tensor, history: Tensor) -> Tensor:
        """[B, L, d] for ids [B, L] and histories [B, L, L_h], padded positions too."""
        ids = items.flatten()
        features = {name: table[ids] for name, table in self.item_features.items()}
        return self.tower(self.tower.static(ids, features), history.flatten(0, 1)).view(*items.shape, -1)

    def loss(self, batch: PlainBatch) -> Tensor:
        """-(1/T) sum over the T real positions of log sigma(x.v_target) + log(1 - sigma(x.v_negative))."""
        targets = self.item_vectors(batch.targets, batch.target_users)
        users = self.encode(targets)
        positive = (users * targets).sum(dim=2)  # [B, L]
        negative = (users * self.item_vectors(batch.negatives, batch.negative_users)).sum(dim=2)
        real = batch.targets != PADDING
        return (functional.softplus(-positive[real]) + functional.softplus(negative[real])).mean()


def plain_step(net: PlainIHM, optimizer: torch.optim.Optimizer, batch: PlainBatch) -> float:
    """One step of training; the loss before it."""
    optimizer.zero_grad()
    loss = net.loss(batch)
    loss.backward()
    optimizer.step()
    return float(loss.detach())
