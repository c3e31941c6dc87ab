"""The net as a whole: serving gives the scores that training uses, and what every registered configuration does."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from assets.training.negatives import AliasTable
from models.base import ItemInputs, Net, TrainBatch
from models.context import FeedbackConfig, FieldsConfig, SessionConfig
from models.head import SingleHead
from models.ihm import HistoryItemsConfig
from models.items import IdItemsConfig, StaticItemsConfig
from models.net import LossKind, Retrieval, RetrievalConfig, TrendConfig
from models.pair import PairUsersConfig
from models.recurrent import RecurrentUsersConfig
from models.registry import NETS, build_net
from models.sequence import SequenceUsersConfig
from tests.models.support import (
    BARE,
    SEEN,
    SIZES,
    item_inputs,
    requests,
    slow_loss,
    train_batch,
    user_inputs,
)

DIM = 8
PARTS = {
    "id-sequence": {"items": IdItemsConfig(), "users": SequenceUsersConfig()},
    "static-pair": {"items": StaticItemsConfig(hidden=6, std=0.5), "users": PairUsersConfig()},
    "history-sequence": {"items": HistoryItemsConfig(heads=2, user_std=0.5), "users": SequenceUsersConfig()},
    "static-recurrent": {
        "items": StaticItemsConfig(std=0.5),
        "users": RecurrentUsersConfig(
            hidden=6, bptt=2, session=SessionConfig(), request=FieldsConfig(), feedback=FeedbackConfig()
        ),
    },
}
TRENDS = {"plain": TrendConfig(), "trend": TrendConfig(weight=0.7), "learned": TrendConfig(weight=0.4, learned=True)}
LOSSES: tuple[LossKind, ...] = ("full_softmax", "sampled_softmax", "in_batch_softmax", "bce")

each_parts = pytest.mark.parametrize("parts", sorted(PARTS))
each_trend = pytest.mark.parametrize("trend", sorted(TRENDS))
each_loss = pytest.mark.parametrize("loss", LOSSES)
each_name = pytest.mark.parametrize("name", sorted(NETS))


def retrieval(parts: str, loss: LossKind = "full_softmax", trend: str = "plain") -> Retrieval:
    """In eval mode: nothing drops, so a loss can be compared; gradients flow all the same."""
    torch.manual_seed(0)
    net = Retrieval(RetrievalConfig(**PARTS[parts], dim=DIM, loss=loss, trend=TRENDS[trend]), SIZES).eval()
    with torch.no_grad():
        for parameter in net.users.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def served_scores(net: Net, batch: TrainBatch) -> torch.Tensor:
    """[T, C] scores that serving gives each target's user for each candidate, from vectors alone."""
    items = net.item_vectors(batch.items)
    return net.user_vectors(requests(batch), items) @ items[: batch.candidates].T


@each_trend
@each_loss
@each_parts
def test_served_vectors_give_the_scores_that_the_loss_trains(parts: str, loss: LossKind, trend: str) -> None:
    net, batch = retrieval(parts, loss, trend), train_batch(loss)
    expected = slow_loss(loss, served_scores(net, batch), batch.targets.tolist(), batch)
    assert net.loss(batch).item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_sampled_gradients_approach_those_of_the_full_softmax() -> None:
    """Section 3.1 of HRNN-meta: log Q corrects for what was drawn. Of all parameters, averaged over drawn samples.

    The distance, in parts of the full gradient's length, falls with the sample's size: below 1/10 for 32 draws among
    seven items, below 1/50 for 4,096.
    """
    full = gradient(retrieval("static-pair", "full_softmax", "learned"), train_batch())
    net, batch = retrieval("static-pair", "sampled_softmax", "learned"), train_batch("sampled_softmax")
    table = AliasTable.build(batch.log_q[: batch.candidates].double().exp().numpy())
    generator = torch.Generator().manual_seed(0)
    distances = []
    for count, samples in ((4, 200), (32, 200), (4096, 30)):
        drawn = [torch.from_numpy(table.draw(count, generator)) for _ in range(samples)]
        found = [gradient(net, replace(batch, negatives=negatives)) for negatives in drawn]
        means = {name: torch.stack([one[name] for one in found]).mean(dim=0) for name in full}
        distances.append(norm({name: means[name] - full[name] for name in full}) / norm(full))
    assert distances == sorted(distances, reverse=True)
    assert distances[1] < 1 / 10
    assert distances[2] < 1 / 50


def norm(gradients: dict[str, torch.Tensor]) -> float:
    return sum(one.square().sum().item() for one in gradients.values()) ** 0.5


class TwoLabellings(SingleHead):
    """The original labels and those of another sample, under the same scores; keeps what it was given."""

    def loss(self, x: torch.Tensor, batch: TrainBatch, losses: Any) -> torch.Tensor:
        self.given = losses(x, (batch.targets, batch.targets[batch.rebalanced]))
        return self.given[0] + self.given[1]


