"""Eq. 2 and eq. 5 of HRNN-meta (Ma et al., KDD 2020), item by item and example by example."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.base import OOV, TrainBatch
from models.items import IdItemsConfig
from models.mixed import MixedItems, MixedItemsConfig, MixingHead, MixingHeadConfig
from models.net import LossKind, Retrieval, RetrievalConfig
from models.recurrent import RecurrentUsersConfig
from models.registry import NETS, build_net
from tests.models.support import BARE, GENRES, SIZES, YEARS, item_inputs, requests, slow_loss, train_batch, user_inputs

DIM = 6
K = 10.0
USERS = RecurrentUsersConfig(hidden=5, dropout=0.0)


def tower(sizes: Any = SIZES, **fields: Any) -> MixedItems:
    torch.manual_seed(0)
    config = {"dropout": 0.0, "feature_dim": 4, "hidden": 7, "half_count": K, **fields}
    return loud(MixedItems(MixedItemsConfig(**config), sizes, DIM)).eval()


def loud(net: Any) -> Any:
    """With parameters far from zero, so that each of them shows."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.4 * torch.randn_like(parameter))
    return net


def retrieval(loss: LossKind = "full_softmax", tau: float = 0.0, fixed: float | None = None) -> Retrieval:
    """In eval mode: nothing drops; lambda is drawn all the same, where it is not fixed."""
    torch.manual_seed(2)
    config = RetrievalConfig(
        dim=DIM,
        items=MixedItemsConfig(feature_dim=4, hidden=7, half_count=K),
        users=USERS,
        head=MixingHeadConfig(fixed=fixed),
        loss=loss,
        trend={"weight": tau},
    )
    net = loud(Retrieval(config, SIZES)).eval()
    assert isinstance(net, Retrieval)
    return net


def slow_by_features(net: MixedItems, row: int) -> torch.Tensor:
    """[D] w(f) and b(f): each field's network of the mean embedding of its values; what all items share; the sum."""
    total = net.fields.shared
    for name, bag, mlp in zip(net.fields.names, net.fields.bags, net.fields.mlps, strict=True):
        values = {"genre": GENRES, "year": YEARS}[name][row] or (OOV,)
        first, _, _, last = mlp.layers
        mean = bag.table.weight[list(values)].mean(dim=0)
        total = total + last.weight @ (first.weight @ mean + first.bias).clamp(min=0) + last.bias
    return total


def slow_lambda(count: float) -> float:
    return 0.5 + 0.5 * K / (K + count)


def phi(net: MixedItems, user: torch.Tensor, row: int, weight: float, ids: list[int]) -> torch.Tensor:
    """Eq. 2 as it is printed: weights and biases apart, h without the constant."""
    h = user[:-1]
    w, b = net.table.weight[ids[row]].split([DIM - 1, 1])
    w_f, b_f = slow_by_features(net, row).split([DIM - 1, 1])
    return (1 - weight) * (w @ h + b[0]) + weight * (w_f @ h + b_f[0])


def slow_scores(net: MixedItems, users: torch.Tensor, batch: TrainBatch, weights: list[list[float]]) -> torch.Tensor:
    """[T, C] by eq. 2 with lambda [T][C]."""
    ids = batch.items.ids.tolist()
    rows = [
        [phi(net, user, item, weights[t][item], ids) for item in range(batch.candidates)]
        for t, user in enumerate(users)
    ]
    return torch.stack([torch.stack(row) for row in rows])


# Served


def test_lambda_falls_from_one_for_cold_items_to_a_half() -> None:
    found = tower().served_lambda(torch.tensor([0.0, K / 3, K, 3 * K, 1e9]))
    assert found.tolist() == pytest.approx([1.0, 0.5 + 0.5 * 0.75, 0.75, 0.5 + 0.5 / 4, 0.5])
    assert found[0] == 1  # exactly: nothing of an untrained row is served
    for half_count in (1.0, 25.0):
        assert tower(half_count=half_count).served_lambda(torch.tensor([half_count])).item() == pytest.approx(0.75)


