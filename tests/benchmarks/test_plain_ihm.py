"""The plain side of the training benchmark: IHM's equations against a loop, and what its sampler hands out."""

from math import exp, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from assets.stream import EngagementStream
from benchmarks.plain_ihm import PADDING, PlainBatch, PlainIHM, PlainItemTower, PlainSampler, Shape, plain_step

SHAPE = Shape(dim=4, layers=1, heads=2, length=3, experts=2, item_history=3, feature_dim=2, dropout=0.0)
GENRES = torch.tensor([[0, -1], [1, 2], [2, -1], [1, -1], [0, -1], [2, 1]])
"""[items, S] value ids, -1 behind."""


def tower(experts: int) -> PlainItemTower:
    torch.manual_seed(0)
    shape = Shape(dim=4, experts=experts, item_history=3, feature_dim=2)
    net = PlainItemTower(users=5, items=6, feature_rows={"genre": 3}, shape=shape)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


def slow_item_vector(net: PlainItemTower, static: Tensor, users: list[int], experts: int) -> list[float]:
    """Eq. 2, 3 and 1 of one item, number by number."""
    d = len(static)
    own = static.tolist()
    slots = [net.users.weight[user].tolist() for user in users] + [own]
    pooled, gates = [], []
    for head in range(experts):
        key, query = (m.weight[head * d : (head + 1) * d].tolist() for m in (net.key, net.query))
        asked = [sum(query[i][j] * own[j] for j in range(d)) for i in range(d)]
        logits = []
        for slot in slots:
            answered = [sum(key[i][j] * slot[j] for j in range(d)) for i in range(d)]
            logits.append(sum(a * b for a, b in zip(answered, asked, strict=True)) / sqrt(d))
        weights = [exp(logit) / sum(map(exp, logits)) for logit in logits]
        expert = [sum(w * slot[i] for w, slot in zip(weights, slots, strict=True)) for i in range(d)]
        pooled.append(expert)
        gates.append(exp(sum(w * x for w, x in zip(net.gate.weight[0].tolist(), expert + own, strict=True))))
    return [sum(g * expert[i] for g, expert in zip(gates, pooled, strict=True)) / sum(gates) for i in range(d)]


@pytest.mark.parametrize("experts", [1, 2, 3])
def test_item_vectors_are_equations_1_to_3(experts: int) -> None:
    net = tower(experts)
    histories = [[1, 4, 2], [3], []]
    static = torch.randn(3, 4)
    padded = torch.tensor([users + [PADDING] * (3 - len(users)) for users in histories])
    expected = [slow_item_vector(net, one, users, experts) for one, users in zip(static, histories, strict=True)]
    torch.testing.assert_close(net(static, padded), torch.tensor(expected))


def test_an_item_without_history_is_its_static_embedding() -> None:
    static = torch.randn(2, 4)
    torch.testing.assert_close(tower(2)(static, torch.full((2, 3), PADDING)), static)


def test_static_embedding_projects_the_id_and_the_mean_of_the_feature_values() -> None:
    net = tower(1)
    assert net.items is not None
    table = net.features.bags[0].table.weight
    both = torch.cat([(table[1] + table[2]) / 2, net.items.weight[1]])
    expected = net.static_projection.weight @ both + net.static_projection.bias
    torch.testing.assert_close(net.static(torch.tensor([1]), {"genre": GENRES[[1]]})[0], expected)


def sampler(seed: int = 0) -> PlainSampler:
    """ann: items 1, 2, 3, 4 at 10, 20, 30, 40; bob: 2 at 20, 1 at 30; cat: 5 at 50. Ann and cat are qualified."""
    events = [(0, 1, 10), (0, 2, 20), (1, 2, 20), (0, 3, 30), (1, 1, 30), (0, 4, 40), (2, 5, 50)]
    users, items, times = (np.array(column) for column in zip(*events, strict=True))
    stream = EngagementStream(
        users,
        items - 1,
        times.astype("datetime64[us]"),
        values=np.ones(len(events), np.float32),
        events=np.zeros(len(events), np.int64),
        n_users=3,
        n_items=5,
        event_types=("engagement",),
    )
    return PlainSampler.build(stream, np.arange(1, 6), np.array([1, 0, 2]), SHAPE, seed)