@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax", "bce"])
def test_each_labelling_has_its_own_loss(loss: LossKind) -> None:
    """Target 1's other label is what its user had seen: as a label it counts, in both labellings."""
    net, batch = retrieval("id-sequence", loss, "trend"), train_batch(loss)
    net.head = head = TwoLabellings()
    net.loss(batch)
    scores = served_scores(net, batch)
    first, other = batch.targets.tolist(), batch.targets[batch.rebalanced].tolist()
    assert other[1] in SEEN[1]
    for given, labels, also in zip(head.given, (first, other), (other, first), strict=True):
        assert given.tolist() == pytest.approx(slow_loss(loss, scores, labels, batch, also), rel=1e-4)


@pytest.mark.parametrize("negative", [5, 0])
def test_cross_entropy_never_counts_a_seen_item(negative: int) -> None:
    """Target 1's user has seen item 0 and not item 5; the others' negatives are seen, or (target 3) the target."""
    net, batch = retrieval("static-pair", "bce", "trend"), train_batch("bce")
    net.head = head = TwoLabellings()
    drawn = torch.tensor([0, negative, 5, 1, 2, 2])
    losses = []
    for loudness in (0.0, 3.0):
        trend = batch.items.log_trend.index_add(0, torch.tensor([0, 1, 2, 5]), torch.full((4,), loudness))
        net.loss(replace(batch, items=replace(batch.items, log_trend=trend), negatives=drawn))
        losses.append(head.given[0])
    assert (losses[1] > losses[0] + 1e-3).tolist() == [False, negative == 5, False, False, False, False]


@pytest.mark.parametrize("negative", [3, 6])
def test_cross_entropy_never_counts_a_target_against_itself(negative: int) -> None:
    """Target 1's labels are 6 and, seen before, 3: as negatives the one counts under neither, the other under one."""
    net, batch = retrieval("id-sequence", "bce", "trend"), train_batch("bce")
    batch = replace(batch, negatives=batch.negatives.index_fill(0, torch.tensor([1]), negative))
    net.head = head = TwoLabellings()
    net.loss(batch)
    scores = served_scores(net, batch)[1]
    assert (batch.targets[1], batch.targets[batch.rebalanced][1]) == (6, 3)
    against = functional.softplus(scores[6]) if negative == 6 else 0
    expected = functional.softplus(-scores[6]), functional.softplus(-scores[3]) + against
    for given, wanted in zip(head.given, expected, strict=True):
        torch.testing.assert_close(given[1], wanted)


def gradient(net: Net, batch: TrainBatch) -> dict[str, torch.Tensor]:
    net.zero_grad()
    net.loss(batch).backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_a_seen_item_has_no_influence_as_a_candidate() -> None:
    """Item 5 is seen by target 2 alone; with target 2 alone, its trend decides nothing. Unseen, it does."""
    net, batch = retrieval("static-pair", "full_softmax", "trend"), train_batch()
    only = replace(
        batch,
        target_rows=batch.target_rows[2:3],
        target_positions=batch.target_positions[2:3],
        targets=batch.targets[2:3],
        seen_targets=torch.tensor([0]),
        seen_items=torch.tensor([5]),
    )
    louder = replace(
        only, items=replace(only.items, log_trend=only.items.log_trend.index_fill(0, torch.tensor([5]), 9))
    )
    assert net.loss(only).item() == net.loss(louder).item()
    open_, open_louder = (
        replace(one, seen_targets=torch.zeros(0).long(), seen_items=torch.zeros(0).long()) for one in (only, louder)
    )
    assert net.loss(open_louder) > net.loss(open_) + 1


@each_loss
def test_items_of_histories_only_are_no_candidates(loss: LossKind) -> None:
    """Item 7 is read by a history; its own trend and its place among the candidates are not."""
    net, batch = retrieval("id-sequence", loss, "trend"), train_batch(loss)
    trend = batch.items.log_trend.index_fill(0, torch.tensor([7]), 9)
    assert net.loss(replace(batch, items=replace(batch.items, log_trend=trend))).item() == net.loss(batch).item()
    other_ids = batch.items.ids.index_fill(0, torch.tensor([7]), 8)
    moved = net.loss(replace(batch, items=replace(batch.items, ids=other_ids)))
    assert abs(moved.item() - net.loss(batch).item()) > 1e-6


@each_loss
def test_a_learned_tau_gets_gradient_and_a_fixed_one_does_not(loss: LossKind) -> None:
    learned, fixed = retrieval("id-sequence", loss, "learned"), retrieval("id-sequence", loss, "trend")
    assert gradient(learned, train_batch(loss))["tau"].abs() > 1e-4
    assert "tau" not in gradient(fixed, train_batch(loss))
    assert "tau" in fixed.state_dict()  # a checkpoint holds it all the same


