"""CDN, the cross decoupling network (Zhang et al., KDD 2023), on a backbone of choice; IHM section 5.1.2 takes SASRec.

Item side, section 3.1: experts for memorization (the id) and for generalization (the features), mixed by a gate that
reads how often the item was engaged with:

    y = sum_k G(i)_k E_k^mem(i_mem) + sum_k G(i)_k E_k^gen(i_gen),  G(i) = softmax(W i_freq)           (3)

User side, section 3.2: f is the user tower; a main branch learns from the original sample Omega_m, a regularizer branch
from the rebalanced one Omega_r, and the gamma-adapter moves the weight from one to the other over T epochs:

    x_m = h_m(f(u_m)),  x_r = h_r(f(u_r))                                                              (4)
    s(i_m, i_r) = alpha_t y_m^T x_m + (1 - alpha_t) y_r^T x_r                                          (5)
    alpha_t = 1 - (t / (gamma T))^2                                                                    (6)
    p(i|u) = softmax of s over the items                                                               (7)
    L = -alpha_t log p(i_m|u) - (1 - alpha_t) log p(i_r|u)                                             (8)
    s(u, i) = y_m^T x_m at inference                                                                   (9)

As in the paper's design the experts are shared by both branches: y_m and y_r of an item are the same vector, so eq. 5
is the inner product with alpha_t x_m + (1 - alpha_t) x_r, and one matrix product scores all items.

Departures, with reasons. h_m and h_r begin near the identity: behind a sequence tower, user vectors then start in the
space of the items that it read. Experts have no bias: the three designs of Table 5 are equal in size to the number, but
for the gate. What u_m engaged with before is no candidate of the pair (u_m, u_r), as in evaluation; what u_r engaged
with remains one, because at inference there is no u_r. A trend counts once, not per branch.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import ItemInputs, NetConfig, Sizes, TrainBatch
from models.content import ContentConfig, ItemFeatures
from models.head import Head, Losses
from models.items import ItemTower
from models.layers import drop_ids, embedding, linear_near_identity

# Item side


class MemGenConfig(NetConfig):
    """Mem/Gen, the paper's design: n_1 = ``mem`` experts read the id, n_2 = ``gen`` the features; the gate is learned.

    Two of each make the tower as large as the other designs', whose two experts read both.
    """

    kind: Literal["mem_gen"] = "mem_gen"
    mem: int = Field(2, ge=1)
    gen: int = Field(2, ge=1)
    gate_hidden: int = Field(8, ge=1, description="width of the non-linear layer that makes i_freq of a count")


class HeadTailConfig(NetConfig):
    """Head/Tail of Table 5: one expert for head items, one for tail items, a 0-1 gate."""

    kind: Literal["head_tail"] = "head_tail"
    tail_max_count: int = Field(10, ge=0, description="tail items have at most this many engagements")


class UnbalancedBalancedConfig(NetConfig):
    """Unbalanced/Balanced of Table 5: one expert makes y_m, the other y_r of eq. 5; only y_m is served."""

    kind: Literal["unbalanced_balanced"] = "unbalanced_balanced"


DesignConfig = Annotated[MemGenConfig | HeadTailConfig | UnbalancedBalancedConfig, Field(discriminator="kind")]


class ExpertItemsConfig(NetConfig):
    """What the expert designs share."""

    kind: Literal["experts"] = "experts"
    design: DesignConfig = MemGenConfig()
    feature_dim: int = Field(16, ge=1, description="width of one feature")
    id_dropout: float = Field(
        0.1, ge=0, lt=1, description="probability that an id becomes OOV in training, so that the OOV row is trained"
    )
    content: ContentConfig = ContentConfig()


class ExpertItems(ItemTower):
    """Eq. 3: single-layer experts of width D over an item's id and features, and a gate over the experts."""

    def __init__(self, config: ExpertItemsConfig, sizes: Sizes, dim: int) -> None:
        super().__init__()
        self.id_dropout = config.id_dropout
        self.table = embedding(sizes.items, dim)
        self.features = ItemFeatures(sizes, config.feature_dim, config.content)
        self.input_scale = dim**0.5

    def forward(self, items: ItemInputs) -> Tensor:
        return (self.gates(items)[..., None] * self.experts(items)).sum(dim=1)  # [M, D]

    @abstractmethod
    def gates(self, items: ItemInputs) -> Tensor:
        """[M, n] weights G(i), each row summing to 1."""

    @abstractmethod
    def experts(self, items: ItemInputs) -> Tensor:
        """[M, n, D] outputs E_k(i)."""

    def memorization(self, items: ItemInputs) -> Tensor:
        """[M, D] i_mem."""
        return self.table(drop_ids(items.ids, self.id_dropout, self.training))

    def generalization(self, items: ItemInputs) -> Tensor:
        """[M, F] i_gen."""
        return self.features.of(items)

    def both(self, items: ItemInputs) -> Tensor:
        """[M, D + F]."""
        return torch.cat([self.memorization(items), self.generalization(items)], dim=1)


