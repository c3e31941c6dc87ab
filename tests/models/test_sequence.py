"""The sequence tower: positions, causality, histories of mixed lengths and padding."""

import math
from typing import Any

import pytest
import torch

from benchmarks.plain_ihm import PaddedBlock
from models import attention
from models.base import UserInputs
from models.sequence import SequenceUsers, SequenceUsersConfig
from tests.models.support import user_inputs

DIM, ITEMS, LONGEST = 8, 12, 30


def tower(input_scale: float = 1.0, **fields: Any) -> SequenceUsers:
    torch.manual_seed(0)
    config = {"history_length": LONGEST, "dropout": 0.0, "item_dropout": 0.0, **fields}
    built = SequenceUsers(SequenceUsersConfig(**config), DIM, input_scale)
    torch.nn.init.normal_(built.start)
    torch.nn.init.normal_(built.positions.weight)
    return built.eval()


def vectors() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(ITEMS, DIM)


def histories(lengths: list[int]) -> list[list[int]]:
    """Rows 1..11, so that row 0 is read by padding alone."""
    torch.manual_seed(2)
    return [torch.randint(1, ITEMS, (length,)).tolist() for length in lengths]


def at_the_end(net: SequenceUsers, users: UserInputs, items: torch.Tensor) -> torch.Tensor:
    return net(users, items, torch.arange(len(users)), users.lengths)


def slow_state(net: SequenceUsers, history: list[int], items: torch.Tensor) -> torch.Tensor:
    """The encoding of one history by itself: start token, item vectors, positions from the start, blocks, norm.

    The blocks are those of the padded encoder, so nothing of how ragged sequences are read is shared.
    """
    inputs = torch.stack([net.start, *(items[item] * net.input_scale for item in history)])
    x = (inputs + net.positions.weight[: len(inputs)])[None]
    for block in net.blocks:
        padded = PaddedBlock(DIM, block.heads, 0.0)
        padded.load_state_dict(block.state_dict())
        x = padded(x)
    return net.norm(x)[0, -1]


each_depth = pytest.mark.parametrize("layers", [1, 2, 3])


