"""Item towers that read no engagement."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.base import OOV, ItemInputs
from models.items import IdItems, IdItemsConfig, ItemTower, StaticItems, StaticItemsConfig
from tests.models.support import BARE, GENRES, SIZES, YEARS, item_inputs

DIM = 6


def static(sizes: Any = SIZES, **fields: Any) -> StaticItems:
    torch.manual_seed(0)
    return StaticItems(StaticItemsConfig(**{"dropout": 0.0, "id_dropout": 0.0, "feature_dim": 4, **fields}), sizes, DIM)


def ids() -> IdItems:
    torch.manual_seed(0)
    return IdItems(IdItemsConfig(), SIZES, DIM)


def naive_features(tower: StaticItems) -> torch.Tensor:
    """[M, F] mean embeddings of genre and year, item by item."""
    bags = dict(zip(tower.features.names, tower.features.bags, strict=True))
    return torch.stack(
        [
            torch.cat(
                [
                    bags[name].table.weight[list(values or (OOV,))].mean(dim=0)
                    for name, values in (("genre", genres), ("year", years))
                ]
            )
            for genres, years in zip(GENRES, YEARS, strict=True)
        ]
    )


def test_an_id_is_its_row_and_the_unknown_share_one() -> None:
    tower, items = ids(), item_inputs()
    vectors = tower(items)
    for row, number in enumerate(items.ids.tolist()):
        assert torch.equal(vectors[row], tower.table.weight[number])
    assert torch.equal(vectors[5], vectors[7])


def test_static_items_project_the_id_beside_the_features() -> None:
    tower, items = static().eval(), item_inputs()
    (linear,) = tower.project.layers
    inputs = torch.cat([tower.table.weight[items.ids], naive_features(tower)], dim=1)
    torch.testing.assert_close(tower(items), inputs @ linear.weight.T + linear.bias)


def test_a_hidden_layer_is_an_option() -> None:
    tower = static(hidden=5, dropout=0.5).eval()
    first, last = tower.project.layers[0], tower.project.layers[-1]
    inputs = torch.cat([tower.table.weight[item_inputs().ids], naive_features(tower)], dim=1)
    hidden = (inputs @ first.weight.T + first.bias).relu()
    torch.testing.assert_close(tower(item_inputs()), hidden @ last.weight.T + last.bias)


def test_without_ids_the_features_alone_decide() -> None:
    tower = static(ids=False)
    assert torch.equal(tower(item_inputs()), tower(item_inputs(ids=[8, 7, 6, 5, 4, 3, 2, 1])))
    (linear,) = tower.project.layers
    torch.testing.assert_close(tower(item_inputs()), naive_features(tower) @ linear.weight.T + linear.bias)


def test_without_ids_and_features_there_is_nothing_to_tell_items_apart() -> None:
    with pytest.raises(ValueError, match="no features"):
        static(BARE, ids=False)


def test_without_features_the_id_alone_decides() -> None:
    tower, items = static(BARE).eval(), item_inputs(features=False)
    (linear,) = tower.project.layers
    torch.testing.assert_close(tower(items), tower.table.weight[items.ids] @ linear.weight.T + linear.bias)


def test_unknown_items_differ_by_their_features() -> None:
    tower = static().eval()
    vectors = tower(item_inputs(ids=[OOV] * 8))
    assert (torch.cdist(vectors, vectors) + torch.eye(8)).min() > 1e-5


def test_id_dropout_trains_the_row_of_the_unknown_and_only_in_training() -> None:
    tower, known = static(id_dropout=0.5), item_inputs(ids=[1, 2, 3, 4, 5, 6, 7, 8])
    tower(known).pow(2).sum().backward()
    assert tower.table.weight.grad is not None
    assert (tower.table.weight.grad[OOV] != 0).any()
    tower.zero_grad()
    assert torch.equal(tower.eval()(known), tower(known))
    tower(known).pow(2).sum().backward()
    assert (tower.table.weight.grad[OOV] == 0).all()
    assert (tower.table.weight.grad[1:] != 0).any(dim=1).all()


@pytest.mark.parametrize("tower", [ids(), static()], ids=["id", "static"])
def test_what_happens_to_an_item_changes_nothing(tower: ItemTower) -> None:
    items = item_inputs()
    later: ItemInputs = replace(
        items, counts=items.counts + 9, log_trend=items.log_trend * 2, history_users=items.history_users % 4 + 1
    )
    assert tower.history_length == 0
    assert torch.equal(tower.eval()(items), tower(later))


def test_inputs_of_small_tables_are_scaled_up_for_sequences() -> None:
    assert ids().input_scale == DIM**0.5
    assert static().input_scale == DIM**0.5
    assert static(std=0.5).input_scale == 1