class MemGenItems(ExpertItems):
    """Mem/Gen. The first ``mem`` gates are those of the memorization experts.

    i_freq = tanh(A log(1 + count) + b): counts span three orders of magnitude, and a softmax of W times the count alone
    could only be monotonous.

    Raises:
        ValueError: when items have neither features nor content.
    """

    def __init__(self, config: ExpertItemsConfig, design: MemGenConfig, sizes: Sizes, dim: int) -> None:
        super().__init__(config, sizes, dim)
        if self.features.width == 0:
            raise ValueError(
                "this dataset's items have no features and no content: a generalization expert would be constant"
            )
        self.mem = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(design.mem))
        self.gen = nn.ModuleList(nn.Linear(self.features.width, dim, bias=False) for _ in range(design.gen))
        self.frequency = nn.Sequential(nn.Linear(1, design.gate_hidden), nn.Tanh())
        self.gate = nn.Linear(design.gate_hidden, design.mem + design.gen, bias=False)  # W

    def gates(self, items: ItemInputs) -> Tensor:
        return self.gate(self.frequency(items.counts.log1p()[:, None])).softmax(dim=1)

    def experts(self, items: ItemInputs) -> Tensor:
        memorized, generalized = self.memorization(items), self.generalization(items)
        return torch.stack(
            [expert(memorized) for expert in self.mem] + [expert(generalized) for expert in self.gen], dim=1
        )


class HeadTailItems(ExpertItems):
    """Head/Tail: gate 0 is 1 for head items, gate 1 for tail items, by the engagements before the refresh."""

    def __init__(self, config: ExpertItemsConfig, design: HeadTailConfig, sizes: Sizes, dim: int) -> None:
        super().__init__(config, sizes, dim)
        self.tail_max_count = design.tail_max_count
        self.pair = nn.ModuleList(nn.Linear(dim + self.features.width, dim, bias=False) for _ in range(2))

    def gates(self, items: ItemInputs) -> Tensor:
        head = items.counts > self.tail_max_count  # [M]
        return torch.stack([head, ~head], dim=1).to(self.table.weight.dtype)

    def experts(self, items: ItemInputs) -> Tensor:
        both = self.both(items)
        return torch.stack([expert(both) for expert in self.pair], dim=1)


class UnbalancedBalancedItems(ExpertItems):
    """Unbalanced/Balanced: the first expert's output is y_m, the second's y_r."""

    branches = 2

    def __init__(self, config: ExpertItemsConfig, sizes: Sizes, dim: int) -> None:
        super().__init__(config, sizes, dim)
        self.pair = nn.ModuleList(nn.Linear(dim + self.features.width, dim, bias=False) for _ in range(2))

    def training_vectors(self, items: ItemInputs) -> tuple[Tensor, Tensor]:
        experts = self.experts(items)  # [M, 2, D]
        return experts[:, 0], experts.flatten(start_dim=1)  # y_m, [y_m ; y_r]

    def gates(self, items: ItemInputs) -> Tensor:
        return self.table.weight.new_tensor([1.0, 0.0]).expand(len(items), 2)

    def experts(self, items: ItemInputs) -> Tensor:
        both = self.both(items)
        return torch.stack([expert(both) for expert in self.pair], dim=1)


