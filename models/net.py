"""One retrieval net of exchangeable parts: an item tower, a user tower, a head, a trend and a loss.

Every model of the registry is a configuration of it. Item vectors are computed once per refresh and shared by the
batch: as candidates, and as inputs of the sequence tower; gradients pass through both.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models import losses
from models.base import ItemInputs, Net, NetConfig, Sizes, TrainBatch, UserInputs
from models.cdn import (
    BilateralHead,
    BilateralHeadConfig,
    ExpertItemsConfig,
    UnbalancedBalancedConfig,
    build_expert_items,
)
from models.dat import AugmentedItems, AugmentedItemsConfig, AugmentedUsers, AugmentedUsersConfig
from models.featured import FeatureItems, FeatureItemsConfig
from models.head import (
    ClassBalancedHead,
    ClassBalancedHeadConfig,
    Head,
    SingleHead,
    SingleHeadConfig,
    TwoStageHead,
    TwoStageHeadConfig,
)
from models.ihm import HistoryItems, HistoryItemsConfig
from models.items import IdItems, IdItemsConfig, ItemTower, StaticItems, StaticItemsConfig
from models.mixed import MixedItems, MixedItemsConfig, MixingHead, MixingHeadConfig
from models.pair import PairUsers, PairUsersConfig
from models.recurrent import RecurrentUsers, RecurrentUsersConfig
from models.rewards import RewardConfig
from models.sequence import SequenceUsers, SequenceUsersConfig, UserTower
from models.work import Work

ItemsConfig = Annotated[
    IdItemsConfig
    | StaticItemsConfig
    | HistoryItemsConfig
    | ExpertItemsConfig
    | AugmentedItemsConfig
    | MixedItemsConfig
    | FeatureItemsConfig,
    Field(discriminator="kind"),
]
UsersConfig = Annotated[
    SequenceUsersConfig | PairUsersConfig | AugmentedUsersConfig | RecurrentUsersConfig, Field(discriminator="kind")
]
HeadConfig = Annotated[
    SingleHeadConfig | BilateralHeadConfig | ClassBalancedHeadConfig | TwoStageHeadConfig | MixingHeadConfig,
    Field(discriminator="kind"),
]
LossKind = Literal["full_softmax", "sampled_softmax", "in_batch_softmax", "bce", "squared_error"]
"""``squared_error`` predicts values: :class:`models.rating.RatingNet`, of the same items and users."""


class TrendConfig(NetConfig):
    """score(u, i, t) = x_u . v_i + tau * log q_t(i): the trend decomposition, HRNN-meta's eq. 5."""

    weight: float = Field(0.0, ge=0, description="tau, or where it starts; 0 without learning: no trend")
    learned: bool = Field(False, description="whether tau is a parameter")

    @property
    def used(self) -> bool:
        return self.weight > 0 or self.learned


