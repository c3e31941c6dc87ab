"""The CPU's ragged GRU against torch's, and its gradients against differences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from models.gru import ragged_gru
from models.recurrent import GruCell, last_states

INPUTS, HIDDEN = 3, 4
COUNTS = ([5, 5, 3, 1, 1], [1], [2, 2], [1] * 6, [6, 4, 3, 2, 1])
each_counts = pytest.mark.parametrize("counts", COUNTS)


def layer() -> nn.GRU:
    torch.manual_seed(0)
    built = nn.GRU(INPUTS, HIDDEN).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(3)  # gates from closed to open
    return built


def arguments(counts: list[int]) -> tuple[Tensor, Tensor]:
    """[S, I] inputs and [counts[0], H] states."""
    torch.manual_seed(1)
    return torch.randn(sum(counts), INPUTS).double(), torch.randn(counts[0], HIDDEN).double()


def ours(gru: nn.GRU, x: Tensor, state: Tensor, counts: list[int]) -> Tensor:
    weight, recurrent, bias, recurrent_bias = gru.parameters()
    return ragged_gru(nn.functional.linear(x, weight, bias), recurrent, recurrent_bias, state, counts)


@each_counts
def test_outputs_and_gradients_are_torchs(counts: list[int]) -> None:
    gru, (x, state) = layer(), arguments(counts)
    x.requires_grad_()
    expected = gru(PackedSequence(x, torch.tensor(counts)), state[None])[0].data
    found = ours(gru, x, state, counts)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    leaves = [x, *gru.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), leaves), torch.autograd.grad((expected * weights).sum(), leaves)
    )


def test_gradients_are_differences() -> None:
    counts = [3, 2, 2, 1]
    torch.manual_seed(2)
    leaves = [
        torch.randn(*shape).double().requires_grad_()
        for shape in ((sum(counts), 3 * HIDDEN), (3 * HIDDEN, HIDDEN), (3 * HIDDEN,))
    ]
    state = torch.randn(3, HIDDEN).double()
    assert torch.autograd.gradcheck(lambda *given: ragged_gru(*given, state, counts), leaves)


def test_no_gradient_reaches_the_state_before_and_the_inputs_stay_as_they_are() -> None:
    gru, (x, state) = layer(), arguments([3, 1])
    state.requires_grad_()
    copies = x.clone(), state.detach().clone()
    ours(gru, x, state, [3, 1]).sum().backward()
    assert state.grad is None
    assert torch.equal(x, copies[0])
    assert torch.equal(state.detach(), copies[1])


@each_counts
def test_last_states_are_those_of_each_users_last_step(counts: list[int]) -> None:
    outputs = torch.arange(float(sum(counts)))[:, None]
    expected = []
    for user in range(counts[0]):
        steps = sum(count > user for count in counts)
        expected.append([float(sum(counts[: steps - 1]) + user)])
    assert last_states(outputs, torch.tensor(counts)).tolist() == expected


@each_counts
def test_the_cell_carries_the_state_of_torchs_own(counts: list[int]) -> None:
    torch.manual_seed(3)
    cell = GruCell(INPUTS, HIDDEN)
    x, state = (one.float() for one in arguments(counts))
    found = cell(x, torch.zeros(len(x), dtype=torch.bool), torch.tensor(counts), state)
    packed, last = cell.gru(PackedSequence(x, torch.tensor(counts)), state[None])
    torch.testing.assert_close(found, (packed.data, last[0]))
    assert torch.equal(cell.begin(2), torch.zeros(2, HIDDEN))
