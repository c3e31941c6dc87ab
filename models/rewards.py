"""Reward-weighted losses: HRNN-meta (Ma et al., KDD 2020, section 3.3)."""

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor

from models.base import NetConfig


class RewardConfig(NetConfig):
    """Non-negative weights r of targets by their value: r = clip((value - zero) / (one - zero), 0, 1).

    A target without a value has reward 1. Weights are divided by their mean over the batch, so that the step size stays
    that of the unweighted loss; a batch without any reward teaches nothing.
    """

    zero: float = Field(description="a value without reward; lower ones neither")
    one: float = Field(description="a value of reward 1; beyond it no more. Below zero where less is better")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.zero == self.one:
            raise ValueError("reward.zero and reward.one are the same value: there is nothing between them")
        return self

    def weights(self, values: Tensor) -> Tensor:
        """[T] of mean 1 (or all 0) for the values [T] of targets, NaN where unknown."""
        rewards = ((values - self.zero) / (self.one - self.zero)).clamp(0, 1).nan_to_num(nan=1.0)  # [T]
        return rewards / rewards.mean().clamp(min=1e-12)
