"""Reward-weighted losses (HRNN-meta section 3.3), target by target."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.items import IdItemsConfig
from models.net import Retrieval, RetrievalConfig
from models.recurrent import RecurrentUsersConfig
from models.registry import NETS
from models.rewards import RewardConfig
from tests.models.support import SIZES, requests, slow_loss, train_batch

LOSSES = ("full_softmax", "sampled_softmax", "in_batch_softmax", "bce")


def net(loss: str = "full_softmax", reward: RewardConfig | None = None) -> Retrieval:
    torch.manual_seed(0)
    users = RecurrentUsersConfig(hidden=5, dropout=0.0)
    built = Retrieval(RetrievalConfig(dim=4, items=IdItemsConfig(), users=users, loss=loss, reward=reward), SIZES)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.requires_grad:
                parameter.add_(0.4 * torch.randn_like(parameter))
    return built.eval()


@pytest.mark.parametrize(
    ("zero", "one", "values", "rewards"),
    [
        (1.0, 5.0, [1.0, 3.0, 5.0, 2.0], [0, 0.5, 1, 0.25]),
        (1.0, 5.0, [-7.0, 0.0, 9.0, 5.0], [0, 0, 1, 1]),  # never below 0 nor above 1
        (1.0, 5.0, [math.nan, 1.0, 5.0, math.nan], [1, 0, 1, 1]),
        (10.0, 0.0, [10.0, 0.0, 4.0, 20.0], [0, 1, 0.6, 0]),  # the less the better
        (0.0, 60.0, [0.0, 15.0, 90.0, math.nan], [0, 0.25, 1, 1]),  # seconds of dwelling
    ],
)
def test_weights_by_hand(zero: float, one: float, values: list[float], rewards: list[float]) -> None:
    found = RewardConfig(zero=zero, one=one).weights(torch.tensor(values))
    mean = sum(rewards) / len(rewards)
    assert found.tolist() == pytest.approx([reward / mean for reward in rewards])
    assert found.mean().item() == pytest.approx(1)


def test_equal_rewards_weigh_one_each_and_none_weigh_nothing() -> None:
    config = RewardConfig(zero=0.0, one=10.0)
    assert config.weights(torch.full((3,), 2.0)).tolist() == pytest.approx([1, 1, 1])
    assert config.weights(torch.full((3,), -2.0)).tolist() == [0, 0, 0]
    assert config.weights(torch.full((3,), math.nan)).tolist() == [1, 1, 1]


def test_equal_ends_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reward\.zero and reward\.one"):
        RewardConfig(zero=3.0, one=3.0)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("cdn", {}, "head bilateral mixes"),
        ("two_tower_ndp", {}, "head two_stage mixes"),
        ("gru", {"loss": "squared_error"}, "squared_error predicts"),
    ],
)
def test_rewards_are_refused_where_a_loss_is_not_of_one_target(name: str, fields: Any, message: str) -> None:
    values = {**NETS[name].model_dump(), **fields}
    RetrievalConfig(**values)
    with pytest.raises(ValueError, match=message):
        RetrievalConfig(**{**values, "reward": RewardConfig(zero=1, one=5)})


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_mean_of_each_targets_weighted_loss(loss: str) -> None:
    reward = RewardConfig(zero=1.0, one=5.0)
    built, batch = net(loss, reward), train_batch(loss)
    items = built.item_vectors(batch.items)
    scores = built.user_vectors(requests(batch), items) @ items[: batch.candidates].T
    losses = slow_loss(loss, scores, batch.targets.tolist(), batch)
    rewards = [0.75, 0.0, 1.0, 1.0, 0.25, 0.5]  # values 4, 1, unknown, 5, 2, 3
    expected = sum(r * one for r, one in zip(rewards, losses, strict=True)) / sum(rewards)
    assert built.loss(batch).item() == pytest.approx(expected, rel=1e-4)
    assert net(loss).loss(batch).item() == pytest.approx(sum(losses) / 6, rel=1e-4)


def test_a_target_without_reward_teaches_nothing() -> None:
    """Target 1 has the value of no reward: with it or with another item, gradients are the same."""
    gradients = []
    for target in (6, 2):
        built, batch = net(reward=RewardConfig(zero=1.0, one=5.0)), train_batch()
        batch = replace(batch, targets=batch.targets.index_fill(0, torch.tensor([1]), target))
        built.loss(batch).backward()
        gradients.append([one.grad for one in built.parameters() if one.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_a_batch_without_rewards_has_no_gradient_and_no_nan() -> None:
    built, batch = net(reward=RewardConfig(zero=5.0, one=9.0)), train_batch()
    loss = built.loss(replace(batch, values=torch.full((6,), 2.0)))
    loss.backward()
    assert loss.item() == 0
    assert all((one.grad == 0).all() for one in built.parameters() if one.grad is not None)


def test_the_optimum_is_in_proportion_to_expected_rewards() -> None:
    """Section 3.3 and eq. 3: with free scores, exp(phi) tends to how often an item is taken times its mean reward."""
    items = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    values = torch.tensor([1.0] * 3 + [0.0] * 3 + [1.0] * 3 + [1.0])  # item 0: taken most, liked half of the time
    weights = RewardConfig(zero=0.0, one=1.0).weights(values)
    scores = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weights * -scores.log_softmax(dim=0)[items]).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(scores.detach().softmax(dim=0), torch.tensor([3.0, 3.0, 1.0]) / 7, atol=1e-3, rtol=0)
