"""Who computes the rows of a loss: this process all of them, unless it trains together with others.

A net asks its :class:`Work` for the three things that cost time: vectors of items, vectors of users, losses of targets.
Each row of them depends on its own inputs alone, so rows can be computed by several processes and brought together;
whatever looks across rows (means, samples of the batch, heads that mix targets) comes after, on all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from models.base import ItemInputs, TrainBatch, UserInputs

Items = Callable[[ItemInputs], tuple[Tensor, Tensor]]
Users = Callable[[UserInputs, Tensor, Tensor, Tensor], Tensor]
Losses = Callable[[Tensor, TrainBatch, tuple[Tensor, ...]], tuple[Tensor, ...]]


class DividedTable(nn.Module, ABC):
    """An embedding table of which other processes hold rows; it is called like one."""

    @abstractmethod
    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """[U, D] the rows of the distinct ids among ``ids`` [...], and [...] which of them each id is.

        Every process has to call it, those that want no row too.
        """


def reads_divided(module: nn.Module) -> bool:
    """Whether the module holds a divided table, so that every process has to call it, equally often."""
    return any(isinstance(one, DividedTable) for one in module.modules())


class Work:
    """All rows here."""

    def items(self, tower: Items, items: ItemInputs) -> tuple[Tensor, Tensor]:
        """[M, D] and [M, W]: see :meth:`models.items.ItemTower.training_vectors`."""
        return tower(items)

    def users(self, tower: Users, batch: TrainBatch, items: Tensor) -> Tensor:
        """[T, D] a user vector per target.

        Args:
            items: [M, D] what the histories point into.
        """
        return tower(batch.users, items, batch.target_rows, batch.target_positions)

    def losses(
        self, compute: Losses, x: Tensor, batch: TrainBatch, labels: tuple[Tensor, ...], *, paired: bool
    ) -> tuple[Tensor, ...]:
        """[T] each: losses of user vectors [T, W] under several labellings [T].

        Args:
            paired: whether the batch's negatives belong to a target each, instead of to all of them.
        """
        del paired
        return compute(x, batch, labels)
