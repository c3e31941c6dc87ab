"""What stands between a user tower and the scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import ceil, log
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import NetConfig, TrainBatch

Losses = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""(user vectors [T, D], labellings, each [T] rows of the batch's items) -> the loss [T] of each labelling."""


class Head(nn.Module, ABC):
    """Turns the user tower's output into user vectors and into a loss."""

    @abstractmethod
    def serve(self, x: Tensor) -> Tensor:
        """[B, D] user vectors for the tower's output [B, D]."""

    @abstractmethod
    def loss(self, x: Tensor, batch: TrainBatch, losses: Losses) -> Tensor:
        """[T] loss of the tower's output [T, D], one row per target."""

    def begin_epoch(self, epoch: int, planned: int) -> None:
        """Called before each epoch (from 1) with the planned number of epochs."""


class SingleHeadConfig(NetConfig):
    """No parameters."""

    kind: Literal["single"] = "single"


class SingleHead(Head):
    """The tower's output is the user vector."""

    def serve(self, x: Tensor) -> Tensor:
        return x

    def loss(self, x: Tensor, batch: TrainBatch, losses: Losses) -> Tensor:
        return losses(x, (batch.targets,))[0]


class ClassBalancedHeadConfig(NetConfig):
    """Hyper-parameters of :class:`ClassBalancedHead`."""

    kind: Literal["class_balanced"] = "class_balanced"
    beta: float = Field(0.99, gt=0, lt=1, description="an item's effective number of samples is at most 1 / (1 - beta)")


class ClassBalancedHead(SingleHead):
    """The class-balanced loss (Cui et al., CVPR 2019, eq. 4) as CDN section 4.1 uses it: an item is a class.

    A target with n engagements weighs (1 - beta) / (1 - beta^n), one over its effective number of samples. Departures:
    n counts what came before the refresh, as everything in a batch does, a new item as one engagement; the weights have
    mean 1 over a batch, not over all classes, so that the step size stays that of the unweighted loss.
    """

    def __init__(self, config: ClassBalancedHeadConfig) -> None:
        super().__init__()
        self.beta = config.beta

    def loss(self, x: Tensor, batch: TrainBatch, losses: Losses) -> Tensor:
        return self.weights(batch.items.counts[batch.targets]) * super().loss(x, batch, losses)

    def weights(self, counts: Tensor) -> Tensor:
        """[T] of mean 1 for the engagements [T] of each target."""
        # In float32 1 - beta^n is 0 for n = 1 and a beta of 1 - 1e-8, and 19 % off for one of 1 - 1e-7.
        effective = -torch.expm1(counts.clamp(min=1).double() * log(self.beta)) / (1 - self.beta)  # [T]
        weights = 1 / effective  # [T]
        return (weights / weights.mean()).float()


class TwoStageHeadConfig(NetConfig):
    """Hyper-parameters of :class:`TwoStageHead`."""

    kind: Literal["two_stage"] = "two_stage"
    first_stage: float = Field(0.5, gt=0, lt=1, description="share of the planned epochs, rounded up to whole ones")


class TwoStageHead(SingleHead):
    """NDP: representation first, classifier second (Kang et al., ICLR 2020), as CDN section 4.1 adapts it.

    Users are the representation and items the classes. First both towers learn from the original sample; then the user
    tower is frozen and the item tower learns from the rebalanced one. Gradients that are none, not zero, freeze: an
    optimizer passes by parameters without a gradient, weight decay and momentum included.
    """

    def __init__(self, config: TwoStageHeadConfig) -> None:
        super().__init__()
        self.first_stage = config.first_stage
        self.second = False

    def begin_epoch(self, epoch: int, planned: int) -> None:
        self.second = epoch > ceil(self.first_stage * planned)

    def loss(self, x: Tensor, batch: TrainBatch, losses: Losses) -> Tensor:
        if not self.second:
            return super().loss(x, batch, losses)
        return super().loss(x.detach(), batch, losses)[batch.rebalanced]
