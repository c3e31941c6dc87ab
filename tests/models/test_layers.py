"""Blocks against naive loops."""

import math

import pytest
import torch

from models.base import OOV, PADDING
from models.layers import (
    INIT_STD,
    MLP,
    CausalBlock,
    FeatureBag,
    FeatureEmbedding,
    drop_ids,
    embedding,
    linear_near_identity,
    segment_softmax_mean,
)


def naive_bag(table: torch.Tensor, values: list[list[int]]) -> torch.Tensor:
    rows = []
    for row in values:
        kept = [value for value in row if value != PADDING] or [OOV]
        total = torch.zeros(table.shape[1])
        for value in kept:
            total = total + table[value]
        rows.append(total / len(kept))
    return torch.stack(rows)


def test_feature_bag_is_the_mean_of_the_values() -> None:
    torch.manual_seed(0)
    bag = FeatureBag(6, 4)
    values = [[1, 2, 3], [4, PADDING, PADDING], [PADDING, PADDING, PADDING], [0, 5, PADDING], [2, 2, 1]]
    torch.testing.assert_close(bag(torch.tensor(values)), naive_bag(bag.table.weight, values))


def test_feature_bag_ignores_the_order_and_the_amount_of_padding() -> None:
    torch.manual_seed(0)
    bag = FeatureBag(9, 4)
    one = bag(torch.tensor([[3, 1, 8, PADDING]]))
    other = bag(torch.tensor([[8, 3, 1, PADDING, PADDING, PADDING]]))
    torch.testing.assert_close(one, other)


def test_no_gradient_reaches_padding() -> None:
    bag = FeatureBag(4, 3)
    bag(torch.tensor([[2, PADDING], [3, PADDING]])).pow(2).sum().backward()
    gradient = bag.table.weight.grad
    assert gradient is not None
    assert (gradient[[0, 1]] == 0).all()
    assert (gradient[[2, 3]] != 0).any(dim=1).all()


def test_a_list_without_values_trains_the_missing_row() -> None:
    bag = FeatureBag(4, 3)
    bag(torch.tensor([[PADDING, PADDING]])).pow(2).sum().backward()
    gradient = bag.table.weight.grad
    assert gradient is not None
    assert (gradient[OOV] != 0).any()
    assert (gradient[1:] == 0).all()


def test_features_lie_side_by_side_in_the_order_of_their_names() -> None:
    torch.manual_seed(0)
    both = FeatureEmbedding({"year": 3, "genre": 4}, 2)
    genre, year = torch.tensor([[1, 2], [3, PADDING]]), torch.tensor([[2], [0]])
    expected = torch.cat([naive_bag(both.bags[0].table.weight, [[1, 2], [3]]), both.bags[1].table.weight[[2, 0]]], 1)
    assert both.width == 4
    torch.testing.assert_close(both({"year": year, "genre": genre}, 2), expected)


def test_no_features_have_no_width() -> None:
    none = FeatureEmbedding({}, 2)
    assert none({}, 5).shape == (5, 0)
    assert none.state_dict() == {}


def test_no_features_lie_on_the_device_of_the_net() -> None:
    none = FeatureEmbedding({}, 2).to("meta")
    ids = torch.zeros(5, 3, device="meta")
    assert torch.cat([ids, none({}, 5)], dim=1).shape == (5, 3)


@pytest.mark.parametrize("std", [INIT_STD, 0.5])
def test_tables_begin_with_the_stated_spread(std: float) -> None:
    torch.manual_seed(0)
    assert embedding(500, 8, std).weight.std().item() == pytest.approx(std, rel=0.05)
    assert FeatureEmbedding({"genre": 500}, 8, std).bags[0].table.weight.std().item() == pytest.approx(std, rel=0.05)


def test_dropped_ids_become_oov_at_the_stated_rate_and_only_in_training() -> None:
    torch.manual_seed(0)
    ids = torch.arange(1, 20_001)
    ids[::10] = PADDING
    dropped = drop_ids(ids, 0.3, training=True)
    real = ids != PADDING
    assert (dropped[~real] == PADDING).all()
    assert (dropped[real] == OOV).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert ((dropped == ids) | (dropped == OOV)).all()
    assert torch.equal(drop_ids(ids, 0.3, training=False), ids)


def test_mlp_is_linear_relu_linear() -> None:
    torch.manual_seed(0)
    mlp = MLP((3, 5, 2), dropout=0.5).eval()
    x = torch.randn(4, 3)
    first, last = mlp.layers[0], mlp.layers[3]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(mlp(x), hidden @ last.weight.T + last.bias)


def naive_attention(block: CausalBlock, x: torch.Tensor) -> torch.Tensor:
    """SASRec eq. 2-3, one scalar product at a time."""
    b, t, d = x.shape
    width = d // block.heads
    q, k, v = (x @ block.qkv.weight.T + block.qkv.bias).split(d, dim=-1)
    mixed = torch.zeros(b, t, d)
    for row in range(b):
        for head in range(block.heads):
            columns = slice(head * width, (head + 1) * width)
            for position in range(t):
                scores = [float(q[row, position, columns] @ k[row, past, columns]) for past in range(position + 1)]
                exponents = [math.exp(score / math.sqrt(width)) for score in scores]
                for past, weight in enumerate(exponents):
                    mixed[row, position, columns] += weight / sum(exponents) * v[row, past, columns]
    return mixed @ block.project.weight.T + block.project.bias


