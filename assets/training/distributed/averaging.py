"""Averages gradients of embedding tables that DistributedDataParallel is told to leave alone.

It expects a table to have either sparse or dense gradients throughout, and NCCL cannot add sparse ones up. Where the
optimiser is lazy, only the rows that some process read are sent; everybody then holds the same rows. A divided table's
gradient is whole already.
"""

from typing import Any

import lightning
import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.nn.parallel import DistributedDataParallel

from assets.training.distributed.exchange import gather_rows
from assets.training.distributed.tables import RowShard


class AverageTables(lightning.Callback):
    """Before training, says what DistributedDataParallel leaves alone; after every backward pass, averages it."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.apart: list[Tensor] = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        del trainer, stage
        lazy = pl_module.preset.optimizer == "lazy_adamw"  # type: ignore[union-attr]
        tables = {f"{name}.weight": one for name, one in pl_module.named_modules() if isinstance(one, nn.Embedding)}
        divided = [f"{name}.own" for name, one in pl_module.named_modules() if isinstance(one, RowShard)]
        left = tables if lazy else {}
        self.apart = [table.weight for table in left.values()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(pl_module, [*left, *divided])

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        del trainer, pl_module
        for table in self.apart:
            average_gradient(table, self.group)


def average_gradient(table: Tensor, group: ProcessGroup) -> None:
    """Replace a table's gradient, sparse or dense, by its mean over the processes; none where no process has one."""
    kind = 0 if table.grad is None else 2 if table.grad.is_sparse else 1
    kinds = torch.tensor([kind], device=table.device)
    distributed.all_reduce(kinds, distributed.ReduceOp.MAX, group=group)
    if kinds.item() == 0:
        return
    if kinds.item() == 1:
        table.grad = torch.zeros_like(table) if table.grad is None else table.grad
        distributed.all_reduce(table.grad, group=group)
        table.grad /= distributed.get_world_size(group)
        return
    table.grad = _mean_of_rows(table, group)


def _mean_of_rows(table: Tensor, group: ProcessGroup) -> Tensor:
    """[N, D] sparse, coalesced: rows of all processes, added up in the same order by each."""
    size = distributed.get_world_size(group)
    own = _sparse(table).coalesce()
    lengths = own.indices().new_zeros(size)
    lengths[distributed.get_rank(group)] = own.indices().shape[1]
    distributed.all_reduce(lengths, group=group)
    bounds: Any = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).cpu().numpy()
    rows = gather_rows(own.indices()[0], bounds, group)
    values = gather_rows(own.values(), bounds, group) / size
    return torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=False).coalesce()


def _sparse(table: Tensor) -> Tensor:
    if table.grad is None:
        return torch.sparse_coo_tensor(
            torch.zeros(1, 0, dtype=torch.int64, device=table.device), table.new_zeros(0, table.shape[1]), table.shape
        )
    return table.grad if table.grad.is_sparse else table.grad.to_sparse(1)