def rows(batch: PlainBatch) -> dict[tuple[int, ...], int]:
    return {tuple(targets.tolist()): index for index, targets in enumerate(batch.targets)}


def test_each_row_is_a_users_latest_engagements_padded_behind() -> None:
    (batch,) = sampler().epoch(10)
    assert set(rows(batch)) == {(2, 3, 4), (2, 1, PADDING)}  # cat has one engagement only
    assert batch.interactions == 5


def test_an_epoch_holds_every_user_once() -> None:
    batches = list(sampler().epoch(1))
    assert sorted(row for batch in batches for row in rows(batch)) == [(2, 1, PADDING), (2, 3, 4)]


@pytest.mark.parametrize("seed", range(5))
def test_negatives_are_items_that_the_user_never_engaged_with(seed: int) -> None:
    (batch,) = sampler(seed).epoch(10)
    index = rows(batch)
    assert batch.negatives[index[2, 3, 4]].tolist() == [5, 5, 5]  # ann engaged with all others
    bob = batch.negatives[index[2, 1, PADDING]].tolist()
    assert set(bob[:2]) <= {3, 4, 5}
    assert bob[2] == PADDING


def test_histories_hold_qualified_users_strictly_before_the_position() -> None:
    (batch,) = sampler().epoch(10)
    ann, bob = (rows(batch)[row] for row in [(2, 3, 4), (2, 1, PADDING)])
    assert batch.target_users[ann].tolist() == [[0, 0, 0]] * 3  # only bob came before her anywhere: not qualified
    assert batch.target_users[bob].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]  # item 2: ann at the same instant
    assert batch.negative_users[ann].tolist() == [[0, 0, 0]] * 3  # cat engages with item 5 later


def test_a_history_keeps_the_latest_users_oldest_first() -> None:
    one = sampler()
    one.histories[3] = ([1, 2, 3, 4, 5], [11, 12, 13, 14, 15])
    row = np.zeros(3, np.int64)
    one._fill(row, 3, 5)
    assert row.tolist() == [12, 13, 14]


def plain() -> PlainIHM:
    torch.manual_seed(0)
    net = PlainIHM(users=3, items=6, item_features={"genre": GENRES}, feature_rows={"genre": 3}, shape=SHAPE)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


@torch.no_grad()
def test_loss_is_the_mean_over_real_positions() -> None:
    net = plain()
    (batch,) = sampler().epoch(10)
    users = net.encode(net.item_vectors(batch.targets, batch.target_users))
    terms = []
    for row in range(2):
        for position in range(3):
            if batch.targets[row, position] == PADDING:
                continue
            for items, histories, wanted in (
                (batch.targets, batch.target_users, 1.0),
                (batch.negatives, batch.negative_users, 0.0),
            ):
                item, users_of_it = int(items[row, position]), histories[row, position].tolist()
                static = net.tower.static(torch.tensor([item]), {"genre": GENRES[[item]]})[0]
                vector = slow_item_vector(net.tower, static, [user for user in users_of_it if user], SHAPE.experts)
                score = float(users[row, position] @ torch.tensor(vector))
                terms.append(-np.log(1 / (1 + exp(-score if wanted else score))))
    assert float(net.loss(batch)) == pytest.approx(sum(terms) / 5, rel=1e-4)


def test_what_lies_behind_a_sequence_changes_nothing() -> None:
    net = plain()
    items = torch.randn(1, 3, 4)
    other = items.clone()
    other[0, 1:] = 9.0
    before, after = net.encode(items), net.encode(other)
    torch.testing.assert_close(before[0, :2], after[0, :2])  # position 1 has read item 0 only
    assert not torch.allclose(before[0, 2], after[0, 2])


def test_steps_lower_the_loss() -> None:
    net = plain()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    (batch,) = sampler().epoch(10)
    trained = [plain_step(net, optimizer, batch) for _ in range(30)]
    assert trained[-1] < 0.5 * trained[0]