def test_attention_against_a_loop() -> None:
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.0)
    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        torch.testing.assert_close(block.attend(x), naive_attention(block, x), rtol=1e-4, atol=1e-5)


def test_block_adds_both_sublayers_to_its_input() -> None:
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.3).eval()
    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        middle = x + naive_attention(block, block.norm_attention(x))
        expected = middle + block.feed_forward(block.norm_feed_forward(middle))
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_block_does_not_see_later_positions() -> None:
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.0).eval()
    x = torch.randn(1, 5, 8)
    changed = x.clone()
    changed[:, 3:] = 1e3
    torch.testing.assert_close(block(changed)[:, :3], block(x)[:, :3])
    assert not torch.allclose(block(changed)[:, 3:], block(x)[:, 3:])


def test_block_at_chosen_positions_is_the_block() -> None:
    """In any order, some rows more than once and some never; with the same gradient, none of it to later positions."""
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.3).eval()
    x = torch.randn(4, 5, 8, requires_grad=True)
    rows, positions = torch.tensor([3, 0, 0, 2, 0]), torch.tensor([4, 1, 0, 2, 3])
    everywhere, chosen = block(x)[rows, positions], block.at(x, rows, positions)
    torch.testing.assert_close(chosen, everywhere, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(chosen)
    (expected,) = torch.autograd.grad((everywhere * weights).sum(), x)
    (given,) = torch.autograd.grad((chosen * weights).sum(), x)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    assert (given[1] == 0).all()
    assert (given[2, 3:] == 0).all()


@pytest.mark.parametrize("inside", [4, 7])
def test_near_identity_passes_the_first_inputs_on(inside: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, inside)
    passed = linear_near_identity(inside, 4)(x)
    assert (passed - x[:, :4]).abs().max() < 0.3
    assert not torch.equal(passed, x[:, :4])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(AssertionError, match="multiple of heads"):
        CausalBlock(6, heads=4, dropout=0.0)


def naive_pool(
    own_scores: torch.Tensor, scores: torch.Tensor, own_values: torch.Tensor, values: torch.Tensor, rows: list[int]
) -> torch.Tensor:
    """Each row by itself, with exact exponentials."""
    pooled = []
    for row in range(len(own_scores)):
        mine = [entry for entry, owner in enumerate(rows) if owner == row]
        logits = [float(own_scores[row]), *(float(scores[entry]) for entry in mine)]
        vectors = [own_values[row], *(values[entry] for entry in mine)]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        pooled.append(
            sum(
                (weight / sum(weights) * vector for weight, vector in zip(weights, vectors, strict=True)),
                0 * vectors[0],
            )
        )
    return torch.stack(pooled)


POOL_ROWS = [0, 0, 0, 2, 4, 4]
"""Entries per row: 3, 0, 1, 0, 2."""


def pool_inputs(scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    shapes = ((5,), (6,), (5, 3), (6, 3))
    own_scores, scores, own_values, values = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    return scale * own_scores, scale * scores, own_values, values


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_segment_softmax_mean_against_a_loop(scale: float) -> None:
    """Also with scores whose exponentials overflow."""
    inputs = pool_inputs(scale)
    torch.testing.assert_close(segment_softmax_mean(*inputs, torch.tensor(POOL_ROWS)), naive_pool(*inputs, POOL_ROWS))


def test_segment_softmax_mean_reads_entries_in_any_order() -> None:
    own_scores, scores, own_values, values = pool_inputs()
    order = torch.tensor([5, 2, 0, 3, 1, 4])
    shuffled = segment_softmax_mean(
        own_scores, scores[order], own_values, values[order], torch.tensor(POOL_ROWS)[order]
    )
    torch.testing.assert_close(shuffled, naive_pool(own_scores, scores, own_values, values, POOL_ROWS))


def test_a_row_without_entries_gives_its_own_value_back_exactly() -> None:
    own_scores, scores, own_values, values = pool_inputs(50.0)
    pooled = segment_softmax_mean(own_scores, scores, own_values, values, torch.tensor(POOL_ROWS))
    assert torch.equal(pooled[[1, 3]], own_values[[1, 3]])
    none = segment_softmax_mean(own_scores, scores[:0], own_values, values[:0], torch.zeros(0).long())
    assert torch.equal(none, own_values)


def test_segment_softmax_mean_has_the_right_gradient() -> None:
    """The largest score is detached; finite differences would notice if it did not cancel."""
    leaves = tuple(tensor.requires_grad_() for tensor in pool_inputs())
    assert torch.autograd.gradcheck(lambda *inputs: segment_softmax_mean(*inputs, torch.tensor(POOL_ROWS)), leaves)
