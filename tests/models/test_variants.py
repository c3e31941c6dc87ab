"""The two towers' training variants of CDN section 4.1, and what holds for every variant."""

from dataclasses import replace

import pytest
import torch

from models.base import TrainBatch
from models.head import ClassBalancedHead, ClassBalancedHeadConfig, TwoStageHead, TwoStageHeadConfig
from models.net import Retrieval, RetrievalConfig
from models.registry import NETS, build_net
from tests.models.support import SEEN, SIZES, requests, slow_in_batch, train_batch

DIM = 4


def net(name: str, **fields: object) -> Retrieval:
    torch.manual_seed(4)
    built = build_net(RetrievalConfig(**NETS[name].model_dump() | {"dim": DIM} | fields), SIZES)
    assert isinstance(built, Retrieval)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return built.eval()


def in_batch() -> TrainBatch:
    return train_batch("in_batch_softmax")


def outputs(built: Retrieval, batch: TrainBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """[T, D] users and [C, D] candidates."""
    vectors = built.items(batch.items)
    x = built.users(batch.users, vectors, batch.target_rows, batch.target_positions)
    return x, vectors[: batch.candidates]


def per_row(built: Retrieval, batch: TrainBatch, offset: torch.Tensor | None = None) -> list[float]:
    """The in-batch loss of each row, item by item."""
    x, vectors = outputs(built, batch)
    scores = x @ vectors.T + (0 if offset is None else offset)
    return slow_in_batch(scores, batch.targets.tolist(), batch.log_q.exp().tolist(), [set(seen) for seen in SEEN])


def test_class_balance_weights_by_hand() -> None:
    head = ClassBalancedHead(ClassBalancedHeadConfig(beta=0.5))
    # (1 - 1/2) / (1 - 1/2^n) for n = 1, 1 (a new item), 2, 3: 1, 1, 2/3, 4/7
    raw = torch.tensor([1, 1, 2 / 3, 4 / 7])
    weights = head.weights(torch.tensor([1.0, 0.0, 2.0, 3.0]))
    torch.testing.assert_close(weights, raw / raw.mean())


@pytest.mark.parametrize("beta", [1 - 1e-7, 1 - 1e-8, 1 - 1e-15])
def test_class_balance_near_one_weighs_by_one_over_the_engagements(beta: float) -> None:
    counts = torch.tensor([1.0, 2.0, 1000.0])
    weights = ClassBalancedHead(ClassBalancedHeadConfig(beta=beta)).weights(counts)
    torch.testing.assert_close(weights, (1 / counts) / (1 / counts).mean(), rtol=1e-4, atol=0)


def test_class_balance_weighs_each_target_by_its_item() -> None:
    built, batch = net("two_tower_class_balance"), in_batch()
    weights = built.head.weights(batch.items.counts[batch.targets]).tolist()
    assert len(set(weights)) == 5  # targets 1 and 2 share an item
    wanted = sum(w * loss for w, loss in zip(weights, per_row(built, batch), strict=True)) / 6
    assert built.loss(batch).item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
def test_logq_rebalance_adds_the_log_prior_in_training_only(weight: float) -> None:
    built, batch = net("two_tower_logq_rebalance", prior_weight=weight), in_batch()
    prior = (batch.items.counts[: batch.candidates] + 1).log()
    prior -= prior.exp().sum().log()  # log p(i); its sum must not matter
    wanted = sum(per_row(built, batch, weight * prior)) / 6
    assert built.loss(batch).item() == pytest.approx(wanted, rel=1e-4)
    plain = net("two_tower")
    assert torch.equal(built.item_vectors(batch.items), plain.item_vectors(batch.items))
    users = requests(batch)
    items = plain.item_vectors(batch.items)
    assert torch.equal(built.user_vectors(users, items), plain.user_vectors(users, items))


def test_a_prior_needs_a_softmax() -> None:
    with pytest.raises(ValueError, match="prior_weight"):
        net("two_tower_logq_rebalance", loss="bce")


def test_two_stages_by_hand() -> None:
    head = TwoStageHead(TwoStageHeadConfig())
    stages = []
    for epoch in (1, 2, 3, 4, 5):
        head.begin_epoch(epoch, 5)
        stages.append(head.second)
    assert stages == [False, False, False, True, True]
    head.begin_epoch(1, 1)
    assert not head.second


def test_the_second_stage_learns_from_the_rebalanced_sample() -> None:
    built, batch = net("two_tower_ndp"), in_batch()
    rows = per_row(built, batch)
    built.begin_epoch(1, 2)
    assert built.loss(batch).item() == pytest.approx(sum(rows) / 6, rel=1e-4)
    built.begin_epoch(2, 2)
    wanted = sum(rows[t] for t in batch.rebalanced.tolist()) / 6
    assert built.loss(batch).item() == pytest.approx(wanted, rel=1e-4)


def test_the_second_stage_leaves_the_user_tower_as_it_is() -> None:
    built, batch = net("two_tower_ndp").train(), in_batch()
    optimizer = torch.optim.AdamW(built.parameters(), lr=0.1, weight_decay=0.1)

    def step(epoch: int) -> dict[str, torch.Tensor]:
        built.begin_epoch(epoch, 2)
        optimizer.zero_grad()
        built.loss(batch).backward()
        optimizer.step()
        return {name: value.detach().clone() for name, value in built.state_dict().items()}

    first, second = step(1), step(2)
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert {name.split(".")[0] for name in changed} == {"items"}
    assert changed == {name for name in first if name.startswith("items.")}


def test_bbn_reads_the_reversed_sample_and_shifts_to_it() -> None:
    built, batch = net("two_tower_bbn"), in_batch()
    head = built.head
    built.begin_epoch(1, 2)
    assert head.alpha == 0.75
    f, vectors = outputs(built, batch)
    mixed = 0.75 * head.main(f) + 0.25 * head.regularizer(f[batch.reversed])
    scores = mixed @ vectors.T
    original, balanced = batch.targets.tolist(), batch.targets[batch.reversed].tolist()
    blocked = [set(seen) - {a, b} for seen, a, b in zip(SEEN, original, balanced, strict=True)]
    q = batch.log_q.exp().tolist()
    # Negatives are the original targets for both labellings: log Q is how often those occur.
    first = slow_in_batch(scores, original, q, blocked)
    second = slow_in_batch(scores, balanced, q, blocked, original)
    wanted = sum(0.75 * a + 0.25 * b for a, b in zip(first, second, strict=True)) / 6
    assert built.loss(batch).item() == pytest.approx(wanted, rel=1e-4)
    built.begin_epoch(2, 2)
    built.loss(batch).backward()
    assert not head.main.weight.grad.any()
    assert head.regularizer.weight.grad.any()


def test_bbn_serves_the_average() -> None:
    built, batch = net("two_tower_bbn"), in_batch()
    users, items = requests(batch), built.item_vectors(batch.items)
    f = built.users(users, items, torch.arange(len(users)), users.lengths)
    torch.testing.assert_close(built.user_vectors(users, items), (built.head.main(f) + built.head.regularizer(f)) / 2)


@pytest.mark.parametrize("tau", [0.0, 0.8])
@pytest.mark.parametrize("name", sorted(NETS))
def test_every_net_trains_and_serves_with_and_without_a_trend(name: str, tau: float) -> None:
    built = net(name, trend={"weight": tau}).train()
    batch = train_batch(built.config.loss)
    for epoch in (1, 2):
        built.begin_epoch(epoch, 2)
        built.zero_grad()
        loss = built.loss(batch)
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for p in built.parameters() if p.grad is not None)
    built.eval()
    nobody = replace(batch.users, ids=torch.zeros(4).long(), lengths=torch.zeros(4).long())
    unknown = replace(batch.items, ids=torch.zeros(8).long(), counts=torch.zeros(8))
    items = built.item_vectors(unknown)
    assert items.shape == (8, DIM + (tau > 0))
    scores = built.user_vectors(nobody, items) @ items.T
    assert scores.isfinite().all()
    if tau:
        assert items[:, -1].equal(batch.items.log_trend)


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_configuration_survives_a_manifest(name: str) -> None:
    config = NETS[name]
    assert RetrievalConfig(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize("name", sorted(NETS))
def test_no_two_weights_share_memory(name: str) -> None:
    """Safetensors refuses to write them."""
    pointers = [value.data_ptr() for value in net(name).state_dict().values()]
    assert len(set(pointers)) == len(pointers)
