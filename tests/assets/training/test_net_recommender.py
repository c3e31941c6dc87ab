"""Serving computes what training computed, and re-embeds only what changes."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from assets.stream import PADDING, DatasetTables
from assets.training.batches import Draws, TimedBatches
from assets.training.encoding import Encodings, Universe
from assets.training.recommender import NetRecommender
from assets.training.refresh import Refresher, TrendPreset
from models.base import ItemInputs, Net, TrainBatch, UserInputs
from models.context import FeedbackConfig, FieldsConfig, SessionConfig
from models.ihm import HistoryItemsConfig
from models.items import IdItemsConfig, StaticItemsConfig
from models.net import ItemsConfig, RetrievalConfig, TrendConfig, UsersConfig
from models.pair import PairUsersConfig
from models.recurrent import CellConfig, GruCellConfig, HierarchicalCellConfig, RecurrentUsersConfig
from models.registry import build_net
from models.sequence import SequenceUsersConfig
from tests.assets.training import slow
from tests.assets.training.slow import DAY, START, random_tables, with_feedback

LONG = SequenceUsersConfig(layers=1, history_length=400)
"""No history is cut: training cuts in the middle of a window, serving to the latest entries."""


@pytest.fixture(scope="module")
def tables() -> DatasetTables:
    return random_tables(4)


def refresher(tables: DatasetTables, item_history: int) -> Refresher:
    universe = Universe.encode(Encodings.fit(tables, tables.stream, 20), tables)
    return Refresher(universe, tables.cutoff, item_history, TrendPreset())


def net_of(tables: DatasetTables, items: ItemsConfig, tau: float = 0.0, users: UsersConfig = LONG) -> Net:
    torch.manual_seed(0)
    config = RetrievalConfig(dim=8, items=items, users=users, trend=TrendConfig(weight=tau))
    return build_net(config, Encodings.fit(tables, tables.stream, 20).sizes)


TOWERS: list[tuple[ItemsConfig, float]] = [
    (IdItemsConfig(), 0.0),
    (StaticItemsConfig(feature_dim=4), 1.0),
    (HistoryItemsConfig(ids=False, feature_dim=4, heads=2, history_length=3, user_std=0.5), 0.0),
    (HistoryItemsConfig(ids=False, feature_dim=4, heads=2, history_length=3, user_std=0.5), 1.0),
]


@pytest.mark.parametrize(("items", "tau"), TOWERS)
def test_items_of_a_refresh_are_those_of_its_batches(tables: DatasetTables, items: ItemsConfig, tau: float) -> None:
    net = net_of(tables, items, tau)
    served = NetRecommender(net, refresher(tables, net.item_history_length))
    batches = TimedBatches(
        tables.stream, tables.catalog, served.refresher, Draws("none", 0, 0.75, 4), net.history_length, 1000, 0
    )
    for group, instant in enumerate(batches.groups.refreshes):
        batch = batches.batch(group)
        with torch.no_grad():
            trained = net.item_vectors(batch.items)
        vectors = served.item_vectors(tables.stream.before(instant), instant)
        rows = np.concatenate([tables.catalog.rows_at(instant), _others(batches, batch, instant)])
        assert len(vectors) == tables.stream.n_items
        torch.testing.assert_close(vectors[rows], trained, rtol=1e-5, atol=1e-6)


def _others(batches: TimedBatches, batch: TrainBatch, instant: np.datetime64) -> np.ndarray:
    """Universe rows of a batch's items that are in a history only: known by their id here."""
    ids = batch.items.ids[batch.candidates :].tolist()
    universe = batches.universe.item_ids.tolist()
    return np.array([universe.index(identifier) for identifier in ids], np.int64)


@pytest.mark.parametrize(("items", "tau"), TOWERS)
def test_the_training_loss_is_the_likelihood_of_what_is_served(
    tables: DatasetTables, items: ItemsConfig, tau: float
) -> None:
    assert_losses_are_likelihoods(net_of(tables, items, tau).eval(), tables)


@pytest.mark.parametrize("cell", [GruCellConfig(), HierarchicalCellConfig()])
def test_recurrent_nets_are_trained_on_what_is_served(cell: CellConfig) -> None:
    """Instants, values and types of the entries and the request's instant reach both alike; chunks change nothing."""
    tables = with_feedback(random_tables(4))
    users = RecurrentUsersConfig(
        cell=cell,
        hidden=6,
        history_length=400,
        bptt=7,
        session=SessionConfig(),
        profile=FieldsConfig(),
        request=FieldsConfig(),
        feedback=FeedbackConfig(),
    )
    net = net_of(tables, StaticItemsConfig(feature_dim=4, std=0.5), 1.0, users).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    net.fit_scales(torch.from_numpy(tables.stream.values), torch.from_numpy(tables.stream.events + 1))
    assert_losses_are_likelihoods(net, tables)