@each_depth
def test_a_user_vector_is_the_encoding_behind_the_last_item(layers: int) -> None:
    net, items = tower(input_scale=1.7, layers=layers), vectors()
    known = [*histories([3, 1, 0, 5]), [0, 4, 0]]
    expected = torch.stack([slow_state(net, history, items) for history in known])
    torch.testing.assert_close(at_the_end(net, user_inputs(known), items), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cells", [math.inf, 0.0, None], ids=["bands", "pairs", "cheapest"])
@each_depth
def test_mixed_lengths_are_encoded_as_one_by_one(
    layers: int, cells: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None to the longest, at inner positions too; with the same gradient of the items, whichever way rows attend."""
    if cells is not None:
        monkeypatch.setattr(attention, "CELLS_PER_PAIR", cells)
    known = histories([0, 3, 1, LONGEST, 16, 0, 7, LONGEST - 1, 2, 17])
    net, items = tower(layers=layers), vectors().requires_grad_()
    pairs = [(row, position) for row, history in enumerate(known) for position in range(len(history), -1, -3)]
    rows, positions = torch.tensor(pairs).T
    together = net(user_inputs(known), items, rows, positions)
    expected = torch.stack([slow_state(net, known[row][:position], items) for row, position in pairs])
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(expected)
    given, wanted = (torch.autograd.grad((one * weights).sum(), items)[0] for one in (together, expected))
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-4)


def test_many_users_at_once_are_encoded_as_one_by_one() -> None:
    """As many as are served together: then the pairs that attend are gathered, however deep the encoder is."""
    known = histories([index % 5 for index in range(300)])
    net, items = tower(layers=2), vectors()
    expected = torch.cat([at_the_end(net, user_inputs([history]), items) for history in known])
    torch.testing.assert_close(at_the_end(net, user_inputs(known), items), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("longest", [1, 3, LONGEST])
def test_too_long_a_history_is_refused(longest: int) -> None:
    net = tower(history_length=longest)
    assert at_the_end(net, user_inputs(histories([longest, 0])), vectors()).shape == (2, DIM)
    with pytest.raises(AssertionError, match=f"{longest + 1} > {longest}"):
        at_the_end(net, user_inputs(histories([2, longest + 1])), vectors())


def test_what_comes_later_changes_nothing() -> None:
    net, items = tower(), vectors()
    rows, positions = torch.tensor([0, 0, 0]), torch.tensor([0, 2, 4])
    one = net(user_inputs([[3, 5, 7, 2, 4, 6]]), items, rows, positions)
    other = net(user_inputs([[3, 5, 7, 2, 9, 8]]), items, rows, positions)
    assert torch.equal(one, other)
    later = net(user_inputs([[3, 5, 7, 1, 4, 6]]), items, rows, positions)
    assert torch.equal(one[:2], later[:2])
    assert not torch.allclose(one[2], later[2], atol=1e-3)


def test_order_of_the_history_matters() -> None:
    one, other = at_the_end(tower(), user_inputs([[3, 4, 5], [4, 3, 5]]), vectors())
    assert not torch.allclose(one, other, atol=1e-3)


def test_item_vectors_are_read_as_they_are_now() -> None:
    net, items, users = tower(), vectors(), user_inputs([[3, 4], [5]])
    moved = items.clone()
    moved[4] = -moved[4]
    before, after = at_the_end(net, users, items), at_the_end(net, users, moved)
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0], atol=1e-3)


@each_depth
def test_padding_never_leaks(layers: int) -> None:
    """Rows 0 and -1, which padding could read, are NaN, the space behind is wide or narrow: the results are equal."""
    net, items = tower(layers=layers), vectors()
    known = [[item % (ITEMS - 2) + 1 for item in history] for history in histories([3, 1, 0, 4, 7, 12])]
    poisoned = items.clone()
    poisoned[[0, ITEMS - 1]] = torch.nan
    clean = at_the_end(net, user_inputs(known), items)
    assert torch.equal(at_the_end(net, user_inputs(known), poisoned), clean)
    assert torch.equal(at_the_end(net, user_inputs(known, width=LONGEST), poisoned), clean)


def test_only_what_came_before_a_target_gets_gradient() -> None:
    net, items = tower(), vectors().requires_grad_()
    users = user_inputs([[3, 5, 7, 2], [9], []])
    net(users, items, torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0])).pow(2).sum().backward()
    assert items.grad is not None
    assert items.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [3, 5, 9]  # not 7, 2, nor 0 of the padding
    assert net.positions.weight.grad is not None
    assert net.positions.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [0, 1, 2]
    assert net.start.grad is not None
    assert (net.start.grad != 0).any()


@pytest.mark.parametrize("width", [0, 3])
def test_users_without_history_are_finite_and_alike(width: int) -> None:
    net, items = tower(), vectors()
    nobody = at_the_end(net, user_inputs([[], []], width=width), items)
    torch.testing.assert_close(nobody[0], slow_state(net, [], items))
    assert torch.equal(nobody[0], nobody[1])
    beside = at_the_end(net, user_inputs([[], [4, 5]]), items)
    torch.testing.assert_close(beside[0], nobody[0])


def test_no_requests_give_no_vectors() -> None:
    assert at_the_end(tower(), user_inputs([]), vectors()).shape == (0, DIM)


def test_one_row_may_serve_many_targets_and_another_none() -> None:
    net, items, known = tower(), vectors(), histories([4, 2, 13])
    rows, positions = torch.tensor([2, 0, 2, 2]), torch.tensor([13, 1, 0, 5])
    expected = torch.stack([slow_state(net, known[row][:at], items) for row, at in ((2, 13), (0, 1), (2, 0), (2, 5))])
    torch.testing.assert_close(net(user_inputs(known), items, rows, positions), expected, rtol=1e-4, atol=1e-5)


def test_dropped_input_vectors_are_zero_and_only_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    net, items, users = tower(item_dropout=0.3), vectors(), user_inputs([[3, 4, 5]])
    kept = at_the_end(net, users, items)
    monkeypatch.setattr(torch, "rand", lambda count, device=None: torch.full((count,), 0.29))  # below 0.3: all dropped
    assert torch.equal(at_the_end(net.eval(), users, items), kept)
    torch.testing.assert_close(at_the_end(net.train(), users, items), at_the_end(net.eval(), users, 0 * items))
    monkeypatch.setattr(torch, "rand", lambda count, device=None: torch.full((count,), 0.31))
    torch.testing.assert_close(at_the_end(net.train(), users, items), kept)
