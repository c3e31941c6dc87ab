"""A loss whose rows are computed by several processes; see :class:`models.work.Work`.

Users are shared out by the entries of their histories, items and targets by number. A batch with fewer rows than
processes is computed by all of them, which is the same number for each.
"""

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from assets.stream import Int
from assets.training.distributed.exchange import gathered
from assets.training.distributed.parts import (
    bounds_by_cost,
    even_bounds,
    item_share,
    places_of,
    target_share,
    user_share,
)
from models.base import ItemInputs, TrainBatch
from models.work import Items, Losses, Users, Work


class Spread(Work):
    """Each process its share, and everything in each.

    Args:
        group: of the processes. It has a channel of its own: DistributedDataParallel averages gradients meanwhile.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)

    def items(self, tower: Items, items: ItemInputs) -> tuple[Tensor, Tensor]:
        bounds = even_bounds(len(items), self.size)
        if _some_empty(bounds):
            return tower(items)
        own, scored = tower(item_share(items, *self._mine(bounds)))
        every = gathered(own, bounds, self.group)
        return every, every if scored is own else gathered(scored, bounds, self.group)

    def users(self, tower: Users, batch: TrainBatch, items: Tensor) -> Tensor:
        bounds = bounds_by_cost((batch.users.lengths + 1).cpu().numpy(), self.size)
        shares = [
            torch.nonzero((batch.target_rows >= begin) & (batch.target_rows < end))[:, 0]
            for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        ]
        if _some_empty(bounds) or any(len(share) == 0 for share in shares):
            return super().users(tower, batch, items)
        (begin, end), mine = self._mine(bounds), shares[self.rank]
        rows, positions = batch.target_rows[mine] - begin, batch.target_positions[mine]
        own = tower(user_share(batch.users, begin, end), items, rows, positions)  # [t, D]
        counts = torch.tensor([0, *(len(share) for share in shares)]).cumsum(0).numpy()
        every = gathered(own, counts, self.group)
        return every.index_select(0, places_of(shares, len(batch.targets)))

    def losses(
        self, compute: Losses, x: Tensor, batch: TrainBatch, labels: tuple[Tensor, ...], *, paired: bool
    ) -> tuple[Tensor, ...]:
        bounds = even_bounds(len(x), self.size)
        if _some_empty(bounds):
            return compute(x, batch, labels)
        begin, end = self._mine(bounds)
        share = target_share(batch, begin, end, paired=paired)
        own = compute(x[begin:end], share, tuple(label[begin:end] for label in labels))
        every = gathered(torch.stack(own, dim=1), bounds, self.group)  # [T, labellings]
        return every.unbind(dim=1)

    def _mine(self, bounds: Int) -> tuple[int, int]:
        return int(bounds[self.rank]), int(bounds[self.rank + 1])


def _some_empty(bounds: Int) -> bool:
    return bool((bounds[1:] == bounds[:-1]).any())
