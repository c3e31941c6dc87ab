"""Blocks against naive loops."""

import math

import pytest
import torch

from models.base import OOV, PADDING
from models.layers import MLP, CausalBlock, FeatureBag, FeatureEmbedding, drop_ids


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


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(AssertionError, match="multiple of heads"):
        CausalBlock(6, heads=4, dropout=0.0)