def assert_losses_are_likelihoods(net: Net, tables: DatasetTables) -> None:
    """Softmax of served scores over what is on the catalog at the refresh and was not seen: the loss in eval mode."""
    served = NetRecommender(net, refresher(tables, net.item_history_length))
    stream = tables.stream
    batches = TimedBatches(stream, tables.catalog, served.refresher, Draws("none", 0, 0.75, 4), 400, 1000, 0)
    for group, instant in enumerate(batches.groups.refreshes):
        targets = [one for _, one in slow.targets(tables) if one.refresh == instant]
        vectors = served.item_vectors(stream.before(instant), instant)
        users, at = np.array([one.user for one in targets]), np.array([one.at for one in targets])
        scores = served.user_vectors(stream.queries(users, at, served.history_length), vectors) @ vectors.T
        losses = [_nll(row, one, tables) for row, one in zip(scores, targets, strict=True)]
        with torch.no_grad():
            loss = net.loss(batches.batch(group))
        assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)


def _nll(scores: Tensor, one: slow.Engagement, tables: DatasetTables) -> float:
    seen = slow.user_history(tables.stream, one.user, one.at)
    candidates = [row for row in tables.catalog.rows_at(one.refresh).tolist() if row not in seen]
    return float(scores[candidates].logsumexp(dim=0) - scores[one.item])


@pytest.mark.parametrize("length", [1, 3, 400])
def test_histories_keep_the_latest_entries(tables: DatasetTables, length: int) -> None:
    net = net_of(tables, IdItemsConfig(), users=SequenceUsersConfig(layers=1, history_length=length))
    served = NetRecommender(net, refresher(tables, 0))
    stream = tables.stream
    users = np.arange(stream.n_users)
    at = START + (users % 4) * DAY
    for asked in (length, 2 * length + 1, 400):  # a caller may hold more than the net reads, or less
        inputs = served.inputs(stream.queries(users, at, asked))
        for row, (user, instant) in enumerate(zip(users.tolist(), at, strict=True)):
            expected = slow.user_history(stream, user, instant)[-min(length, asked) :]
            filled = int(inputs.lengths[row])
            assert inputs.history[row, :filled].tolist() == expected
            assert set(inputs.history[row, filled:].tolist()) <= {PADDING}
        assert inputs.history.shape[1] == int(inputs.lengths.max())


def test_users_are_their_ids_and_features(tables: DatasetTables) -> None:
    config = RetrievalConfig(dim=8, items=IdItemsConfig(), users=PairUsersConfig())
    served = NetRecommender(build_net(config, Encodings.fit(tables, tables.stream, 20).sizes), refresher(tables, 0))
    assert served.history_length == 1  # what a query must hold at least; the net reads none
    users = np.array([3, 0, 3])
    inputs = served.inputs(tables.stream.queries(users, np.full(3, START + 3 * DAY), 5))
    assert inputs.ids.tolist() == [4, 1, 4]
    assert inputs.features["city"].tolist() == served.universe.user_features["city"][[3, 0, 3]].tolist()
    assert inputs.history.shape == (3, 0)
    assert inputs.lengths.tolist() == [0, 0, 0]


class Counter(Net):
    """Counts how often its items are asked for."""

    def __init__(self, changes: bool) -> None:
        super().__init__()
        self.changes = changes
        self.weight = nn.Parameter(torch.ones(1))
        self.asked = 0

    def item_vectors(self, items: ItemInputs) -> Tensor:
        assert not self.training
        self.asked += 1
        return items.log_trend[:, None] * self.weight

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        return torch.ones(len(users), 1)

    def loss(self, batch: TrainBatch) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(("changes", "asked"), [(True, 3), (False, 1)])
def test_items_that_change_are_embedded_at_each_refresh_others_once(
    tables: DatasetTables, changes: bool, asked: int
) -> None:
    net = Counter(changes)
    served = NetRecommender(net.train(), refresher(tables, 0))
    vectors = [served.item_vectors(tables.stream.before(at), at) for at in START + np.arange(1, 4) * DAY]
    assert net.asked == asked
    assert torch.equal(vectors[0], vectors[2]) != changes


def test_many_items_and_users_are_embedded_in_parts(tables: DatasetTables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories are numbered by the items of their part."""
    net = net_of(tables, HistoryItemsConfig(ids=False, feature_dim=4, history_length=3, user_std=0.5), 1.0)
    instant = START + 4 * DAY
    known, users = tables.stream.before(instant), np.arange(tables.stream.n_users)
    queries = tables.stream.queries(users, np.full(len(users), instant), 400)
    found = []
    for rows in (4096, 7):
        monkeypatch.setattr("assets.training.recommender.ROWS_PER_BATCH", rows)
        served = NetRecommender(net, refresher(tables, net.item_history_length))
        items = served.item_vectors(known, instant)
        found.append((items, served.user_vectors(queries, items)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)
    nobody = queries.take(np.zeros(0, np.int64))
    assert served.user_vectors(nobody, items).shape == (0, items.shape[1])
    assert served.inputs(nobody).history.shape == (0, 0)
