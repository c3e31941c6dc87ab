"""The net that predicts values, against loops."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.context import FeedbackConfig, FeedbackPart, SessionConfig
from models.items import IdItemsConfig, StaticItemsConfig
from models.mixed import MixedItemsConfig, MixingHeadConfig
from models.net import RetrievalConfig
from models.rating import RatingNet
from models.recurrent import RecurrentUsers, RecurrentUsersConfig
from models.registry import build_net
from tests.models.support import SIZES, item_inputs, requests, train_batch, user_inputs

DIM = 5
USERS = RecurrentUsersConfig(
    hidden=4, history_length=20, dropout=0.0, session=SessionConfig(dim=2), feedback=FeedbackConfig(dim=2)
)
PARTS: dict[str, dict[str, Any]] = {
    "id": {"items": IdItemsConfig()},
    "static": {"items": StaticItemsConfig(std=0.5)},
    "mixed": {"items": MixedItemsConfig(), "head": MixingHeadConfig()},
}
VALUES = torch.tensor([4.0, 1.0, math.nan, 5.0, 2.0, 3.0])
EVENTS = torch.tensor([0, 0, 0, 1, 1, 2])
each_parts = pytest.mark.parametrize("parts", sorted(PARTS))


def net(parts: str = "id", fitted: bool = True) -> RatingNet:
    torch.manual_seed(0)
    built = build_net(RetrievalConfig(dim=DIM, users=USERS, loss="squared_error", **PARTS[parts]), SIZES)
    assert isinstance(built, RatingNet)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    if fitted:
        built.fit_scales(VALUES, EVENTS)
    return built.eval()


def slow_prediction(built: RatingNet, user: torch.Tensor, item: torch.Tensor) -> float:
    """x . v + c . x, one product at a time, in the units of the values."""
    level = built.level.weight[0].tolist()
    score = sum(x * v for x, v in zip(user.tolist(), item.tolist(), strict=True))
    score += sum(c * x for c, x in zip(level, user.tolist(), strict=True))
    return score * math.sqrt(2) + 3  # of 1, 2, 3, 4, 5


@each_parts
def test_inner_products_of_vectors_are_the_predictions(parts: str) -> None:
    built, batch = net(parts), train_batch()
    users, items = requests(batch), built.item_vectors(batch.items)
    assert items.shape == (8, DIM + 1)
    assert items[:, -1].tolist() == [1] * 8
    found = built.values(built.user_vectors(users, items) @ items.T)  # [T, M]
    own = built.items(batch.items)
    x = built.users(users, own, torch.arange(len(users)), users.lengths)
    expected = [[slow_prediction(built, user, item) for item in own] for user in x]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_a_users_level_moves_all_items_alike() -> None:
    """c . x is one number per user and moment; the constant that ends x makes it an average as well."""
    built, users = net(), user_inputs([[1, 2], [3]])
    before = built.user_vectors(users, built.item_vectors(item_inputs()))
    with torch.no_grad():
        built.level.weight[0, -1] += 2.0
    after = built.user_vectors(users, built.item_vectors(item_inputs()))
    torch.testing.assert_close(after - before, torch.tensor([[0.0] * DIM + [2.0]] * 2))


@each_parts
def test_the_loss_is_the_mean_squared_error_of_standardized_values(parts: str) -> None:
    """Over the five targets whose value is known."""
    built, batch = net(parts), train_batch()
    users, items = requests(batch), built.item_vectors(batch.items)
    predicted = built.values(built.user_vectors(users, items) @ items.T)
    errors = [
        ((predicted[row, target].item() - value) / math.sqrt(2)) ** 2
        for row, (target, value) in enumerate(zip(batch.targets.tolist(), batch.values.tolist(), strict=True))
        if math.isfinite(value)
    ]
    assert len(errors) == 5
    assert built.loss(batch).item() == pytest.approx(sum(errors) / 5, rel=1e-4)


def test_targets_without_a_value_teach_nothing() -> None:
    built, batch = net(), train_batch()
    loss = built.loss(replace(batch, values=torch.full((6,), math.nan)))
    loss.backward()
    assert loss.item() == 0
    assert all((one.grad == 0).all() for one in built.parameters() if one.grad is not None)
    known = replace(batch, targets=batch.targets.index_fill(0, torch.tensor([2]), 1))  # the one without a value
    assert net().loss(known).item() == net().loss(batch).item()


def test_gradients_are_finite_and_reach_every_part() -> None:
    built = net()
    built.train().loss(train_batch()).backward()
    without = {name for name, one in built.named_parameters() if one.grad is None or not one.grad.any()}
    assert without == set()
    assert all(one.grad.isfinite().all() for one in built.parameters() if one.grad is not None)


def test_scales_are_fitted_over_all_types_for_targets_and_per_type_for_feedback() -> None:
    built = net()
    assert built.mean.tolist() == [3.0]
    assert built.std.item() == pytest.approx(math.sqrt(2))
    assert built.values(torch.tensor([[0.0, 1.0]])).tolist() == [pytest.approx([3, 3 + math.sqrt(2)])]
    assert isinstance(built.users, RecurrentUsers)
    (part,) = (one for one in built.users.parts if isinstance(one, FeedbackPart))
    assert part.mean.tolist() == pytest.approx([2.5, 3.5, 3.0])
    assert part.std.tolist() == pytest.approx([1.5, 1.5, 1.0])


def test_a_checkpoint_holds_the_scales() -> None:
    built, again = net(), net(fitted=False)
    assert (again.mean.item(), again.std.item()) == (0, 1)
    again.load_state_dict(built.state_dict())
    assert torch.equal(again.values(torch.ones(2)), built.values(torch.ones(2)))
    assert {"mean", "std"} <= built.state_dict().keys()


def test_it_has_the_histories_of_its_towers() -> None:
    built = net()
    assert (built.history_length, built.item_history_length, built.changes) == (20, 0, False)


def test_the_unknown_are_finite() -> None:
    built = net("mixed")
    items = built.item_vectors(replace(item_inputs(), ids=torch.zeros(8).long(), counts=torch.zeros(8)))
    users = built.user_vectors(user_inputs([[], [7]]), items)
    assert (users @ items.T).isfinite().all()
    assert built.user_vectors(user_inputs([]), items).shape == (0, DIM + 1)
