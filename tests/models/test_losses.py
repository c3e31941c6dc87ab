"""Losses against slow loops over the documented equations."""

import math
from dataclasses import replace

import pytest
import torch

from models import losses
from tests.models.support import SEEN, slow_bce, slow_full, slow_in_batch, slow_sampled, train_batch

LABELS = [1, 0, 6, 3, 3]
BLOCKED: list[set[int]] = [{0, 2}, set(), {3}, {0, 1, 2, 4, 5, 6}, {6}]
"""The fourth row has no candidate but its own."""
Q = [0.1, 0.3, 0.05, 0.2, 0.1, 0.15, 0.1]


@pytest.fixture
def scores() -> torch.Tensor:
    torch.manual_seed(3)
    return 2 * torch.randn(5, 7)


def mask(blocked: list[set[int]], columns: int) -> torch.Tensor:
    return torch.tensor([[column in row for column in range(columns)] for row in blocked])


def test_blocked_pairs_are_what_each_user_had_seen() -> None:
    expected = mask([set(row) for row in SEEN], 7)
    assert torch.equal(losses.blocked_pairs(train_batch()), expected)


def test_without_seen_pairs_nothing_is_blocked() -> None:
    batch = replace(train_batch(), seen_targets=torch.zeros(0).long(), seen_items=torch.zeros(0).long())
    assert not losses.blocked_pairs(batch).any()


def test_full_softmax(scores: torch.Tensor) -> None:
    expected = slow_full(scores, LABELS, BLOCKED)
    (loss,) = losses.full_softmax(scores.clone(), (torch.tensor(LABELS),), mask(BLOCKED, 7))
    assert loss.tolist() == pytest.approx(expected, rel=1e-5)
    assert loss[3] == 0


def test_full_softmax_of_two_labellings_shares_the_candidates(scores: torch.Tensor) -> None:
    """Eq. 8 of CDN: the same logits under the labels of the original and of the rebalanced sample."""
    other = [4, 2, 5, 3, 1]
    both = (torch.tensor(LABELS), torch.tensor(other))
    one, two = losses.full_softmax(scores.clone(), both, mask([set()] * 5, 7))
    assert one.tolist() == pytest.approx(slow_full(scores, LABELS, [set()] * 5), rel=1e-5)
    assert two.tolist() == pytest.approx(slow_full(scores, other, [set()] * 5), rel=1e-5)


def test_blocked_scores_get_no_gradient(scores: torch.Tensor) -> None:
    leaf = scores.requires_grad_()
    losses.full_softmax(leaf * 1, (torch.tensor(LABELS),), mask(BLOCKED, 7))[0].sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad[mask(BLOCKED, 7)] == 0).all()
    assert (leaf.grad[~mask(BLOCKED, 7)][:-1] != 0).any()


def counted(scores: torch.Tensor, drawn: list[int], blocked: list[set[int]], labels: list[int]) -> torch.Tensor:
    """[5] the loss of scores [5, 7]: one column per item, which stands for all its draws."""
    log_q = torch.tensor(Q).log()
    own = scores[range(5), labels] - log_q[labels]
    held = losses.Drawn.of(torch.tensor(drawn), 7)
    return sampled(own, (scores - log_q)[:, held.items] + held.times.log(), mask(blocked, 7)[:, held.items])


