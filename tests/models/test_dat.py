"""The dual augmented towers against loops over their equations."""

from dataclasses import replace

import pytest
import torch

from models.dat import AugmentedItems, AugmentedUsers
from models.net import Retrieval, RetrievalConfig
from models.registry import NETS, build_net
from tests.models.support import SIZES, requests, slow_loss, train_batch

DIM = 4
NAMES = ["dat", "ihm_dat"]


def net(name: str) -> Retrieval:
    torch.manual_seed(3)
    built = build_net(RetrievalConfig(**NETS[name].model_dump() | {"dim": DIM}), SIZES)
    assert isinstance(built, Retrieval)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return built.eval()


def sides(built: Retrieval) -> tuple[AugmentedItems, AugmentedUsers]:
    assert isinstance(built.items, AugmentedItems)
    assert isinstance(built.users, AugmentedUsers)
    return built.items, built.users


@pytest.mark.parametrize("name", NAMES)
def test_towers_read_their_vector_beside_the_augmented_one(name: str) -> None:
    built, batch = net(name), train_batch()
    items, users = sides(built)
    vectors = built.items(batch.items)
    inner = items.inner(batch.items)
    for row, own in enumerate(batch.items.ids.tolist()):
        both = torch.cat([inner[row], items.augmented.weight[own]])
        torch.testing.assert_close(vectors[row], items.project.weight @ both + items.project.bias)
    x = built.users(batch.users, vectors, batch.target_rows, batch.target_positions)
    inner_x = users.inner(batch.users, vectors, batch.target_rows, batch.target_positions)
    for target, row in enumerate(batch.target_rows.tolist()):
        both = torch.cat([inner_x[target], users.augmented.weight[batch.users.ids[row]]])
        torch.testing.assert_close(x[target], users.project.weight @ both + users.project.bias)


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_the_ranking_loss_and_two_mimic_losses(name: str) -> None:
    built = net(name)
    batch = train_batch(built.config.loss)
    items, users = sides(built)
    vectors = built.items(batch.items)
    x = built.users(batch.users, vectors, batch.target_rows, batch.target_positions)
    scores = x @ vectors[: batch.candidates].T + built.tau * batch.items.log_trend[: batch.candidates]
    ranking = slow_loss(built.config.loss, scores, batch.targets.tolist(), batch)
    mimic_users = mimic_items = 0.0
    for target, item in enumerate(batch.targets.tolist()):
        a_u = users.augmented.weight[batch.users.ids[batch.target_rows[target]]]
        a_i = items.augmented.weight[batch.items.ids[item]]
        for k in range(DIM):
            mimic_users += float((a_u[k] - vectors[item, k]) ** 2) / DIM
            mimic_items += float((a_i[k] - x[target, k]) ** 2) / DIM
    count = len(batch.targets)
    wanted = (sum(ranking) + 0.5 * mimic_users + 0.5 * mimic_items) / count
    assert built.loss(batch).item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_mimic_losses_train_augmented_vectors_and_nothing_else(name: str) -> None:
    built, batch = net(name), train_batch()
    vectors = built.items(batch.items)
    x = built.users(batch.users, vectors, batch.target_rows, batch.target_positions)
    mimicked = built.items.auxiliary_loss(batch, x) + built.users.auxiliary_loss(batch, vectors[batch.targets])
    mimicked.backward()
    reached = {name for name, p in built.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"items.augmented.weight", "users.augmented.weight"}
    items, users = sides(built)
    touched = set(torch.nonzero(items.augmented.weight.grad.any(dim=1))[:, 0].tolist())
    assert touched == set(batch.items.ids[batch.targets].tolist())
    touched = set(torch.nonzero(users.augmented.weight.grad.any(dim=1))[:, 0].tolist())
    assert touched == set(batch.users.ids[batch.target_rows].tolist())


def test_augmented_vectors_move_toward_the_other_side() -> None:
    built, batch = net("dat"), train_batch()
    items, users = sides(built)
    batch = replace(batch, targets=torch.tensor([3, 3, 3, 3, 3, 3]))
    vectors = built.items(batch.items).detach()
    optimizer = torch.optim.SGD([users.augmented.weight, items.augmented.weight], lr=4)
    x = torch.full((6, DIM), 0.3)
    for _ in range(200):
        optimizer.zero_grad()
        loss = built.items.auxiliary_loss(batch, x) + built.users.auxiliary_loss(batch, vectors[batch.targets])
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(users.augmented.weight[1], vectors[3])
    torch.testing.assert_close(items.augmented.weight[batch.items.ids[3]], torch.full((DIM,), 0.3))


def test_unknown_ids_share_a_row_that_id_dropout_trains() -> None:
    built, batch = net("ihm_dat"), train_batch("sampled_softmax")
    unknown = replace(batch.items, ids=torch.zeros_like(batch.items.ids))
    vectors = built.item_vectors(unknown)
    assert vectors.isfinite().all()
    users = requests(batch)
    assert built.user_vectors(replace(users, ids=torch.zeros_like(users.ids)), vectors).isfinite().all()
    known = replace(
        batch, items=replace(batch.items, ids=torch.arange(1, 9)), users=replace(batch.users, ids=torch.arange(1, 5))
    )
    built.train()
    for tower in sides(built):
        tower.config = tower.config.model_copy(update={"id_dropout": 0.8})
    built.loss(known).backward()
    for tower in sides(built):
        assert tower.augmented.weight.grad[0].any()


def test_the_item_side_keeps_its_inner_towers_history() -> None:
    built = net("ihm_dat")
    assert built.item_history_length == NETS["ihm_dat"].items.inner.history_length
    assert built.history_length == NETS["ihm_dat"].users.inner.history_length
    assert built.changes
    assert not net("dat").changes
