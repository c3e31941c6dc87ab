"""Dense content as an input of item towers: the equations row by row, stand-ins, and nothing without content."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.base import ItemInputs, Net, Sizes
from models.content import ContentConfig, ContentEmbedding, fit_content
from models.featured import FeatureItems, FeatureItemsConfig
from models.items import StaticItems, StaticItemsConfig
from models.mixed import MixedItems, MixedItemsConfig
from models.net import RetrievalConfig
from models.registry import NETS, build_net
from tests.models.support import BARE, SIZES, item_inputs, train_batch

DIM, WIDE = 6, 5
READS_CONTENT = [name for name, config in NETS.items() if "content" in str(config.items.model_dump())]
MISSING = (1, 7)
"""Rows of items without content: one known to the net and one not."""


def content() -> Tensor:
    """[8, 5], of different scales; the last number never varies."""
    numbers = torch.randn(8, WIDE, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 9, 0.1, 3, 0]) + 2
    numbers[list(MISSING)] = torch.nan
    return numbers


def inputs(**fields: Any) -> ItemInputs:
    return replace(item_inputs(**fields), content=content())


def sizes(of: Sizes = SIZES) -> Sizes:
    return replace(of, content=WIDE)


def fitted(module: torch.nn.Module) -> Any:
    """Far from its initial weights, with the scales of the items above."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    fit_content(module, content())
    return module.eval()


def slow_z(embedding: ContentEmbedding) -> Tensor:
    """[8, width] item by item."""
    known = [row for row in content().tolist() if row[0] == row[0]]
    rows: list[Tensor] = []
    for row in content().tolist():
        if row[0] != row[0]:
            rows.append(embedding.missing)
            continue
        standard = []
        for place, number in enumerate(row):
            column = [other[place] for other in known]
            mean = sum(column) / len(column)
            spread = (sum((one - mean) ** 2 for one in column) / len(column)) ** 0.5
            standard.append((number - mean) / (spread if spread > 1e-9 else 1.0))
        rows.append(embedding.project.weight @ torch.tensor(standard) + embedding.project.bias)
    return torch.stack(rows)


def test_content_is_standardized_and_projected_and_what_is_missing_has_a_stand_in() -> None:
    embedding = fitted(ContentEmbedding(ContentConfig(width=4), WIDE, std=1.0))
    torch.testing.assert_close(embedding(content()), slow_z(embedding), rtol=1e-4, atol=1e-5)


def test_static_items_read_content_behind_id_and_features() -> None:
    config = StaticItemsConfig(dropout=0.0, id_dropout=0.0, feature_dim=4, content=ContentConfig(width=3))
    tower = fitted(StaticItems(config, sizes(), DIM))
    bare = tower.features(inputs().features, 8)
    (linear,) = tower.project.layers
    wanted = torch.cat([tower.table.weight[inputs().ids], bare, slow_z(tower.features.content)], dim=1)
    torch.testing.assert_close(tower(inputs()), wanted @ linear.weight.T + linear.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["features", "mixed"])
def test_content_is_one_more_field_of_hrnn_meta(kind: str) -> None:
    config: dict[str, Any] = {"dropout": 0.0, "feature_dim": 4, "hidden": 7, "content": ContentConfig(width=3)}
    tower = fitted(
        FeatureItems(FeatureItemsConfig(**config), sizes(), DIM)
        if kind == "features"
        else MixedItems(MixedItemsConfig(**config), sizes(), DIM)
    )
    fields = tower.fields
    first, *_, last = fields.of_content.layers
    z = slow_z(fields.content)
    network = (z @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(fields.of(inputs()), fields(inputs().features, 8) + network, rtol=1e-4, atol=1e-5)


def test_content_alone_tells_items_apart() -> None:
    """Where there are no features an item tower without ids has content to go by."""
    tower = fitted(StaticItems(StaticItemsConfig(ids=False), sizes(BARE), DIM))
    vectors = tower(inputs(features=False))
    same = torch.cdist(vectors, vectors) < 1e-6
    assert torch.nonzero(same.triu(1)).tolist() == [list(MISSING)]


def net(name: str, of: Sizes) -> Net:
    torch.manual_seed(5)
    return build_net(RetrievalConfig(**NETS[name].model_dump() | {"dim": DIM}), of)


def test_every_net_but_those_by_ids_alone_reads_content() -> None:
    assert {name for name in NETS if name not in READS_CONTENT} == {"sasrec", "gru", "hrnn", "hgru"}
    for name in NETS:
        assert any("content" in key for key in net(name, sizes()).state_dict()) == (name in READS_CONTENT)


@pytest.mark.parametrize("name", READS_CONTENT)
def test_content_moves_its_own_item_and_what_is_missing_is_finite(name: str) -> None:
    built = fitted(net(name, sizes()))
    before = built.item_vectors(inputs())
    assert torch.isfinite(before).all()
    other = content()
    other[4] += 1.0
    moved = (built.item_vectors(replace(inputs(), content=other)) - before).abs().amax(dim=1)
    assert torch.nonzero(moved > 1e-6)[:, 0].tolist() == [4]


@pytest.mark.parametrize("name", READS_CONTENT)
def test_content_learns_and_no_gradient_is_lost_to_what_is_missing(name: str) -> None:
    loss = {"in_batch_softmax": "in_batch_softmax", "bce": "bce"}.get(NETS[name].loss, "sampled_softmax")
    batch = train_batch(loss)
    built = fitted(net(name, sizes())).train()
    built.loss(replace(batch, items=replace(batch.items, content=content()))).backward()
    gradients = {key: parameter.grad for key, parameter in built.named_parameters() if parameter.grad is not None}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    reading = [key for key in gradients if "content.project.weight" in key or "content.missing" in key]
    assert reading
    assert all((gradients[key] != 0).any() for key in reading)


def test_the_stand_in_is_trained_where_every_item_has_content() -> None:
    everything = torch.nan_to_num(content(), nan=1.0)
    embedding = ContentEmbedding(ContentConfig(width=4, drop=0.5), WIDE, std=1.0)
    torch.manual_seed(0)
    embedding.train()(everything).sum().backward()
    assert embedding.missing.grad is not None
    assert (embedding.missing.grad > 0).all()
    assert torch.equal(embedding.eval()(everything), embedding(everything))


def test_scales_ignore_items_without_content_and_are_part_of_the_weights() -> None:
    built = net("two_tower", sizes())
    fit_content(built, content())
    scales = {
        key: value for key, value in built.state_dict().items() if key.endswith(("content.mean", "content.scale"))
    }
    assert len(scales) == 2
    known = content()[[row for row in range(8) if row not in MISSING]]
    torch.testing.assert_close(scales["items.features.content.mean"], known.mean(dim=0))
    assert scales["items.features.content.scale"][-1] == 1  # never varies
    again = net("two_tower", sizes())
    again.load_state_dict(built.state_dict())
    assert torch.equal(again.eval().item_vectors(inputs()), built.eval().item_vectors(inputs()))


@pytest.mark.parametrize("name", sorted(NETS))
def test_without_content_nothing_is_built_or_drawn_for_it(name: str) -> None:
    built = net(name, SIZES)
    after = torch.rand(1)
    assert not [key for key in built.state_dict() if "content" in key]
    config = NETS[name].model_dump() | {"dim": DIM}
    if name in READS_CONTENT:
        _first(config["items"])["content"] = {"width": 17, "drop": 0.7}
    torch.manual_seed(5)
    other = build_net(RetrievalConfig(**config), SIZES)
    assert torch.equal(torch.rand(1), after)
    for key, value in built.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def _first(items: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = items.get("inner", items)
    return inner
