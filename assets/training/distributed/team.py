"""The processes that train one net together: what the loop asks of them, and the team of one that it usually is.

Every process holds the whole of each batch and its own copy of the net. Of a step's work it does a share
(:mod:`.spread`), the results are brought together, and all go on with the same numbers, so a step is the step of one
process at the same batch size: nothing of a loss is approximated, whatever it looks at.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import distributed, nn
from torch.distributed import ProcessGroup

Validate = Callable[[Any], dict[str, float]]


class ReplicaError(RuntimeError):
    """Processes that trained together do not hold the same weights."""


class Team(Protocol):
    """What a loop asks of the processes that it runs in."""

    def arguments(self, device: str) -> dict[str, Any]:
        """Of Lightning's trainer: its processes, strategy, and which of the devices (``cpu`` or ``cuda``) it takes."""
        ...

    def callbacks(self) -> list[Any]:
        """Lightning callbacks that a step needs."""
        ...

    def agreed(self, validate: Validate | None) -> Validate | None:
        """``validate`` with the same answer in every process, to the last bit."""
        ...

    def at_work_on(self, net: nn.Module) -> AbstractContextManager[None]:
        """Meanwhile the net's work is shared; after, it is whole again in every process."""
        ...


class Alone:
    """One process."""

    def arguments(self, device: str) -> dict[str, Any]:
        del device
        return {"devices": 1}

    def callbacks(self) -> list[Any]:
        return []

    def agreed(self, validate: Validate | None) -> Validate | None:
        return validate

    def at_work_on(self, net: nn.Module) -> AbstractContextManager[None]:
        del net
        return nullcontext()


class Processes:
    """Several processes, already connected.

    Args:
        group: of all of them.
        split_tables_from: embedding tables with this many rows or more are divided among them; ``None``: none is.
    """

    def __init__(self, group: ProcessGroup, split_tables_from: int | None = None) -> None:
        self.group = group
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        self.split_tables_from = split_tables_from

    def arguments(self, device: str) -> dict[str, Any]:
        from lightning.pytorch.strategies import DDPStrategy  # noqa: PLC0415 - takes seconds

        from assets.training.distributed.placement import OneEach  # noqa: PLC0415

        # Some parameters have no part in some steps: a user tower that a head froze, say. The weights' buffers are set
        # before training and never change.
        strategy = DDPStrategy(cluster_environment=OneEach(), find_unused_parameters=True, broadcast_buffers=False)
        return {
            "devices": [int(os.environ["LOCAL_RANK"])] if device == "cuda" else 1,
            "num_nodes": self.size,
            "strategy": strategy,
            "use_distributed_sampler": False,
        }

    def callbacks(self) -> list[Any]:
        from assets.training.distributed.averaging import AverageTables  # noqa: PLC0415 - imports Lightning

        return [AverageTables(self.group)]

    def agreed(self, validate: Validate | None) -> Validate | None:
        if validate is None:
            return None

        def run(net: Any) -> dict[str, float]:
            own = validate(net)
            values = torch.tensor(list(own.values()), dtype=torch.float64)
            distributed.broadcast(values, src=0, group=self.group)
            return dict(zip(own, values.tolist(), strict=True))

        return run

    @contextmanager
    def at_work_on(self, net: nn.Module) -> Iterator[None]:
        from assets.training.distributed.spread import Spread  # noqa: PLC0415
        from assets.training.distributed.tables import divide_tables, whole_tables  # noqa: PLC0415

        if self.split_tables_from is not None:
            divide_tables(net, self.split_tables_from, self.group)
        if self.rank:  # process 0 draws what one process would; the others must not drop out the same places
            torch.manual_seed(torch.initial_seed() + (self.rank << 32))
        former, net.work = getattr(net, "work", None), Spread(self.group)  # type: ignore[assignment]
        try:
            yield
        finally:
            net.work = former  # type: ignore[assignment]
        whole_tables(net)
        require_equal(net, self.group)


def require_equal(net: nn.Module, group: ProcessGroup) -> None:
    """Hold every weight and buffer, on the CPU, against process 0's.

    Raises:
        ReplicaError: in every process, naming a tensor that differs in one.
    """
    differing = torch.zeros(1, dtype=torch.int64)
    names = list(net.state_dict())
    for number, tensor in enumerate(net.state_dict().values(), start=1):
        first = tensor.detach().clone().contiguous()
        distributed.broadcast(first, src=0, group=group)
        if not torch.equal(first, tensor) and not differing:
            differing.fill_(number)
    distributed.all_reduce(differing, distributed.ReduceOp.MAX, group=group)
    if differing:
        raise ReplicaError(
            f"{names[int(differing) - 1]} is not the same in all {distributed.get_world_size(group)} processes after"
            " training: run the same versions of the code and of torch in all of them, over the same tables"
        )


_CURRENT: list[Team] = [Alone()]


def current_team() -> Team:
    """That of the process."""
    return _CURRENT[-1]


@contextmanager
def working_in(team: Team) -> Iterator[None]:
    """Let nets be fitted by ``team`` meanwhile."""
    _CURRENT.append(team)
    try:
        yield
    finally:
        _CURRENT.pop()
