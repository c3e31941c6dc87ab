"""What the contract suite cannot see from outside: encoder positions, gradients, the registry."""

import pytest
import torch
from pydantic import ValidationError

from models import losses
from models.base import OOV, PADDING, Sizes, UserInputs
from models.registry import NETS, build_net
from models.sasrec import SASRec, SASRecConfig, SequenceBatch
from models.two_tower import PairBatch, TwoTower, TwoTowerConfig

SIZES = Sizes(users=6, items=9, user_features={"age": 3}, item_features={"genre": 5, "year": 4})


def sasrec(**fields: object) -> SASRec:
    torch.manual_seed(0)
    config = SASRecConfig(**{"dim": 8, "history_length": 6, "dropout": 0.0, "item_dropout": 0.0, **fields})
    return SASRec(config, SIZES)


def inputs(history: list[list[int]]) -> UserInputs:
    rows = torch.tensor(history)
    ages = torch.zeros(len(rows), 1, dtype=torch.int64)
    return UserInputs(torch.zeros(len(rows), dtype=torch.int64), {"age": ages}, rows, (rows != PADDING).sum(dim=1))


def test_user_vector_is_the_encoding_behind_the_last_item() -> None:
    net = sasrec().eval()
    users = net.user_vectors(inputs([[3, 4, 5, PADDING], [2, PADDING, PADDING, PADDING], [PADDING] * 4]))
    torch.testing.assert_close(users[0], net.encode(torch.tensor([[3, 4, 5]]))[0, 3])
    torch.testing.assert_close(users[1], net.encode(torch.tensor([[2]]))[0, 1])
    torch.testing.assert_close(users[2], net.encode(torch.zeros(1, 0, dtype=torch.int64))[0, 0])


def test_order_of_the_history_matters() -> None:
    net = sasrec().eval()
    one, other = net.user_vectors(inputs([[3, 4, 5], [4, 3, 5]]))
    assert not torch.allclose(one, other, atol=1e-4)


def test_too_long_a_history_is_refused() -> None:
    with pytest.raises(AssertionError, match="history of 7 > 6"):
        sasrec().encode(torch.ones(1, 7, dtype=torch.int64))


@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax", "bce"])
def test_sequence_loss_pairs_each_target_with_its_position(loss: str) -> None:
    net = sasrec(loss=loss)
    history = torch.tensor([[3, 4, PADDING], [5, 6, 7]])
    rows, positions, targets = [0, 0, 1, 1, 1], [0, 2, 1, 1, 3], [3, 8, 6, 7, 2]
    negatives = torch.tensor([1, 2, 3, 4, 5])
    log_q = torch.linspace(-3, -1, 9)
    batch = SequenceBatch(history, torch.tensor(rows), torch.tensor(positions), torch.tensor(targets), negatives, log_q)
    users = torch.stack([net.encode(history)[row, position] for row, position in zip(rows, positions, strict=True)])
    items, wanted = net.items.weight, torch.tensor(targets)
    expected = {
        "full_softmax": lambda: losses.full_softmax(users, items, wanted),
        "sampled_softmax": lambda: losses.sampled_softmax(
            users, items[wanted], wanted, items[negatives], negatives, log_q
        ),
        "bce": lambda: losses.binary_cross_entropy(
            (users * items[wanted]).sum(dim=1), (users * items[negatives]).sum(dim=1)
        ),
    }[loss]()
    torch.testing.assert_close(net.loss(batch), expected)


def test_no_gradient_reaches_padding_positions() -> None:
    net = sasrec(loss="bce")
    batch = SequenceBatch(
        history=torch.tensor([[3, PADDING, PADDING]]),
        target_rows=torch.tensor([0]),
        target_positions=torch.tensor([1]),
        targets=torch.tensor([4]),
        negatives=torch.tensor([5]),
        log_q=torch.zeros(0),
    )
    net.loss(batch).backward()
    gradient, positions = net.items.weight.grad, net.positions.weight.grad
    assert gradient is not None
    assert positions is not None
    assert set(gradient.abs().sum(dim=1).nonzero()[:, 0].tolist()) == {3, 4, 5}
    assert (gradient[OOV] == 0).all()  # padding reads this row
    assert (positions[2:] == 0).all()