def sampled(own: torch.Tensor, scores: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
    """[T] the loss of given scores [T, K], as products with unit vectors."""
    units = torch.eye(scores.shape[1], dtype=scores.dtype)
    return losses.sampled_softmax(own, losses.log_sum_of_products(scores, units, 0 * units.sum(0), blocked))


def test_sampled_softmax(scores: torch.Tensor) -> None:
    """With repeated draws, draws that are a row's own label, draws that are blocked, and items never drawn."""
    assert any(label in (3, 1, 5) for label in LABELS)
    drawn = [3, 1, 1, 5, 1]
    expected = slow_sampled(scores, LABELS, drawn, Q, BLOCKED)
    assert counted(scores, drawn, BLOCKED, LABELS).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_items_never_drawn_get_no_gradient(scores: torch.Tensor) -> None:
    leaf = scores.requires_grad_()
    counted(leaf, [3, 1, 1, 5, 1], BLOCKED, LABELS).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    reached = leaf.grad != 0
    assert reached[:, [3, 1, 5]].any(dim=0).all()
    assert (reached.any(dim=0).nonzero()[:, 0]).tolist() == [0, 1, 3, 5, 6]  # drawn or a label


@pytest.mark.parametrize("draws", [2, 0])
def test_sampled_softmax_is_zero_and_finite_when_every_draw_collides(draws: int) -> None:
    own, drawn = torch.tensor([0.7], requires_grad=True), torch.full((1, draws), 0.7, requires_grad=True)
    blocked = torch.ones(1, draws, dtype=torch.bool)
    loss = sampled(own, drawn, blocked)
    loss.sum().backward()
    assert loss.tolist() == [0]
    for leaf in (own, drawn):
        assert leaf.grad is not None
        assert (leaf.grad == 0).all()


def test_a_row_all_of_whose_draws_are_blocked_has_no_gradient_and_no_nan(scores: torch.Tensor) -> None:
    """Row 0's user has seen the only item that was drawn, and items that were not drawn are not blocked."""
    leaf = scores.requires_grad_()
    loss = counted(leaf, [2, 2], [{2}, set(), set(), set(), set()], [4, 2, 4, 1, 0])
    loss.sum().backward()
    assert loss[0] == 0
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert (leaf.grad[0] == 0).all()
    assert (leaf.grad[2] != 0).any()


def test_sampled_softmax_approaches_the_full_one(scores: torch.Tensor) -> None:
    """With K draws from a skewed Q the part of all items approaches K times the sum of exp, the target's among it."""
    count, q = 200_000, torch.tensor(Q)
    torch.manual_seed(0)
    drawn = torch.multinomial(q, count, replacement=True).tolist()
    loss = counted(scores, drawn, [set()] * 5, LABELS)
    target = q[LABELS].log() + math.log(count)  # the sample's size, and how likely the target is drawn
    torch.testing.assert_close(loss - target, torch.tensor(slow_full(scores, LABELS, [set()] * 5)), atol=0.02, rtol=0)


@pytest.mark.parametrize("count", [3, 20, 200])
def test_free_scores_learn_the_true_probabilities_from_samples_of_any_size(count: int) -> None:
    """Consistency, whatever the sampler: the minimum of the expected loss is at exp(s) in proportion to p.

    The gradient there, over 10,000 samples and all targets, is zero within five standard errors; with all scores equal
    it is not.
    """
    p, q = torch.tensor([0.4, 0.05, 0.2, 0.05, 0.1, 0.1, 0.1]).double(), torch.tensor(Q).double()
    torch.manual_seed(0)
    times = torch.distributions.Multinomial(count, q).sample((10_000,))  # [R, 7]
    log_times = times.log().clamp(min=losses.LEAST)

    def gradient(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[7] mean and standard error."""
        leaf = scores.expand(10_000, 7).clone().requires_grad_()
        expected = torch.zeros(10_000).double()
        for target in range(7):
            own = leaf[:, target] - q[target].log()
            blocked = torch.zeros(10_000, 7, dtype=torch.bool)
            expected = expected + p[target] * sampled(own, leaf - q.log() + log_times, blocked)
        (grad,) = torch.autograd.grad(expected.sum(), leaf)
        return grad.mean(dim=0), grad.std(dim=0) / 100

    mean, error = gradient(p.log())
    assert (mean.abs() < 5 * error).all()
    mean, error = gradient(torch.zeros(7).double())
    assert (mean.abs() > 5 * error).any()


def test_the_log_sum_has_the_gradient_of_the_plain_one() -> None:
    """Users, vectors and offsets alike; one row has all its candidates blocked."""
    torch.manual_seed(4)
    leaves = [torch.randn(*shape, dtype=torch.float64).requires_grad_() for shape in ((5, 3), (7, 3), (7,))]
    blocked = mask([{0, 2}, set(), set(range(7)), {3}, {6}], 7)
    kept = torch.tensor([0, 1, 3, 4])
    found = losses.log_sum_of_products(*leaves, blocked)
    x, vectors, offset = leaves
    plain = (x @ vectors.T + offset).masked_fill(blocked, -torch.inf).logsumexp(dim=1)
    assert found[2] == -torch.inf
    torch.testing.assert_close(found, plain)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    one = torch.autograd.grad((found[kept] * weights).sum(), leaves)
    other = torch.autograd.grad((plain[kept] * weights).sum(), leaves)
    for ours, expected in zip(one, other, strict=True):
        torch.testing.assert_close(ours, expected)


def test_drawn_items_are_counted_once_and_found_again() -> None:
    batch = train_batch()
    drawn = losses.Drawn.of(torch.tensor([6, 3, 0, 2, 2, 0]), batch.candidates)
    assert drawn.items.tolist() == [0, 2, 3, 6]
    assert drawn.times.tolist() == [2, 2, 1, 1]
    full = losses.blocked_pairs(batch)
    full[range(len(full)), batch.targets] = False
    assert torch.equal(drawn.blocked(batch, (batch.targets,))[:, :-1], full[:, drawn.items])


def test_in_batch_softmax_is_a_sample_of_the_targets(scores: torch.Tensor) -> None:
    """Rows 0 and 2, 1 and 4 are accidental hits of each other; with what is blocked, row 4 keeps but its own."""
    labels = [4, 2, 4, 1, 2]
    blocked: list[set[int]] = [{1}, set(), set(), {4, 2}, {1, 4}]
    expected = slow_in_batch(scores, labels, Q, blocked)
    own = [seen | {label} for seen, label in zip(blocked, labels, strict=True)]
    assert counted(scores, labels, own, labels).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_binary_cross_entropy(scores: torch.Tensor) -> None:
    negatives = [2, 5, 0, 1, 6]
    loss = losses.binary_cross_entropy(scores[range(5), LABELS], scores[range(5), negatives])
    assert loss.tolist() == pytest.approx(slow_bce(scores, LABELS, negatives, [set()] * 5), rel=1e-5)


def test_a_row_without_negative_has_a_positive_alone() -> None:
    positive, negative = torch.tensor([0.3], requires_grad=True), torch.tensor([5.0], requires_grad=True)
    none = negative.masked_fill(torch.tensor([True]), -torch.inf)
    loss = losses.binary_cross_entropy(positive, none)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.3)), rel=1e-5)
    assert negative.grad == 0
    assert positive.grad is not None
    assert positive.grad.item() == pytest.approx(-1 / (1 + math.exp(0.3)), rel=1e-5)


def test_binary_cross_entropy_does_not_overflow() -> None:
    assert losses.binary_cross_entropy(torch.tensor([-200.0]), torch.tensor([200.0])).item() == pytest.approx(400)


def test_large_scores_stay_finite() -> None:
    """Trend offsets and near-identity attention make scores of hundreds; float exponentials overflow at 89."""
    scores, label = torch.tensor([[500.0, -500.0, 499.0]]), torch.tensor([0])
    blocked = torch.zeros(1, 3, dtype=torch.bool)
    expected = pytest.approx(math.log1p(math.exp(-1)), rel=1e-5)
    assert losses.full_softmax(scores.clone(), (label,), blocked)[0].item() == expected
    loss = sampled(scores[:, 0], scores[:, 1:], blocked[:, 1:])
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-4)
