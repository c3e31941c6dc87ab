"""Bringing rows together from several processes, with gradients.

One rule holds for every tensor: the gradient that the processes have of it, averaged over them, is the gradient of the
loss. Each has the whole loss, so it begins so. What :class:`Gathered` sends back is therefore the sum of all, of the
rows that a process made: those it made alone, and their gradient is as many times the average as there are processes.
Parameters are averaged in the end, by torch's DistributedDataParallel or by :mod:`.averaging`.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from assets.stream import Int


class Gathered(torch.autograd.Function):
    """[b_W, ...] all processes' rows, from the [b_{r+1} - b_r, ...] of this one."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, bounds: Int, group: ProcessGroup) -> Tensor:
        rank = distributed.get_rank(group)
        ctx.group, ctx.begin, ctx.end = group, int(bounds[rank]), int(bounds[rank + 1])
        return gather_rows(own, bounds, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        total = grads[0].contiguous().clone()
        distributed.all_reduce(total, group=ctx.group)
        return total[ctx.begin : ctx.end], None, None


def gathered(own: Tensor, bounds: Int, group: ProcessGroup) -> Tensor:
    """All rows, from this process's.

    Args:
        own: [b_{r+1} - b_r, ...] of process r.
        bounds: [W + 1] ascending from 0: b, the same in every process.
        group: W processes.
    """
    every: Tensor = Gathered.apply(own, bounds, group)
    return every


def gather_rows(own: Tensor, bounds: Int, group: ProcessGroup) -> Tensor:
    """As :func:`gathered`, without gradients."""
    lengths = (bounds[1:] - bounds[:-1]).tolist()
    width = max(lengths)  # collectives want equal shapes
    padded = own.new_zeros((width, *own.shape[1:]))
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(parts, padded, group=group)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


class Exchanged(torch.autograd.Function):
    """Rows sent to other processes, and theirs received; gradients go the way back.

    Args of :meth:`forward`: rows [S, D] in order of their receivers, how many go to each, how many come from each.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
        ctx.group, ctx.sent, ctx.received = group, sent, received
        return exchange(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return exchange(grads[0], ctx.received, ctx.sent, ctx.group), None, None, None


def exchanged(rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
    """[R, ...] what the others sent here, in order of the senders, with gradients.

    Args:
        rows: [S, ...] in order of their receivers.
        sent: [W] how many go to each process; they sum to S.
        received: [W] how many come from each; they sum to R.
        group: W processes.
    """
    came: Tensor = Exchanged.apply(rows, sent, received, group)
    return came


def exchange(rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
    """As :func:`exchanged`, without gradients."""
    came = rows.new_empty((sum(received), *rows.shape[1:]))
    distributed.all_to_all_single(came, rows.contiguous(), received, sent, group=group)
    return came