def test_a_trend_is_one_more_dimension() -> None:
    net, items = retrieval("static-pair", trend="trend"), item_inputs()
    bare = retrieval("static-pair", trend="plain")
    vectors, without = net.item_vectors(items), bare.item_vectors(items)
    assert torch.equal(vectors[:, :DIM], without)
    assert torch.equal(vectors[:, DIM], items.log_trend)
    users = user_inputs([[1], []], ids=[1, 2])
    assert torch.equal(net.user_vectors(users, vectors)[:, DIM], torch.full((2,), 0.7))
    torch.testing.assert_close(net.user_vectors(users, vectors)[:, :DIM], bare.user_vectors(users, without))


def test_without_a_trend_the_trend_is_not_read() -> None:
    net, batch = retrieval("id-sequence"), train_batch()
    other = replace(batch, items=replace(batch.items, log_trend=-3 * batch.items.log_trend))
    assert net.loss(other).item() == net.loss(batch).item()


def test_gradients_reach_items_through_histories_too() -> None:
    """Item 7, here of an id of its own, is in a history and no candidate; item 2 is in no history and a candidate."""
    batch = train_batch()
    batch = replace(batch, items=replace(batch.items, ids=batch.items.ids.index_fill(0, torch.tensor([7]), 8)))
    reached = gradient(retrieval("id-sequence"), batch)["items.table.weight"].abs().sum(dim=1)
    assert (reached[batch.items.ids] > 0).all()
    assert reached[7] == 0  # the id that no item of the batch has


@each_name
def test_registered_nets_train_and_serve_finite_numbers(name: str) -> None:
    torch.manual_seed(0)
    net = build_net(NETS[name], SIZES)
    net.begin_epoch(1, 4)
    gradients = gradient(net, train_batch(NETS[name].loss))
    assert gradients
    assert all(torch.isfinite(one).all() for one in gradients.values())
    items = net.eval().item_vectors(item_inputs())
    users = net.user_vectors(user_inputs([[0, 5], [], [7]], ids=[3, 0, 0]), items)
    assert items.shape == (8, users.shape[1])
    assert torch.isfinite(items).all()
    assert torch.isfinite(users).all()
    assert net.user_vectors(user_inputs([]), items).shape == (0, items.shape[1])


@each_name
def test_registered_nets_build_alike_from_equal_seeds(name: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_net(NETS[name], SIZES).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    torch.manual_seed(6)
    other = build_net(NETS[name], SIZES).state_dict()
    assert any(not torch.equal(states[0][key], other[key]) for key in other)


IDS_ARE_ENOUGH = {"sasrec", "two_tower", "dat", "udn", "gru", "hrnn", "hgru", "hrnn_meta"}


@each_name
def test_registered_nets_work_without_features_or_say_that_they_need_them(name: str) -> None:
    try:
        net = build_net(NETS[name], BARE)
    except ValueError as error:
        assert name not in IDS_ARE_ENOUGH
        assert "no features" in str(error)  # noqa: PT017
        return
    net.begin_epoch(1, 4)
    assert torch.isfinite(net.loss(train_batch(NETS[name].loss, features=False)))
    assert torch.isfinite(net.eval().item_vectors(item_inputs(features=False))).all()


def at_another_refresh(items: ItemInputs) -> ItemInputs:
    """The same items with other users and another trend; ids, features and counts as before."""
    return replace(items, log_trend=items.log_trend.flip(0) - 1, history_users=items.history_users % 4 + 1)


@each_name
def test_item_vectors_change_with_the_refresh_where_a_net_says_so(name: str) -> None:
    torch.manual_seed(0)
    net, items = build_net(NETS[name], SIZES).eval(), item_inputs()
    same = torch.equal(net.item_vectors(items), net.item_vectors(at_another_refresh(items)))
    assert same != net.changes


@each_trend
@each_parts
def test_histories_and_trends_alone_make_vectors_change(parts: str, trend: str) -> None:
    net, items = retrieval(parts, trend=trend), item_inputs()
    assert net.changes == (parts == "history-sequence" or trend != "plain")
    same = torch.equal(net.item_vectors(items), net.item_vectors(at_another_refresh(items)))
    assert same != net.changes


@each_name
def test_configurations_survive_json_and_reject_unknown_keys(name: str) -> None:
    """A checkpoint's manifest holds the configuration as JSON."""
    config = NETS[name]
    assert RetrievalConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="depth"):
        RetrievalConfig.model_validate({**config.model_dump(), "depth": 3})
    with pytest.raises(ValidationError, match="depth"):
        RetrievalConfig.model_validate({**config.model_dump(), "items": {**config.items.model_dump(), "depth": 3}})
    with pytest.raises(ValidationError, match="frozen"):
        config.dim = 3


def test_unknown_parts_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="recurrent"):
        RetrievalConfig.model_validate({"items": {"kind": "recurrent"}, "users": {"kind": "pair"}})
