"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018, arXiv 1808.09781).

Departures from the paper, with reasons: a learned start token is position 0, so that a user without history has a
trained vector and the first engagement is a target too; norms precede the sublayers (trains without warm-up); the loss
is a softmax by default, because one uniform negative per target over-estimates probabilities (Petrov and Macdonald,
RecSys 2023); input ids are dropped to OOV now and then, so that an unknown item in a history means something.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models import losses
from models.base import Features, Movable, Net, NetConfig, Sizes, UserInputs
from models.layers import CausalBlock, drop_ids, embedding

SequenceLoss = Literal["full_softmax", "sampled_softmax", "bce"]


class SASRecConfig(NetConfig):
    """Hyper-parameters of :class:`SASRec`."""

    dim: int = Field(64, ge=1)
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    history_length: int = Field(50, ge=1, description="latest engagements that are read")
    dropout: float = Field(0.2, ge=0, lt=1)
    item_dropout: float = Field(0.05, ge=0, lt=1, description="probability that an input item becomes OOV")
    loss: SequenceLoss = "sampled_softmax"


@dataclass(frozen=True)
class SequenceBatch(Movable):
    """Sequences, each position of which may predict any number of targets.

    Attributes:
        history: [B, L] dense item ids, oldest first, left-aligned, padding behind.
        target_rows: [T] row of ``history`` that each target belongs to.
        target_positions: [T] how many entries of that row are strictly earlier than the target (0: the start token).
        targets: [T] dense item ids.
        negatives: drawn ids, [K] shared for the sampled softmax, [T] one each for BCE, [0] for the full softmax.
        log_q: [N] log probability of every id as a negative ([0] where the loss does not need it).
    """

    history: Tensor
    target_rows: Tensor
    target_positions: Tensor
    targets: Tensor
    negatives: Tensor
    log_q: Tensor


class SASRec(Net):
    """Item ids only; item vectors are the input embeddings."""

    def __init__(self, config: SASRecConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self.history_length = config.history_length
        self.items = embedding(sizes.items, config.dim)
        # Positions count from the start of the kept window (0 is the start token): counted from its end they would
        # differ for every target, and one pass could not encode a sequence for all its targets.
        self.positions = embedding(config.history_length + 1, config.dim)
        self.start = nn.Parameter(torch.zeros(config.dim))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(CausalBlock(config.dim, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def encode(self, history: Tensor) -> Tensor:
        """[B, L + 1, D] for histories [B, L]; entry t knows the start token and the first t items."""
        assert history.shape[1] <= self.history_length, f"history of {history.shape[1]} > {self.history_length}"
        ids = drop_ids(history, self.config.item_dropout, self.training)
        # Padding reads the OOV row; it lies behind every real position, so causality keeps it from all of them.
        x = self.items(ids.clamp(min=0)) * self.config.dim**0.5  # [B, L, D]
        x = torch.cat([self.start.expand(len(x), 1, -1), x], dim=1)  # [B, L + 1, D]
        x = self.dropout(x + self.positions.weight[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def item_vectors(self, item_ids: Tensor, item_features: Features) -> Tensor:
        """[N, D]; features are not read. Unknown items share the OOV row."""
        del item_features
        return self.items(item_ids)

    def user_vectors(self, batch: UserInputs) -> Tensor:
        """[B, D] the encoder's output at the last history position (the start token's for a user without history)."""
        return self.encode(batch.history)[torch.arange(len(batch.lengths), device=batch.lengths.device), batch.lengths]

    def loss(self, batch: SequenceBatch) -> Tensor:
        encoded = self.encode(batch.history)  # [B, L + 1, D]
        flat = batch.target_rows * encoded.shape[1] + batch.target_positions  # [T]
        users = encoded.flatten(0, 1).index_select(0, flat)  # [T, D]
        if self.config.loss == "full_softmax":
            return losses.full_softmax(users, self.items.weight, batch.targets)
        positives, negatives = self.items(batch.targets), self.items(batch.negatives)  # [T, D], [K or T, D]
        if self.config.loss == "bce":
            return losses.binary_cross_entropy((users * positives).sum(dim=1), (users * negatives).sum(dim=1))
        return losses.sampled_softmax(users, positives, batch.targets, negatives, batch.negatives, batch.log_q)
