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
        history_users: ids of qualified users, those that item histories may hold.
        user_features: feature name -> value ids.
        item_features: feature name -> value ids.
        event_types: types of engagements.
        content: numbers of an item's dense content; 0 where items have none.
    """

    users: int
    items: int
    history_users: int
    user_features: Mapping[str, int]
    item_features: Mapping[str, int]
    event_types: int = 1
    content: int = 0


class Movable:
    """A batch: a dataclass of tensors, dictionaries of tensors and other batches that moves to a device as one."""

    def to(self, device: torch.device, **_: Any) -> Self:
        moved = {field.name: _move(getattr(self, field.name), device) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **moved)  # type: ignore[type-var]


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _move(one, device) for name, one in value.items()}
    return value.to(device) if isinstance(value, Tensor | Movable) else value


@dataclass(frozen=True)
class ItemInputs(Movable):
    """What a net may know about items at a refresh; nothing of it is later than the refresh.

    Attributes:
        ids: [M] dense ids, OOV for items the net was not trained on.
        features: name -> [M, S].
        content: [M, C] float, C that of :attr:`Sizes.content`; a row of NaN for an item without content.
        counts: [M] float, engagements before the refresh, or before the end of training where that is earlier: how
            often an item's own parameters can have been trained by then.
        log_trend: [M] log q_t, see :mod:`assets.training.trend`.
        history_rows: [E] the row (0..M-1) that each entry of the item histories belongs to, ascending.
        history_users: [E] the qualified users who engaged with that item, oldest first within an item, by dense ids of
            their own (:attr:`Sizes.history_users`).
    """

    ids: Tensor
    features: Features
    content: Tensor
    counts: Tensor
    log_trend: Tensor
    history_rows: Tensor
    history_users: Tensor

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class UserInputs(Movable):
    """What a net may know about users at a request.

    Attributes:
        ids: [B] dense ids.
        features: name -> [B, S].
        history: [B, L] rows of the item matrix, oldest first, left-aligned, :data:`PADDING` behind.
        times: [B, L + 1] int64 microseconds since 1970, UTC: of each entry, and behind the last, in column ``lengths``,
            of the request; anything behind that.
        values: [B, L] float, the value (a rating, a dwell time …) of each entry's engagement; NaN where unknown, and
            behind.
        events: [B, L] dense ids of the entries' event types, :data:`PADDING` behind.
        lengths: [B] entries of each history, 0 for a user without any.
    """

    ids: Tensor
    features: Features
    history: Tensor
    times: Tensor
    values: Tensor
    events: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TrainBatch(Movable):
    """Engagements between one refresh and the next, and what was known at the refresh.

    A row of ``users`` may predict any number of targets, each from a prefix of its history. The request of a target at
    position p is made at ``users.times[row, p]``: its own instant, because what follows the entries strictly before a
    target is the target, or an engagement of the same instant.

    Attributes:
        items: [M] the items that the batch needs. The first ``candidates`` of them are on the catalog at the refresh
            (all of the catalog where ``negatives`` is empty); the others are in a history only.
        users: [B] histories.
        target_rows: [T] row of ``users`` that each target belongs to.
        target_positions: [T] how many entries of that row's history are strictly earlier than the target.
        targets: [T] rows of ``items``, below ``candidates``.
        values: [T] float, value of each target's engagement, NaN where unknown.
        seen_targets: [P] with ``seen_items``: pairs (target, candidate) of what the target's user had engaged
            with before, the target itself never among them. They are no candidates, as in evaluation.
        seen_items: [P].
        negatives: [K] rows of ``items`` drawn as negatives; [0] where every row of ``items`` is a candidate.
        log_q: [M] log probability with which each row is drawn ([0] where nothing is drawn).
        rebalanced: [T] rows of the targets, drawn so that items are about balanced: the sample Omega_r of CDN 3.2.
        reversed: [T] rows of the targets, drawn by the inverse of their item's frequency: the reversed sampler of BBN.
    """

    items: ItemInputs
    candidates: int
    users: UserInputs
    target_rows: Tensor
    target_positions: Tensor
    targets: Tensor
    values: Tensor
    seen_targets: Tensor
    seen_items: Tensor
    negatives: Tensor
    log_q: Tensor
    rebalanced: Tensor
    reversed: Tensor

    @property
    def drawn(self) -> Tensor:
        """[K] rows of ``items`` that a softmax is estimated from: the negatives, or without any the targets."""
        return self.negatives if len(self.negatives) else self.targets


class Net(nn.Module, ABC):
    """A retrieval net: the score of a user and an item is the inner product of their vectors.

    Attributes:
        history_length: latest engagements of a user that :meth:`user_vectors` reads (0: none).
        item_history_length: latest qualified users of an item that :meth:`item_vectors` reads (0: none).
        changes: whether item vectors depend on the refresh, be it through item histories or the trend.
    """

    history_length: int = 0
    item_history_length: int = 0
    changes: bool = False

    @abstractmethod
    def item_vectors(self, items: ItemInputs) -> Tensor:
        """[M, D]; finite for unknown items and items without any history."""

    @abstractmethod
    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        """[B, D]; finite for users without history and for unknown users.

        Args:
            users: B requests.
            items: [M, D] of :meth:`item_vectors`, which ``users.history`` points into.
        """

    @abstractmethod
    def loss(self, batch: TrainBatch) -> Tensor:
        """Scalar training loss, a mean over the targets of ``batch``."""

    def begin_epoch(self, epoch: int, planned: int) -> None:
        """Called before each epoch (from 1) with the planned number of epochs; schedules live here."""

    def fit_scales(self, values: Tensor, events: Tensor) -> None:
        """Called once before training, to learn the scale of values per event type; what is learned is a buffer.

        Args:
            values: [E] of all training engagements, NaN where unknown.
            events: [E] dense ids of their types.
        """