def test_item_vectors_mix_the_row_and_the_features() -> None:
    net, items = tower(), item_inputs()
    expected = []
    for row, (identifier, count) in enumerate(zip(items.ids.tolist(), items.counts.tolist(), strict=True)):
        weight = slow_lambda(count)
        expected.append((1 - weight) * net.table.weight[identifier] + weight * slow_by_features(net, row))
    torch.testing.assert_close(net(items), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_cold_item_is_its_features_and_nothing_else() -> None:
    net, items = tower(), item_inputs()
    cold = replace(items, counts=torch.zeros(8))
    before = net(cold)
    torch.testing.assert_close(before, torch.stack([slow_by_features(net, row) for row in range(8)]))
    with torch.no_grad():
        net.table.weight.add_(5.0)
    assert torch.equal(net(cold), before)
    assert not torch.allclose(net(items)[1], before[1], atol=0.1)


def test_training_scores_both_and_reads_what_is_served() -> None:
    net, items = tower(), item_inputs()
    read, scored = net.training_vectors(items)
    torch.testing.assert_close(read, net(items))
    assert net.branches == 2
    assert torch.equal(scored[:, :DIM], net.table(items.ids))
    torch.testing.assert_close(scored[:, DIM:], torch.stack([slow_by_features(net, row) for row in range(8)]))


def test_items_of_a_dataset_without_features_share_a_vector() -> None:
    net, items = tower(BARE), item_inputs(features=False)
    _, scored = net.training_vectors(items)
    assert torch.equal(scored[:, DIM:], net.fields.shared.expand(8, -1))
    assert net(items).isfinite().all()


@pytest.mark.parametrize("tau", [0.0, 0.7])
def test_served_scores_are_eq_2_with_each_items_lambda_and_eq_5(tau: float) -> None:
    """p(a | h, t) proportional to exp(phi~) q^tau, by inner products of vectors alone."""
    net, batch = retrieval(tau=tau), train_batch()
    assert isinstance(net.items, MixedItems)
    items, users = net.item_vectors(batch.items), requests(batch)
    x = net.users(users, net.items(batch.items), torch.arange(6), users.lengths)
    weights = [[slow_lambda(count) for count in batch.items.counts.tolist()]] * 6
    expected = slow_scores(net.items, x, batch, weights) + tau * batch.items.log_trend[:7]
    found = net.user_vectors(users, items) @ items[:7].T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    affinity = slow_scores(net.items, x, batch, weights).softmax(dim=1)  # p(a | h)
    joint = affinity * batch.items.log_trend[:7].exp() ** tau
    torch.testing.assert_close(found.softmax(dim=1), joint / joint.sum(dim=1, keepdim=True), rtol=1e-4, atol=1e-6)


# Trained


@pytest.mark.parametrize("tau", [0.0, 0.7])
@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax", "in_batch_softmax", "bce"])
def test_the_loss_is_that_of_eq_2_with_a_lambda_per_example(
    loss: LossKind, tau: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, batch = retrieval(loss, tau), train_batch(loss)
    assert isinstance(net.items, MixedItems)
    drawn = torch.tensor([0.1, 0.9, 0.0, 0.5, 1.0, 0.3])
    monkeypatch.setattr(net.head, "draw", lambda x: drawn[:, None])
    x = net.users(batch.users, net.items(batch.items), batch.target_rows, batch.target_positions)
    scores = slow_scores(net.items, x, batch, [[weight] * 7 for weight in drawn.tolist()])
    expected = slow_loss(loss, scores + tau * batch.items.log_trend[:7], batch.targets.tolist(), batch)
    assert net.loss(batch).item() == pytest.approx(sum(expected) / 6, rel=1e-4)


def test_lambda_is_uniform_and_another_for_every_example() -> None:
    """Mean 1/2 and variance 1/12 of U[0, 1], by standard errors of 20,000 draws; not shared by a batch."""
    torch.manual_seed(0)
    drawn = MixingHead(MixingHeadConfig()).draw(torch.zeros(20_000, 3))
    assert drawn.shape == (20_000, 1)
    assert 0 <= drawn.min() < 0.001
    assert 0.999 < drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / 12, abs=0.003)
    assert torch.histc(drawn, 10, 0, 1).min() > 1800


def test_lambda_is_drawn_anew_for_every_batch_by_the_seed() -> None:
    net, batch = retrieval(), train_batch()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(net.loss(batch).item())
    assert losses[0] == losses[1] != losses[2]
    assert net.loss(batch).item() != net.loss(batch).item()


@pytest.mark.parametrize(("fixed", "silent"), [(0.0, "fields"), (1.0, "table")])
def test_a_fixed_lambda_of_zero_or_one_trains_one_side_alone(fixed: float, silent: str) -> None:
    """Users without a history read no item, so that gradients come through scores only."""
    net, batch = retrieval(fixed=fixed), train_batch()
    nobody = replace(batch.users, lengths=torch.zeros(4).long())
    net.loss(replace(batch, users=nobody, target_positions=torch.zeros(6).long())).backward()
    assert isinstance(net.items, MixedItems)
    sizes = {
        name: sum(float(one.grad.abs().sum()) for one in part.parameters() if one.grad is not None)
        for name, part in (("fields", net.items.fields), ("table", net.items.table))
    }
    assert sizes.pop(silent) == 0
    assert all(size > 0 for size in sizes.values())


def test_both_sides_learn_by_default() -> None:
    net = retrieval()
    torch.manual_seed(0)
    net.loss(train_batch()).backward()
    assert isinstance(net.items, MixedItems)
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in net.items.parameters())


def test_serving_takes_no_lambda_of_users() -> None:
    x = torch.randn(3, DIM)
    assert torch.equal(MixingHead(MixingHeadConfig(fixed=0.3)).serve(x), x)


@pytest.mark.parametrize("fields", [{"items": IdItemsConfig()}, {"head": {"kind": "single"}}])
def test_neither_half_goes_without_the_other(fields: dict[str, Any]) -> None:
    values = {"items": MixedItemsConfig(), "users": USERS, "head": MixingHeadConfig(), **fields}
    with pytest.raises(ValueError, match="two halves of one equation"):
        RetrievalConfig(**values)


def test_the_registered_net_mixes() -> None:
    torch.manual_seed(0)
    net = build_net(NETS["hrnn_meta"], SIZES)
    assert isinstance(net, Retrieval)
    assert isinstance(net.items, MixedItems)
    assert isinstance(net.head, MixingHead)
    assert net.head.fixed is None
    items = net.eval().item_vectors(item_inputs())
    assert items.shape == (8, NETS["hrnn_meta"].dim + 1)
    assert net.user_vectors(user_inputs([[1], []]), items).shape == (2, NETS["hrnn_meta"].dim + 1)
