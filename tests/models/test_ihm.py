"""IHM's item tower against its equations, one item and one user at a time."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from models import pooling
from models.base import OOV, ItemInputs
from models.ihm import HistoryItems, HistoryItemsConfig
from tests.models.support import BARE, HISTORIES, SIZES, item_inputs, ragged

DIM = 6
HEADS = pytest.mark.parametrize("heads", [1, 2, 4])


def tower(heads: int = 2, sizes: Any = SIZES, **fields: Any) -> HistoryItems:
    """In double precision, with parameters that are far from the identity, so that no transpose hides."""
    torch.manual_seed(0)
    config = {"heads": heads, "feature_dim": 4, "id_dropout": 0.0, "dropout": 0.0, "user_std": 1.0, **fields}
    built = HistoryItems(HistoryItemsConfig(**config), sizes, DIM).double()
    with torch.no_grad():
        built.query.normal_(std=0.7)
        built.key.normal_(std=0.7)
        built.gate.weight.normal_()
    return built


def inputs(**fields: Any) -> ItemInputs:
    return item_inputs(**fields)


def users_of(net: HistoryItems, item: int) -> list[torch.Tensor]:
    return [net.users.weight[user] for user in HISTORIES[item]]


def slow_expert(net: HistoryItems, head: int, static: torch.Tensor, users: list[torch.Tensor]) -> torch.Tensor:
    """Eq. 2 as printed: columns [E_U ; E_S] weighted by softmax( (W_K [E_U ; E_S])^T (W_S E_S) / sqrt(d) )."""
    columns = [*users, static]
    query = net.query[head] @ static
    scores = [((net.key[head] @ column) @ query).item() / math.sqrt(DIM) for column in columns]
    weights = [math.exp(score) for score in scores]
    return sum((weight / sum(weights) * column for weight, column in zip(weights, columns, strict=True)), 0 * static)


def slow_item(net: HistoryItems, static: torch.Tensor, users: list[torch.Tensor]) -> torch.Tensor:
    """Eq. 1 and 3 over the experts of eq. 2."""
    experts = [slow_expert(net, head, static, users) for head in range(len(net.key))]
    gates = [math.exp((net.gate.weight[0] @ torch.cat([expert, static])).item()) for expert in experts]
    return sum((gate / sum(gates) * expert for gate, expert in zip(gates, experts, strict=True)), 0 * static)


@HEADS
def test_equations_1_to_3_against_a_loop(heads: int) -> None:
    net, items = tower(heads), inputs()
    static = net.static(items)
    expected = torch.stack([slow_item(net, static[item], users_of(net, item)) for item in range(len(items))])
    torch.testing.assert_close(net(items), expected)


@HEADS
def test_gates_are_a_distribution_over_the_heads(heads: int) -> None:
    net, items = tower(heads), inputs()
    static = net.static(items)
    gates = net.gates(static, net.experts(static, items))
    assert gates.shape == (len(items), heads)
    torch.testing.assert_close(gates.sum(dim=1), torch.ones(len(items), dtype=torch.float64))


@pytest.mark.parametrize("head", [0, 1])
def test_linear_attention_is_a_zero_shot_map_updated_by_every_user(head: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.5: without softmax and scale eq. 2 is (W_ZCL + sum_j e_uj e_uj^T W_K^T) q, q = W_S E_S.

    The module's own path runs, with its softmax replaced by the plain sum.
    """

    monkeypatch.setattr(pooling, "softmax_weights", lambda own_scores, scores, _: (own_scores, scores))
    net, items = tower(heads=2), inputs()
    static = net.static(items)
    attended = net.experts(static, items)[:, head] * math.sqrt(DIM)
    for item in range(len(items)):
        q = net.query[head] @ static[item]
        zero_shot = torch.outer(static[item], static[item]) @ net.key[head].T  # W_ZCL
        updates = [torch.outer(user, user) @ net.key[head].T for user in users_of(net, item)]
        updated = sum(updates, zero_shot) @ q
        torch.testing.assert_close(attended[item], updated)
        assert torch.allclose(updated, zero_shot @ q) == (not HISTORIES[item])


@HEADS
def test_the_order_of_a_history_does_not_matter(heads: int) -> None:
    net = tower(heads)
    reversed_histories = [tuple(reversed(users)) for users in HISTORIES]
    torch.testing.assert_close(net(inputs(histories=reversed_histories)), net(inputs()))


