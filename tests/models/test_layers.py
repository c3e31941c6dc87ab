"""Blocks against naive loops."""

import pytest
import torch

from models.base import OOV, PADDING
from models.layers import (
    INIT_STD,
    MLP,
    FeatureBag,
    FeatureEmbedding,
    FieldMLP,
    drop_ids,
    embedding,
    linear_near_identity,
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


@pytest.mark.parametrize("inside", [4, 7])
def test_near_identity_passes_the_first_inputs_on(inside: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, inside)
    passed = linear_near_identity(inside, 4)(x)
    assert (passed - x[:, :4]).abs().max() < 0.3
    assert not torch.equal(passed, x[:, :4])


# Field-aware MLP


def fields(**rows: int) -> FieldMLP:
    torch.manual_seed(0)
    return FieldMLP(rows, feature_dim=3, hidden=5, dim=4, dropout=0.0)


def test_each_field_has_a_network_of_its_own_and_they_add_up() -> None:
    """Lists of one, two and no values (the value OOV), field by field."""
    net = fields(genre=5, age=4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    values = {"genre": [[1], [2, 4], []], "age": [[3], [], [1]]}
    assert net.names == ("age", "genre")
    expected = []
    for row in range(3):
        total = net.shared
        for name, bag, mlp in zip(net.names, net.bags, net.mlps, strict=True):
            first, _, _, last = mlp.layers
            mean = bag.table.weight[values[name][row] or [OOV]].mean(dim=0)
            hidden = (first.weight @ mean + first.bias).clamp(min=0)
            total = total + last.weight @ hidden + last.bias
        expected.append(total)
    padded = {
        "genre": torch.tensor([[1, PADDING], [2, 4], [PADDING, PADDING]]),
        "age": torch.tensor([[3], [PADDING], [1]]),
    }
    torch.testing.assert_close(net(padded, 3), torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_without_fields_there_is_what_rows_share() -> None:
    net = fields()
    with torch.no_grad():
        net.shared.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert net({}, 2).tolist() == [[1, 2, 3, 4]] * 2
    assert net({}, 0).shape == (0, 4)


@pytest.mark.parametrize("number", [1, 6])
def test_fields_together_begin_as_small_as_a_row(number: int) -> None:
    torch.manual_seed(0)
    net = FieldMLP({f"field{index}": 50 for index in range(number)}, 16, 64, 200, 0.0)
    values = {name: torch.arange(50)[:, None] for name in net.names}
    assert 0.3 * INIT_STD < net(values, 50).std().item() < 1.5 * INIT_STD