def build_expert_items(config: ExpertItemsConfig, sizes: Sizes, dim: int) -> ExpertItems:
    """The expert tower of a configuration."""
    if isinstance(config.design, MemGenConfig):
        return MemGenItems(config, config.design, sizes, dim)
    if isinstance(config.design, HeadTailConfig):
        return HeadTailItems(config, config.design, sizes, dim)
    return UnbalancedBalancedItems(config, sizes, dim)


# User side


class GammaAdapter(NetConfig):
    """Eq. 6: alpha_t = 1 - (t / (gamma T))^2, never below 1 - 1 / gamma^2."""

    kind: Literal["gamma"] = "gamma"
    gamma: float = Field(2.0, gt=1, description="regularizer rate; IHM's appendix B takes 2")

    def alpha(self, epoch: int, planned: int) -> float:
        """Weight of the main branch in epoch t of T."""
        return 1 - (epoch / (self.gamma * planned)) ** 2


class ConstantAdapter(NetConfig):
    """Both branches always count the same: BDN of section 4.3."""

    kind: Literal["constant"] = "constant"

    def alpha(self, epoch: int, planned: int) -> float:
        """Weight of the main branch in epoch t of T."""
        del epoch, planned
        return 0.5


class CumulativeAdapter(NetConfig):
    """BBN's cumulative learning: alpha_t = 1 - (t / T)^2, which reaches 0 (Zhou et al., CVPR 2020, eq. 5)."""

    kind: Literal["cumulative"] = "cumulative"

    def alpha(self, epoch: int, planned: int) -> float:
        """Weight of the main branch in epoch t of T."""
        return 1 - (epoch / planned) ** 2


class BilateralHeadConfig(NetConfig):
    """Hyper-parameters of :class:`BilateralHead`; the defaults are CDN's."""

    kind: Literal["bilateral"] = "bilateral"
    adapter: Annotated[GammaAdapter | ConstantAdapter | CumulativeAdapter, Field(discriminator="kind")] = GammaAdapter()
    sample: Literal["rebalanced", "reversed"] = Field("rebalanced", description="what the second branch learns from")
    served: Literal["main", "average"] = Field("main", description="the main branch alone (eq. 9), or both halved")


class BilateralHead(Head):
    """Eq. 4-6, 8, 9. ``alpha`` is that of the epoch last begun.

    Args:
        config: its parts.
        dim: D.
        branches: 1 where both branches share the items' vectors, 2 where each has its own.
    """

    def __init__(self, config: BilateralHeadConfig, dim: int, branches: int) -> None:
        super().__init__()
        self.config = config
        self.main = linear_near_identity(dim, dim)  # h_m
        self.regularizer = linear_near_identity(dim, dim)  # h_r
        self.alpha = config.adapter.alpha(0, 1)
        self.combine = _side_by_side if branches == 2 else torch.add
        self.sample: Callable[[TrainBatch], Tensor] = _reversed if config.sample == "reversed" else _rebalanced

    def begin_epoch(self, epoch: int, planned: int) -> None:
        self.alpha = self.config.adapter.alpha(epoch, planned)

    def serve(self, x: Tensor) -> Tensor:
        main = self.main(x)
        return main if self.config.served == "main" else (main + self.regularizer(x)) / 2

    def loss(self, x: Tensor, batch: TrainBatch, losses: Losses) -> Tensor:
        rows = self.sample(batch)  # [T]
        main, regularizer = self.main(x), self.regularizer(x.index_select(0, rows))  # [T, D] x_m, x_r
        mixed = self.combine(self.alpha * main, (1 - self.alpha) * regularizer)  # [T, D] or [T, 2 D]
        original, balanced = losses(mixed, (batch.targets, batch.targets[rows]))
        return self.alpha * original + (1 - self.alpha) * balanced


def _side_by_side(main: Tensor, regularizer: Tensor) -> Tensor:
    return torch.cat([main, regularizer], dim=1)


def _rebalanced(batch: TrainBatch) -> Tensor:
    return batch.rebalanced


def _reversed(batch: TrainBatch) -> Tensor:
    return batch.reversed