@HEADS
def test_an_item_without_history_is_its_static_embedding(heads: int) -> None:
    net, items = tower(heads), inputs()
    without = [row for row, users in enumerate(HISTORIES) if not users]
    torch.testing.assert_close(net(items)[without], net.static(items)[without])
    nobody = inputs(histories=[()] * 8)
    torch.testing.assert_close(net(nobody), net.static(nobody))


def test_one_head_gives_the_static_embedding_back_exactly() -> None:
    net, nobody = tower(1), inputs(histories=[()] * 8)
    assert torch.equal(net(nobody), net.static(nobody))


def test_users_and_static_embedding_share_one_space() -> None:
    """No projection of values: users who equal E_S leave an item where it is, whatever the attention."""
    net, items = tower(4), inputs()
    with torch.no_grad():
        net.users.weight[:] = net.static(items)[0]
    torch.testing.assert_close(net(items)[0], net.static(items)[0])


def test_only_its_own_users_move_an_item() -> None:
    net = tower()
    histories = list(HISTORIES)
    histories[3] = (1,)
    before, after = net(inputs()), net(inputs(histories=histories))
    moved = (before - after).abs().amax(dim=1) > 1e-9
    assert moved.nonzero()[:, 0].tolist() == [3]


def test_items_unseen_in_training_differ_by_features_and_by_users() -> None:
    net = tower(id_dropout=0.1).eval()
    genres, years = [(1,), (1,), (2,), (1,)], [(1,)] * 4
    vectors = net(inputs(ids=[OOV] * 4, histories=[(1, 2), (3,), (1, 2), (1, 2)], genres=genres, years=years))
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3  # by users
    assert (vectors[0] - vectors[2]).abs().max() > 1e-3  # by features
    torch.testing.assert_close(vectors[0], vectors[3])


def test_without_ids_known_and_unknown_items_are_alike() -> None:
    net = tower(ids=False)
    torch.testing.assert_close(net(inputs()), net(inputs(ids=[OOV] * 8)))


def test_without_features_ids_and_users_are_enough() -> None:
    net = tower(sizes=BARE)
    assert torch.isfinite(net(inputs(features=False))).all()
    with pytest.raises(ValueError, match="no features"):
        tower(sizes=BARE, ids=False)


def test_gradients_reach_what_the_equations_name_and_nothing_else() -> None:
    net, items = tower(2, id_dropout=0.5), inputs(ids=[1, 2, 3, 4, 5, 6, 7, 8])
    net(items).pow(2).sum().backward()
    users = net.users.weight.grad
    assert users is not None
    assert (users[OOV] == 0).all()  # in nobody's history
    assert (users[1:] != 0).any(dim=1).all()
    for gradient in (net.query.grad, net.key.grad):
        assert gradient is not None
        assert (gradient.abs().sum(dim=(1, 2)) > 0).all()  # every head's
    for gradient in (net.gate.weight.grad, net.static.project.layers[0].weight.grad):
        assert gradient is not None
        assert (gradient != 0).any()
    assert net.static.table is not None
    assert net.static.table.weight.grad is not None
    assert (net.static.table.weight.grad[OOV] != 0).any()  # by id dropout


def test_an_item_trains_only_its_own_users() -> None:
    net, items = tower(), inputs()
    net(items)[0].sum().backward()
    assert net.users.weight.grad is not None
    reached = net.users.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()
    assert reached == sorted(HISTORIES[0])


def test_items_without_history_train_no_attention() -> None:
    net, nobody = tower(1), inputs(histories=[()] * 8)
    net(nobody).sum().backward()
    for gradient in (net.query.grad, net.key.grad, net.users.weight.grad):
        assert gradient is None or (gradient.abs() < 1e-12).all()


def test_counts_and_trend_are_not_read() -> None:
    net, items = tower(), inputs()
    other = replace(items, counts=torch.full((8,), math.nan), log_trend=torch.full((8,), math.nan))
    assert torch.equal(net(items), net(other))


def test_an_untrained_item_with_a_long_history_stays_near_its_static_embedding() -> None:
    """The departure the module states: attention starts near the identity, so strangers do not drown E_S."""
    torch.manual_seed(0)
    net = HistoryItems(HistoryItemsConfig(id_dropout=0.0), replace(SIZES, history_users=61), 64).eval()
    rows, users = ragged([tuple(range(1 + 30 * (item % 2), 31 + 30 * (item % 2))) for item in range(8)])
    items = replace(inputs(), history_rows=rows, history_users=users)
    similarity = torch.nn.functional.cosine_similarity(net(items), net.static(items))
    assert similarity.min() > 0.9