def test_input_items_are_dropped_only_in_training() -> None:
    net = sasrec(item_dropout=0.9)
    history = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(net.eval().encode(history), net.eval().encode(history))
    assert not torch.allclose(net.train().encode(history), net.eval().encode(history), atol=1e-4)


def two_tower(**fields: object) -> TwoTower:
    torch.manual_seed(0)
    config = TwoTowerConfig(**{"dim": 8, "dropout": 0.0, "id_dropout": 0.0, **fields})
    return TwoTower(config, SIZES)


def pairs() -> PairBatch:
    return PairBatch(
        user_ids=torch.tensor([1, 2, 3]),
        user_features={"age": torch.tensor([[1], [2], [0]])},
        item_ids=torch.tensor([4, 5, 4]),
        item_features={"genre": torch.tensor([[1, 2], [3, PADDING], [1, 2]]), "year": torch.tensor([[1], [2], [1]])},
        log_q=torch.tensor([-1.0, -2.0, -1.0]),
    )


def test_towers_read_ids_and_features() -> None:
    net, batch = two_tower(), pairs()
    genre, year = net.item_features.bags
    items = torch.cat(
        [
            net.items.weight[batch.item_ids],
            genre(batch.item_features["genre"]),
            year(batch.item_features["year"]),
        ],
        dim=1,
    )
    users = torch.cat([net.users.weight[batch.user_ids], net.user_features.bags[0](batch.user_features["age"])], dim=1)
    torch.testing.assert_close(net.item_vectors(batch.item_ids, batch.item_features), net.item_tower(items))
    expected = losses.in_batch_softmax(net.user_tower(users), net.item_tower(items), batch.item_ids, batch.log_q)
    torch.testing.assert_close(net.loss(batch), expected)


def test_id_dropout_trains_the_rows_of_the_unknown() -> None:
    net = two_tower(id_dropout=0.5)
    for _ in range(4):
        net.loss(pairs()).backward()
    for table in (net.users, net.items):
        assert table.weight.grad is not None
        assert (table.weight.grad[OOV] != 0).any()


def test_unknown_items_differ_by_their_features() -> None:
    net = two_tower().eval()
    features = {"genre": torch.tensor([[1], [2]]), "year": torch.tensor([[1], [1]])}
    one, other = net.item_vectors(torch.tensor([OOV, OOV]), features)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", sorted(NETS))
def test_configurations_reject_unknown_keys_and_changes(name: str) -> None:
    with pytest.raises(ValidationError, match="depth"):
        NETS[name].config(depth=3)
    config = NETS[name].config()
    with pytest.raises(ValidationError, match="frozen"):
        config.dim = 3


@pytest.mark.parametrize("name", sorted(NETS))
def test_nets_build_alike_from_equal_seeds_and_work_without_features(name: str) -> None:
    bare = Sizes(users=3, items=4, user_features={}, item_features={})
    vectors = []
    for _ in range(2):
        torch.manual_seed(5)
        net = build_net(name, NETS[name].config(), bare).eval()
        empty = UserInputs(torch.tensor([0, 1]), {}, torch.full((2, 0), PADDING), torch.tensor([0, 0]))
        vectors.append((net.item_vectors(torch.arange(4), {}), net.user_vectors(empty)))
    for one, other in zip(*vectors, strict=True):
        assert torch.equal(one, other)
        assert torch.isfinite(one).all()


def test_registry_names_what_it_knows() -> None:
    with pytest.raises(KeyError, match="known: sasrec, two_tower"):
        build_net("sasrek", SASRecConfig(), SIZES)
    with pytest.raises(TypeError, match="two_tower takes TwoTowerConfig, got SASRecConfig"):
        build_net("two_tower", SASRecConfig(), SIZES)


def test_batches_move_to_a_device_as_one() -> None:
    moved = pairs().to(torch.device("meta"))
    assert moved.item_features["genre"].device.type == "meta"
    assert moved.user_ids.device.type == "meta"
