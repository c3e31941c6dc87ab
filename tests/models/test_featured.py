"""Items by their features with a bias of their own."""

import torch

from models.featured import FeatureItems, FeatureItemsConfig
from models.net import Retrieval, RetrievalConfig
from models.recurrent import RecurrentUsersConfig
from tests.models.support import BARE, SIZES, item_inputs, train_batch

DIM = 4


def tower() -> FeatureItems:
    torch.manual_seed(0)
    built = FeatureItems(FeatureItemsConfig(), SIZES, DIM).eval()
    torch.nn.init.normal_(built.bias.weight)
    return built


def test_the_id_is_in_the_last_entry_alone() -> None:
    module, items = tower(), item_inputs()
    vectors, by_features = module(items), module.fields(items.features, len(items))
    torch.testing.assert_close(vectors[:, :-1], by_features[:, :-1])
    torch.testing.assert_close(vectors[:, -1], by_features[:, -1] + module.bias.weight[items.ids, 0])
    assert len(set(vectors[:, -1].tolist())) > 1


def test_items_without_features_differ_by_their_bias_alone() -> None:
    torch.manual_seed(0)
    module = FeatureItems(FeatureItemsConfig(), BARE, DIM).eval()
    vectors = module(item_inputs(features=False))
    assert (vectors == vectors[:1]).all()  # before training there is none
    torch.nn.init.normal_(module.bias.weight)
    again = module(item_inputs(features=False))
    assert (again[:, :-1] == again[:1, :-1]).all()
    assert len(set(again[:, -1].tolist())) > 1


def test_a_bias_learns_how_often_an_item_is_wanted() -> None:
    torch.manual_seed(0)
    config = RetrievalConfig(dim=DIM, items=FeatureItemsConfig(), users=RecurrentUsersConfig(hidden=3, dropout=0))
    net, batch = Retrieval(config, SIZES), train_batch()
    assert isinstance(net.items, FeatureItems)
    net.loss(batch).backward()
    gradient = net.items.bias.weight.grad
    assert gradient is not None
    pulled = gradient[batch.items.ids[batch.targets], 0]
    assert pulled.min() < 0  # targets are pulled up
    assert gradient.max() > 0  # others are pushed down
