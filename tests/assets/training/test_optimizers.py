"""Optimisers by name: what they step, and when the lazy one is AdamW."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from assets.training import optimizers
from assets.training.optimizers import LazyAdamW, build_optimizer, distinct_rows
from assets.training.presets import FitPreset
from models.base import Sizes
from models.registry import NETS, build_net


def preset(optimizer: str, weight_decay: float = 0.0) -> FitPreset:
    return FitPreset(optimizer=optimizer, learning_rate=0.1, weight_decay=weight_decay, net=NETS["sasrec"])


class Scored(nn.Module):
    """A table and a layer: one parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(6, 3)
        self.layer = nn.Linear(3, 1)

    def loss(self, ids: list[int]) -> Tensor:
        return self.layer(self.table(torch.tensor(ids))).square().sum()


def trained(optimizer: str, batches: list[list[int]], weight_decay: float = 0.0) -> tuple[Scored, list[Tensor]]:
    """The net, and its table before each step and after the last."""
    net = Scored()
    steps = build_optimizer(net, preset(optimizer, weight_decay))
    seen = [net.table.weight.detach().clone()]
    for ids in batches:
        steps.zero_grad()
        net.loss(ids).backward()
        steps.step()
        seen.append(net.table.weight.detach().clone())
    return net, seen


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_where_every_row_is_read_the_lazy_optimizer_is_adamw(weight_decay: float) -> None:
    every = [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5, 5, 0]]  # the last repeats rows
    lazy, _ = trained("lazy_adamw", every, weight_decay)
    dense, _ = trained("adamw", every, weight_decay)
    for name, weight in dense.named_parameters():
        torch.testing.assert_close(lazy.get_parameter(name), weight, rtol=1e-5, atol=1e-6)


def test_rows_that_were_not_read_stay_as_they_are() -> None:
    _, seen = trained("lazy_adamw", [[0, 1], [1, 2]], weight_decay=0.3)
    changed = [(after != before).any(dim=1).tolist() for before, after in pairwise(seen)]
    assert changed == [[True, True, False, False, False, False], [False, True, True, False, False, False]]
    _, seen = trained("adamw", [[0, 1], [1, 2]])
    assert (seen[2] != seen[1]).any(dim=1).tolist()[0]  # AdamW moves row 0 on with its momentum


def test_moments_of_rows_wait_while_the_step_count_goes_on() -> None:
    """By hand: gradients 1, then -3 two steps later; the moments do not decay meanwhile."""
    table = nn.Parameter(torch.zeros(2, 1))
    optimizer = LazyAdamW([table], lr=0.1, betas=(0.5, 0.75), weight_decay=0.0, eps=0.0, fused=True)
    for row, gradient in ((0, 1.0), (1, 1.0), (0, -3.0)):
        table.grad = torch.sparse_coo_tensor(
            torch.tensor([[row]]), torch.tensor([[gradient]]), (2, 1), check_invariants=True
        )
        optimizer.step()
    first = -0.1  # m / (1 - b1) = 1, v / (1 - b2) = 1
    mean, square = 0.5 * 0.5 + 0.5 * -3, 0.75 * 0.25 + 0.25 * 9
    second = -0.1 * (mean / (1 - 0.5**3)) / (square / (1 - 0.75**3)) ** 0.5
    assert table[0].item() == pytest.approx(first + second, rel=1e-5)


@pytest.mark.parametrize(("rows", "once"), [([1, 4, 5], [1, 4, 5]), ([4, 1, 4], [1, 4])])
def test_gradients_are_summed_per_row_and_left_alone_where_rows_ascend(rows: list[int], once: list[int]) -> None:
    values = torch.arange(6.0).view(3, 2)
    grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 2), check_invariants=True)
    found, summed = distinct_rows(grad)
    assert found.tolist() == once
    assert torch.equal(summed, grad.to_dense()[once])


def test_a_step_is_the_same_whatever_rows_are_stepped_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [[0, 1, 3, 5], [5, 4, 1], [0, 1]]
    whole, _ = trained("lazy_adamw", batches, 0.3)
    monkeypatch.setattr(optimizers, "STEP_PART", 2)
    parts, _ = trained("lazy_adamw", batches, 0.3)
    assert torch.equal(parts.table.weight, whole.table.weight)


def test_the_closure_is_called_once_with_gradients_and_its_loss_returned() -> None:
    net = Scored()
    optimizer = build_optimizer(net, preset("lazy_adamw"))
    calls = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = net.loss([3])
        loss.backward()
        calls.append(loss.item())
        return loss

    before = net.layer.weight.detach().clone()
    assert optimizer.step(closure).item() == calls[0]
    assert len(calls) == 1
    assert not torch.equal(net.layer.weight, before)


@pytest.mark.parametrize(("optimizer", "sparse"), [("adamw", False), ("lazy_adamw", True)])
def test_gradients_are_sparse_for_the_lazy_optimizer_alone(optimizer: str, sparse: bool) -> None:
    net = Scored()
    build_optimizer(net, preset(optimizer))
    net.loss([2]).backward()
    assert net.table.weight.grad is not None
    assert net.table.weight.grad.is_sparse == sparse
    assert FitPreset(net=NETS["sasrec"]).optimizer == "adamw"


@pytest.mark.parametrize("model", ["gru", "hrnn_meta", "two_tower"])
def test_tables_of_registered_nets_take_sparse_gradients(model: str) -> None:
    """Every embedding of a net keeps its state dictionary; what is saved does not depend on the optimiser."""
    net = build_net(NETS[model], Sizes(3, 5, 3, {"city": 2}, {"genre": 4}))
    names = list(net.state_dict())
    build_optimizer(net, preset("lazy_adamw"))
    tables = [module for module in net.modules() if isinstance(module, nn.Embedding)]
    assert tables
    assert all(table.sparse for table in tables)
    assert list(net.state_dict()) == names
