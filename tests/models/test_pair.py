"""The user tower over ids and features."""

import math
from typing import Any

import torch

from models.base import OOV, Sizes
from models.pair import PairUsers, PairUsersConfig
from tests.models.support import BARE, SIZES, user_inputs

DIM = 6
NO_ITEMS = torch.full((9, DIM), math.nan)
"""No item vector is read."""


def tower(sizes: Sizes = SIZES, **fields: Any) -> PairUsers:
    torch.manual_seed(0)
    config = {"feature_dim": 4, "hidden": 5, "dropout": 0.0, "id_dropout": 0.0, **fields}
    return PairUsers(PairUsersConfig(**config), sizes, DIM)


def users() -> Any:
    return user_inputs([[3, 4], [], [5]], ids=[2, 0, 6], ages=[1, 2, 0])


def test_rows_are_a_network_over_ids_and_features() -> None:
    net, given = tower().eval(), users()
    ages = net.features.bags[0].table.weight[[1, 2, 0]]
    expected = net.tower(torch.cat([net.table.weight[[2, 0, 6]], ages], dim=1))
    rows, positions = torch.tensor([2, 0, 0, 1]), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(net(given, NO_ITEMS, rows, positions), expected[rows])
    assert net.history_length == 0


def test_unknown_users_differ_by_their_features() -> None:
    net, rows = tower().eval(), torch.arange(3)
    vectors = net(user_inputs([[], [], []], ids=[OOV] * 3, ages=[1, 2, 1]), NO_ITEMS, rows, rows)
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-4)
    assert torch.equal(vectors[0], vectors[2])


def test_without_features_the_id_is_enough() -> None:
    net, rows = tower(BARE).eval(), torch.arange(3)
    torch.testing.assert_close(net(users(), NO_ITEMS, rows, rows), net.tower(net.table.weight[[2, 0, 6]]))


def test_id_dropout_trains_the_row_of_the_unknown_and_only_in_training() -> None:
    net, rows = tower(id_dropout=0.5), torch.arange(6)
    known = user_inputs([[]] * 6, ids=[1, 2, 3, 4, 5, 6])
    net(known, NO_ITEMS, rows, rows).pow(2).sum().backward()
    assert net.table.weight.grad is not None
    assert (net.table.weight.grad[OOV] != 0).any()
    net.zero_grad()
    net.eval()(known, NO_ITEMS, rows, rows).pow(2).sum().backward()
    assert (net.table.weight.grad[OOV] == 0).all()
