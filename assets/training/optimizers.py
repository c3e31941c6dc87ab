"""Optimisers by name: AdamW over every row of every table, or over the rows that a step touches."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from assets.training.distributed.tables import RowShard

OptimizerKind = Literal["adamw", "lazy_adamw"]


STEP_PART: Final = 2048
"""Rows that are stepped at a time on a CPU: what is computed of them, 0.5 MB each at 64 wide, stays in its cache."""


class OptimizerSettings(Protocol):
    """What an optimiser needs to know of a preset."""

    @property
    def optimizer(self) -> OptimizerKind: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


class LazyAdamW(AdamW):
    """AdamW whose step costs what it touches: of a sparse gradient, only the rows that it has change.

    Over a table of a million rows of 64, AdamW reads and writes 1.8 GB at every step, though 3,000 rows have gradients.
    Here weights and moments of the other rows stay as they are (as in torch's SparseAdam, and TensorFlow's LazyAdam):
    they neither move on with their momentum nor decay. So the weights differ from AdamW's; where every row has a
    gradient at every step they are the same.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    step_rows(table, table.grad, self.state[table], group)
                    table.grad = None  # AdamW leaves parameters without a gradient alone
        super().step()
        return loss


def step_rows(table: Tensor, grad: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) of the rows that a gradient has; in place.

    Args:
        table: [N, D] parameter.
        grad: [N, D] sparse: r rows.
        state: of the parameter, with the keys of :class:`torch.optim.AdamW`; filled here where it is empty.
        group: the parameter's group of the optimiser.
    """
    if not state:
        state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(table), exp_avg_sq=torch.zeros_like(table))
    state["step"] += 1
    rows, values = distinct_rows(grad)  # [r], [r, D]
    part = STEP_PART if table.device.type == "cpu" else max(1, len(rows))
    for some, gradients in zip(rows.split(part), values.split(part), strict=True):
        _step_part(table, some, gradients, state, group)


def _step_part(table: Tensor, rows: Tensor, values: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> None:
    step, (beta1, beta2) = state["step"].item(), group["betas"]
    mean = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - beta1)
    square = state["exp_avg_sq"].index_select(0, rows).lerp_(values.square(), 1 - beta2)
    state["exp_avg"].index_copy_(0, rows, mean)
    state["exp_avg_sq"].index_copy_(0, rows, square)
    scale = square.div_(1 - beta2**step).sqrt_().add_(group["eps"])
    own = table.index_select(0, rows).mul_(1 - group["lr"] * group["weight_decay"])
    table.index_copy_(0, rows, own.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta1**step)))


def distinct_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """[r] rows of a sparse gradient [N, D], each once, and their [r, D] values.

    Autograd forgets that a gradient is coalesced; where its rows ascend it is, and is not copied again.
    """
    rows = grad._indices()[0]
    if not (rows[1:] > rows[:-1]).all():
        grad = grad.coalesce()
        return grad.indices()[0], grad.values()
    return rows, grad._values()


def _dense(net: nn.Module, preset: OptimizerSettings) -> AdamW:
    return AdamW(net.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay, fused=True)


def _lazy(net: nn.Module, preset: OptimizerSettings) -> AdamW:
    for module in net.modules():
        if isinstance(module, nn.Embedding | RowShard):
            module.sparse = True  # its gradient then holds the rows that were read
    return LazyAdamW(net.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay, fused=True)


OPTIMIZERS: Final[Mapping[OptimizerKind, Callable[[nn.Module, OptimizerSettings], AdamW]]] = {
    "adamw": _dense,
    "lazy_adamw": _lazy,
}


def build_optimizer(net: nn.Module, preset: OptimizerSettings) -> AdamW:
    """The preset's optimiser of a net's parameters; ``lazy_adamw`` makes gradients of its embeddings sparse."""
    return OPTIMIZERS[preset.optimizer](net, preset)
