"""The SASRec backbone: causal self-attention over a user's history (Kang and McAuley, ICDM 2018, arXiv 1808.09781).

It reads the item vectors of the refresh, whichever tower made them, so inputs and candidates share one space, as in the
paper, and items that came after training are read like any other.

Departures from the paper, with reasons: a learned start token is position 0, so that a user without history has a
trained vector and the first engagement is a target too; norms precede the sublayers (trains without warm-up); the loss
is a softmax by default, because one uniform negative per target over-estimates probabilities (Petrov and Macdonald,
RecSys 2023); an input vector is dropped now and then, so that no single item decides.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.attention import Reads
from models.base import NetConfig, TrainBatch, UserInputs
from models.layers import CausalBlock, embedding


class UserTower(nn.Module, ABC):
    """Vectors of users at chosen points of their histories.

    Attributes:
        history_length: latest engagements that are read (0: none).
    """

    history_length: int = 0

    @abstractmethod
    def forward(self, users: UserInputs, items: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        """[T, D] user vectors.

        Args:
            users: [B] histories.
            items: [M, D] vectors that ``users.history`` points into.
            rows: [T] rows of ``users``.
            positions: [T] how many entries of that row's history are known.
        """

    def fit_scales(self, values: Tensor, events: Tensor) -> None:
        """See :meth:`models.base.Net.fit_scales`; nothing but for towers that read values."""

    def auxiliary_loss(self, batch: TrainBatch, items: Tensor) -> Tensor:
        """Scalar that training adds to the loss; 0 but for towers with a loss of their own.

        Args:
            batch: T targets.
            items: [T, D] each target's item vector; no gradient passes through it.
        """
        del batch
        return items.new_zeros(())


class SequenceUsersConfig(NetConfig):
    """Hyper-parameters of :class:`SequenceUsers`."""

    kind: Literal["sequence"] = "sequence"
    layers: int = Field(1, ge=1, description="blocks")
    heads: int = Field(2, ge=1)
    history_length: int = Field(50, ge=1, description="latest engagements that are read")
    dropout: float = Field(0.2, ge=0, lt=1)
    item_dropout: float = Field(0.05, ge=0, lt=1, description="probability that an input vector becomes zero")


class SequenceUsers(UserTower):
    """The encoder's output at a position knows the start token and the history's entries before it."""

    def __init__(self, config: SequenceUsersConfig, dim: int, input_scale: float) -> None:
        super().__init__()
        self.history_length = config.history_length
        self.item_dropout = config.item_dropout
        self.input_scale = input_scale
        # Positions count from the start of the kept window (0 is the start token): counted from its end they would
        # differ for every target, and one pass could not encode a sequence for all its targets.
        self.positions = embedding(config.history_length + 1, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(CausalBlock(dim, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, users: UserInputs, items: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        assert users.history.shape[1] <= self.history_length, f"{users.history.shape[1]} > {self.history_length}"
        steps = users.lengths + 1  # [B] the start token and the history
        starts = steps.cumsum(0) - steps  # [B] where each sequence starts among all positions
        owner = torch.repeat_interleave(torch.arange(len(users), device=steps.device), steps)  # [S]
        slot = torch.arange(len(owner), device=steps.device) - starts[owner]  # [S] 0 is the start token
        x = self.embed(users.history, items, owner, slot)  # [S, D]
        for block in self.blocks[:-1]:
            x = block(x, Reads(torch.arange(len(x), device=x.device), starts[owner]))
        return self.norm(self.blocks[-1](x, Reads(starts[rows] + positions, starts[rows])))  # [T, D]

    def embed(self, history: Tensor, items: Tensor, owner: Tensor, slot: Tensor) -> Tensor:
        """[S, D] inputs: the start token at slot 0, the history's item vectors behind it, and positions."""
        begins = slot == 0  # [S]
        # The start token stands behind the items, so that one gather fills all positions; padding is never looked at.
        tokens = torch.cat([items * self.input_scale, self.start[None]])  # [M + 1, D]
        if history.shape[1]:
            rows = history[owner, (slot - 1).clamp(min=0)].masked_fill(begins, len(items))
        else:
            rows = torch.full_like(slot, len(items))
        x = tokens.index_select(0, rows)
        if self.training and self.item_dropout:
            kept = (torch.rand(len(x), device=x.device) >= self.item_dropout) | begins
            x = x * kept[:, None]
        return self.dropout(x + self.positions.weight.index_select(0, slot))
