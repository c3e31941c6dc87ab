"""Pooling of ragged lists against a loop, and its gradient against finite differences."""

import math

import pytest
import torch
from torch import nn

from models import pooling
from models.pooling import pool

ROWS = [0, 0, 0, 2, 4, 4]
"""Entries per row: 3, 0, 1, 0, 2."""

ENTRIES = [3, 1, 3, 0, 1, 6]
"""Rows of the table: 3 and 1 are read by several, 2, 4 and 5 by none."""


def table(sparse: bool = False) -> nn.Embedding:
    torch.manual_seed(2)
    return nn.Embedding(7, 3, sparse=sparse).double()


def inputs(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Own scores, queries and own vectors of five rows."""
    torch.manual_seed(1)
    own, query, static = (torch.randn(*shape, dtype=torch.float64) for shape in ((5,), (5, 3), (5, 3)))
    return scale * own, scale * query, static


def pooled(held: nn.Embedding, leaves: tuple[torch.Tensor, ...]) -> torch.Tensor:
    own, query, static = leaves
    return pool(own, query, static, held, torch.tensor(ENTRIES), torch.tensor(ROWS))


def naive(held: nn.Embedding, leaves: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Each row by itself, with exact exponentials; autograd gives its gradient."""
    own, query, static = leaves
    found = []
    for row in range(len(own)):
        vectors = [
            static[row],
            *(held.weight[entry] for entry, owner in zip(ENTRIES, ROWS, strict=True) if owner == row),
        ]
        logits = torch.stack([own[row], *(query[row] @ vector for vector in vectors[1:])])
        found.append(logits.softmax(dim=0) @ torch.stack(vectors))
    return torch.stack(found)


@pytest.mark.parametrize("part", [1, 4, 2048])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_against_a_loop_whatever_is_gathered_at_a_time(
    scale: float, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with scores whose exponentials overflow."""
    monkeypatch.setattr(pooling, "PART", part)
    torch.testing.assert_close(pooled(table(), inputs(scale)), naive(table(), inputs(scale)))


def test_weights_are_a_softmax_per_row() -> None:
    scores = torch.tensor([1.0, 2.0, 0.5])
    own, weights = pooling.softmax_weights(torch.tensor([0.0, 3.0]), scores, torch.tensor([0, 0, 1]))
    total = 1 + math.exp(1) + math.exp(2)
    assert own.tolist() == pytest.approx([1 / total, 1 / (1 + math.exp(-2.5))], rel=1e-5)
    assert weights.tolist() == pytest.approx(
        [math.exp(1) / total, math.exp(2) / total, 1 / (1 + math.exp(2.5))], rel=1e-5
    )


def test_a_row_without_entries_gives_its_own_vector_back_exactly() -> None:
    own, query, static = inputs(50.0)
    assert torch.equal(pooled(table(), (own, query, static))[[1, 3]], static[[1, 3]])


@pytest.mark.parametrize("sparse", [False, True])
def test_no_entries_at_all_leave_a_gradient_of_zero(sparse: bool) -> None:
    (own, query, static), held = inputs(), table(sparse)
    nothing = torch.zeros(0, dtype=torch.int64)
    found = pool(own, query, static, held, nothing, nothing)
    assert torch.equal(found, static)
    found.sum().backward()
    assert held.weight.grad is not None
    assert not held.weight.grad.to_dense().any()


def test_the_gradient_is_that_of_finite_differences() -> None:
    held, leaves = table(), tuple(leaf.requires_grad_() for leaf in inputs())

    assert torch.autograd.gradcheck(lambda *others: pooled(held, others), leaves)
    for leaf in leaves:
        leaf.grad = None
    shape = torch.randn(5, 3, dtype=torch.float64)
    (pooled(held, leaves) * shape).sum().backward()
    found = held.weight.grad
    held.weight.grad = None
    (naive(held, leaves) * shape).sum().backward()
    assert found is not None
    assert held.weight.grad is not None
    torch.testing.assert_close(found, held.weight.grad)


def test_a_sparse_gradient_has_each_row_that_was_read_once_and_is_the_dense_one() -> None:
    dense, sparse = table(), table(sparse=True)
    for held in (dense, sparse):
        pooled(held, inputs()).square().sum().backward()
    grad = sparse.weight.grad
    assert grad is not None
    assert grad.is_sparse
    assert grad._indices()[0].tolist() == [0, 1, 3, 6]  # ascending, so that the optimiser need not sort them again
    assert dense.weight.grad is not None
    assert torch.equal(grad.to_dense(), dense.weight.grad)


def test_entries_that_are_not_grouped_are_refused() -> None:
    with pytest.raises(AssertionError, match="ascending"):
        pool(*inputs(), table(), torch.tensor([0, 1]), torch.tensor([1, 0]))
