"""Losses against slow loops over the documented equations."""

import math

import pytest
import torch

from models import losses


@pytest.fixture
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.randn(5, 4), torch.randn(7, 4)


def score(users: torch.Tensor, items: torch.Tensor, row: int, item: int) -> float:
    return float(users[row] @ items[item])


def test_full_softmax(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = vectors
    targets = [1, 0, 6, 3, 3]
    terms = [
        -math.log(
            math.exp(score(users, items, row, target)) / sum(math.exp(score(users, items, row, i)) for i in range(7))
        )
        for row, target in enumerate(targets)
    ]
    assert losses.full_softmax(users, items, torch.tensor(targets)).item() == pytest.approx(sum(terms) / 5, rel=1e-5)


def test_sampled_softmax(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = vectors
    targets, drawn = [1, 0, 6, 3, 3], [3, 1, 1, 5]
    q = [0.1, 0.3, 0.05, 0.2, 0.1, 0.15, 0.1]
    terms = []
    for row, target in enumerate(targets):
        positive = math.exp(score(users, items, row, target)) / q[target]
        others = sum(math.exp(score(users, items, row, i)) / q[i] for i in drawn if i != target)
        terms.append(-math.log(positive / (positive + others)))
    loss = losses.sampled_softmax(
        users, items[targets], torch.tensor(targets), items[drawn], torch.tensor(drawn), torch.tensor(q).log()
    )
    assert loss.item() == pytest.approx(sum(terms) / 5, rel=1e-5)


def test_sampled_softmax_is_zero_and_finite_when_every_draw_collides(
    vectors: tuple[torch.Tensor, torch.Tensor],
) -> None:
    users = vectors[0][:1].requires_grad_()
    items = vectors[1]
    drawn = torch.tensor([2, 2])
    loss = losses.sampled_softmax(users, items[[2]], torch.tensor([2]), items[drawn], drawn, torch.zeros(7))
    loss.backward()
    assert loss.item() == 0
    assert users.grad is not None
    assert torch.isfinite(users.grad).all()


def test_sampled_softmax_estimates_the_full_softmax(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    """With many draws from a skewed Q, the corrected loss approaches log(K) plus the loss over all other items."""
    users, items = vectors
    targets = torch.tensor([1, 0, 6, 3, 3])
    q = torch.tensor([0.3, 0.05, 0.2, 0.15, 0.1, 0.05, 0.15])
    torch.manual_seed(0)
    count = 200_000
    drawn = torch.multinomial(q, count, replacement=True)
    # The draws stand for K times the other items: so the positive is scaled by K as well, through its own log Q.
    users_scores = users @ items.T
    negatives = (users_scores[:, drawn] - q.log()[drawn]).masked_fill(targets[:, None] == drawn[None], -torch.inf)
    estimate = negatives.logsumexp(dim=1) - math.log(count)
    others = users_scores.scatter(1, targets[:, None], -torch.inf).logsumexp(dim=1)
    torch.testing.assert_close(estimate, others, atol=0.02, rtol=0)


def test_in_batch_softmax(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = vectors
    ids = [4, 2, 4, 1, 2]  # rows 0 and 2, 1 and 4 are accidental hits of each other
    q = [0.1, 0.2, 0.4, 0.1, 0.2]
    batch_items = items[ids]
    terms = []
    for row in range(5):
        terms_of_row = {
            column: math.exp(score(users, batch_items, row, column)) / q[ids[column]]
            for column in range(5)
            if column == row or ids[column] != ids[row]
        }
        terms.append(-math.log(terms_of_row[row] / sum(terms_of_row.values())))
    log_q = torch.tensor([q[item] for item in ids]).log()
    loss = losses.in_batch_softmax(users, batch_items, torch.tensor(ids), log_q)
    assert loss.item() == pytest.approx(sum(terms) / 5, rel=1e-5)


def test_binary_cross_entropy() -> None:
    positive, negative = [0.3, -2.0, 4.0], [1.0, 0.0, -3.0]

    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = -sum(math.log(sigma(p)) + math.log(1 - sigma(n)) for p, n in zip(positive, negative, strict=True)) / len(
        positive
    )
    loss = losses.binary_cross_entropy(torch.tensor(positive), torch.tensor(negative))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_binary_cross_entropy_does_not_overflow() -> None:
    assert losses.binary_cross_entropy(torch.tensor([-200.0]), torch.tensor([200.0])).item() == pytest.approx(400)