class RetrievalConfig(NetConfig):
    """A net's parts and their hyper-parameters."""

    dim: int = Field(64, ge=1, description="width of item and user vectors")
    items: ItemsConfig
    users: UsersConfig
    head: HeadConfig = SingleHeadConfig()
    trend: TrendConfig = TrendConfig()
    loss: LossKind = "full_softmax"
    reward: RewardConfig | None = Field(None, description="what a target's value makes it count; none: all alike")
    prior_weight: float = Field(
        0.0, ge=0, description="w of training scores s + w log p(i); served without, they favour the tail (CDN's LogQ)"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if isinstance(self.items, ExpertItemsConfig) and isinstance(self.items.design, UnbalancedBalancedConfig):
            if not isinstance(self.head, BilateralHeadConfig):
                raise ValueError("items.design unbalanced_balanced needs head bilateral: it has a vector per branch")
            if self.head.served != "main":
                raise ValueError("items.design unbalanced_balanced serves the main branch's items: head.served is main")
        if isinstance(self.items, MixedItemsConfig) != isinstance(self.head, MixingHeadConfig):
            raise ValueError("items mixed and head mixing are the two halves of one equation: neither goes without")
        if self.prior_weight > 0 and self.loss == "bce":
            raise ValueError("prior_weight shifts the scores of a softmax; loss bce has none")
        return self

    @model_validator(mode="after")
    def _reward_fits(self) -> Self:
        if self.reward is None:
            return self
        if self.loss == "squared_error":
            raise ValueError("reward weighs targets by their value; loss squared_error predicts it, all alike")
        if isinstance(self.head, BilateralHeadConfig | TwoStageHeadConfig):
            raise ValueError(f"reward weighs each target; head {self.head.kind} mixes in another sample of them")
        return self


SIMPLE_ITEMS: Final[dict[type[NetConfig], Callable[[Any, Sizes, int], ItemTower]]] = {
    IdItemsConfig: IdItems,
    StaticItemsConfig: StaticItems,
    HistoryItemsConfig: HistoryItems,
    MixedItemsConfig: MixedItems,
    FeatureItemsConfig: FeatureItems,
}
"""Item towers that are made of nothing but their own configuration."""


def build_items(config: ItemsConfig, sizes: Sizes, dim: int) -> ItemTower:
    """The item tower of a configuration."""
    if isinstance(config, AugmentedItemsConfig):
        return AugmentedItems(config, build_items(config.inner, sizes, dim), sizes, dim)
    if isinstance(config, ExpertItemsConfig):
        return build_expert_items(config, sizes, dim)
    return SIMPLE_ITEMS[type(config)](config, sizes, dim)


def build_users(config: UsersConfig, sizes: Sizes, dim: int, input_scale: float) -> UserTower:
    """The user tower of a configuration."""
    if isinstance(config, AugmentedUsersConfig):
        return AugmentedUsers(config, build_users(config.inner, sizes, dim, input_scale), sizes, dim)
    if isinstance(config, PairUsersConfig):
        return PairUsers(config, sizes, dim)
    if isinstance(config, RecurrentUsersConfig):
        return RecurrentUsers(config, sizes, dim, input_scale)
    return SequenceUsers(config, dim, input_scale)


def build_head(config: HeadConfig, dim: int, branches: int) -> Head:
    """The head of a configuration, over an item tower of so many branches."""
    if isinstance(config, BilateralHeadConfig):
        return BilateralHead(config, dim, branches)
    if isinstance(config, ClassBalancedHeadConfig):
        return ClassBalancedHead(config)
    if isinstance(config, TwoStageHeadConfig):
        return TwoStageHead(config)
    if isinstance(config, MixingHeadConfig):
        return MixingHead(config)
    return SingleHead()


class Retrieval(Net):
    """Item vectors [v_i ; log q_t(i)] and user vectors [x_u ; tau]; without a trend [v_i] and [x_u]."""

    def __init__(self, config: RetrievalConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self.work = Work()
        self.items = build_items(config.items, sizes, config.dim)
        self.users = build_users(config.users, sizes, config.dim, self.items.input_scale)
        self.head = build_head(config.head, config.dim, self.items.branches)
        self.tau = nn.Parameter(torch.tensor(config.trend.weight), requires_grad=config.trend.learned)
        self.history_length = self.users.history_length
        self.item_history_length = self.items.history_length
        self.changes = config.trend.used or self.item_history_length > 0

    def begin_epoch(self, epoch: int, planned: int) -> None:
        self.head.begin_epoch(epoch, planned)

    def fit_scales(self, values: Tensor, events: Tensor) -> None:
        self.users.fit_scales(values, events)

    def item_vectors(self, items: ItemInputs) -> Tensor:
        vectors = self.items(items)  # [M, D]
        return torch.cat([vectors, items.log_trend[:, None]], dim=1) if self.config.trend.used else vectors

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        rows = torch.arange(len(users), device=users.lengths.device)
        x = self.head.serve(self.users(users, items[:, : self.config.dim], rows, users.lengths))  # [B, D]
        return torch.cat([x, self.tau.expand(len(x), 1)], dim=1) if self.config.trend.used else x

    def loss(self, batch: TrainBatch) -> Tensor:
        # [M, D], [M, W], W = D but for towers of two branches
        own, vectors = self.work.items(self.items.training_vectors, batch.items)
        x = self.work.users(self.users, batch, own)  # [T, D]
        ranking = self.head.loss(x, batch, lambda users, labels: self._all_losses(users, vectors, batch, labels))  # [T]
        mimicked = self.items.auxiliary_loss(batch, x.detach())
        if self.config.reward is not None:
            ranking = self.config.reward.weights(batch.values) * ranking
        return ranking.mean() + mimicked + self.users.auxiliary_loss(batch, own[batch.targets].detach())

    def _all_losses(
        self, x: Tensor, vectors: Tensor, batch: TrainBatch, labels: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        def compute(rows: Tensor, part: TrainBatch, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return self._losses(rows, vectors, part, own)

        return self.work.losses(compute, x, batch, labels, paired=self.config.loss == "bce")

    def _losses(self, x: Tensor, vectors: Tensor, batch: TrainBatch, labels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """[T] loss of user vectors [T, W] for each of several labellings [T] of the same rows."""
        vectors = vectors[: batch.candidates]  # [C, W]
        offset = self._offset(batch)  # [C]
        if self.config.loss in {"sampled_softmax", "in_batch_softmax"}:
            return self._sampled(x, vectors, offset, batch, labels)
        rows = torch.arange(len(x), device=x.device)
        blocked = losses.blocked_pairs(batch)  # [T, C]
        if self.config.loss == "bce":
            drawn = batch.negatives
            negative = (x * vectors[drawn]).sum(dim=1) + offset[drawn]  # [T]
            seen = blocked[rows, drawn]
            return tuple(
                losses.binary_cross_entropy(
                    (x * vectors[label]).sum(dim=1) + offset[label],
                    negative.masked_fill(seen | (drawn == label), -torch.inf),
                )
                for label in labels
            )
        for label in labels:
            blocked[rows, label] = False
        scores = torch.addmm(offset[None, :], x, vectors.T)  # [T, C]
        return losses.full_softmax(scores, labels, blocked)

    def _sampled(
        self, x: Tensor, vectors: Tensor, offset: Tensor, batch: TrainBatch, labels: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """[T] each: :func:`models.losses.sampled_softmax` of what was drawn, or of the batch's own targets."""
        shift = offset - batch.log_q[: batch.candidates]  # [C]
        own = tuple((x * vectors[label]).sum(dim=1) + shift[label] for label in labels)  # each [T]
        # In-batch negatives are a sample too: the original targets, whatever the labelling. The targets of a rebalanced
        # labelling would follow another distribution than log Q.
        drawn = losses.Drawn.of(batch.drawn, batch.candidates)
        picked, added = vectors.index_select(0, drawn.items), shift.index_select(0, drawn.items) + drawn.times.log()
        blocked = drawn.blocked(batch, labels)

        def total(blocked: Tensor) -> Tensor:
            return losses.log_sum_of_products(x, picked, added, blocked[:, :-1])

        if self.config.loss == "in_batch_softmax":
            sums = tuple(total(drawn.with_own(blocked, label)) for label in labels)
        else:
            sums = (total(blocked),) * len(labels)
        return tuple(losses.sampled_softmax(one, other) for one, other in zip(own, sums, strict=True))

    def _offset(self, batch: TrainBatch) -> Tensor:
        """[C] tau log q_t(i) + w log p(i): what training adds to every score of a candidate.

        p(i) is proportional to the engagements before the refresh and one more; a softmax does not feel its sum.
        """
        trend = self.tau * batch.items.log_trend[: batch.candidates]
        return trend + self.config.prior_weight * (batch.items.counts[: batch.candidates] + 1).log()
