"""What every net shares: its configuration base, its sizes, its inputs and its two outputs.

Dense ids start at 1; :data:`OOV` (0) stands for everything unknown and is an ordinary trained row. :data:`PADDING`
fills the space behind the last entry of a list; it has no row, and nothing of it may reach a result or a gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

OOV = 0
PADDING = -1

Features = dict[str, Tensor]
"""Feature name -> [N, S] value ids, left-aligned, :data:`PADDING` behind; S differs between features."""


class NetConfig(BaseModel):
    """Base of every net's hyper-parameters: immutable, unknown keys rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Sizes:
    """Rows of every embedding table, the OOV row included.

    Attributes:
        users: user ids.
        items: item ids.
        user_features: feature name -> value ids.
        item_features: feature name -> value ids.
    """

    users: int
    items: int
    user_features: Mapping[str, int]
    item_features: Mapping[str, int]


class Movable:
    """A batch: a dataclass of tensors and dictionaries of tensors that moves to a device as one."""

    def to(self, device: torch.device, **_: Any) -> Self:
        moved = {field.name: _move(getattr(self, field.name), device) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **moved)  # type: ignore[type-var]


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _move(one, device) for name, one in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class UserInputs(Movable):
    """What a net may know about users at a request.

    Attributes:
        user_ids: [B] dense ids.
        user_features: name -> [B, S].
        history: [B, L] dense item ids, oldest first, left-aligned, :data:`PADDING` behind.
        lengths: [B] entries of each history, 0 for a user without any.
    """

    user_ids: Tensor
    user_features: Features
    history: Tensor
    lengths: Tensor


class Net(nn.Module, ABC):
    """A retrieval net: the score of a user and an item is the inner product of their vectors.

    Attributes:
        history_length: latest engagements that :meth:`user_vectors` reads (0: none).
    """

    history_length: int = 0

    @abstractmethod
    def item_vectors(self, item_ids: Tensor, item_features: Features) -> Tensor:
        """[N, D] for dense ids [N] and their features."""

    @abstractmethod
    def user_vectors(self, batch: UserInputs) -> Tensor:
        """[B, D]; finite for users without history and for unknown users."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Scalar training loss, a mean over the targets of ``batch``."""
