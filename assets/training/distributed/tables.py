"""Embedding tables whose rows are divided among processes: row n of W processes' tables lies in process n mod W.

A process that needs rows asks their owners for them (one all-to-all of ids) and is sent vectors (another); gradients go
the way back. So a process stores a W-th of a table, of its gradient and of the optimiser's two moments, and sends what
its share of a batch reads, not the table. Ids repeat within a batch: each is asked for once.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.nn import functional

from assets.training.distributed.exchange import exchange, exchanged, gather_rows
from models.work import DividedTable

WHOLE: Final = ("positions",)
"""Tables by name whose weights are read past their module: of positions in a history, a few dozen rows."""


class RowShard(DividedTable):
    """The rows of a table that are this process's, in place of the table.

    Attributes:
        own: [n, D] those rows.
        sparse: whether their gradient is.
    """

    def __init__(self, table: nn.Embedding, group: ProcessGroup) -> None:
        super().__init__()
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        self.own = nn.Parameter(table.weight.detach()[self.rank :: self.size].clone())
        self.group, self.rows, self.sparse = group, table.num_embeddings, table.sparse

    @property
    def weight(self) -> Tensor:
        """[N, D] of NaN: a net may ask a table for its type, and one that reads rows past it gets no finite loss."""
        return self.own.detach().new_full((1, 1), torch.nan).expand(self.rows, self.own.shape[1])

    def forward(self, ids: Tensor) -> Tensor:
        """[..., D] the vectors of ids [...], wherever they lie. Every process of the group has to call."""
        vectors, places = self.read(ids)
        return vectors.index_select(0, places.reshape(-1)).reshape(*ids.shape, vectors.shape[1])

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        distinct, places = ids.unique(return_inverse=True)
        owner = distinct % self.size
        order = owner.argsort(stable=True)
        asked = torch.bincount(owner, minlength=self.size)
        wanted = exchange(asked, [1] * self.size, [1] * self.size, self.group).tolist()
        mine = asked.tolist()
        here = exchange(distinct[order], mine, wanted, self.group)  # what others want of here
        rows = functional.embedding(here // self.size, self.own, sparse=self.sparse)
        came = exchanged(_averaged(rows, self.size), wanted, mine, self.group)  # [U, D] in order of owners
        return came.index_select(0, order.argsort()), places

    def whole(self) -> nn.Embedding:
        """The table with all its rows, in every process."""
        lengths = [len(range(rank, self.rows, self.size)) for rank in range(self.size)]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        every = gather_rows(self.own, bounds, self.group)
        weight = torch.empty_like(every)
        for rank in range(self.size):
            weight[rank :: self.size] = every[bounds[rank] : bounds[rank + 1]]
        return nn.Embedding(self.rows, weight.shape[1], _weight=weight, sparse=self.sparse)


def _averaged(rows: Tensor, processes: int) -> Tensor:
    """``rows``; their gradient, the sum of all processes', divided by how many those are."""
    if rows.requires_grad:
        rows.register_hook(lambda grad: grad / processes)
    return rows


def divide_tables(net: nn.Module, rows: int, group: ProcessGroup) -> list[str]:
    """Replace each embedding table of at least ``rows`` rows by this process's part of it.

    Returns:
        Their names.
    """
    large = [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Embedding) and module.num_embeddings >= rows and name.rpartition(".")[2] not in WHOLE
    ]
    for name in large:
        table = net.get_submodule(name)
        assert isinstance(table, nn.Embedding)
        net.set_submodule(name, RowShard(table, group))
    return large


def whole_tables(net: nn.Module) -> None:
    """Undo :func:`divide_tables`, with the weights as they are now."""
    for name, module in list(net.named_modules()):
        if isinstance(module, RowShard):
            net.set_submodule(name, module.whole())
