"""What a net reads of items at a refresh, against slow readings."""

import numpy as np
import pytest
import torch

from assets.stream import EngagementStream
from assets.training.counting import CountDecayed, CountingRecommender
from assets.training.encoding import Encodings, Universe
from assets.training.item_times import ItemTimes
from assets.training.refresh import ItemHistories, Refresher, TrendPreset, log_trend
from tests.assets.training import slow
from tests.assets.training.slow import DAY, HOUR, START, random_tables

INSTANTS = [START, START + 7 * HOUR, START + 2 * DAY, START + 40 * DAY]


def ragged(rows: np.ndarray, users: np.ndarray, count: int) -> list[list[int]]:
    assert (np.diff(rows) >= 0).all()
    return [users[rows == row].tolist() for row in range(count)]


@pytest.mark.parametrize("length", [1, 3, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_latest_is_the_loop(seed: int, length: int) -> None:
    """Ties in time keep the stream's order, so that ``latest`` is defined; rows come in any order, also twice."""
    stream = random_tables(seed, events=400, days=3).stream
    dense = np.arange(stream.n_users) * 2 % 9  # users 0 and 9 are not qualified; ids are in no order
    qualified = {user: int(number) for user, number in enumerate(dense) if number}
    histories = ItemHistories.build(stream, dense)
    items = np.array([5, 0, stream.n_items - 1, 3, 5, 7])
    for instant in [*INSTANTS, stream.timestamps[100], stream.timestamps[100] + np.timedelta64(1, "us")]:
        rows, users = histories.latest(items, instant, length)
        expected = [slow.item_history(stream, int(item), instant, qualified, length) for item in items]
        assert ragged(rows, users, len(items)) == expected


def test_the_first_instant_and_no_items_give_nothing() -> None:
    stream = random_tables().stream
    histories = ItemHistories.build(stream, np.ones(stream.n_users, np.int64))
    for items, instant in ((np.arange(5), stream.timestamps[0]), (np.zeros(0, np.int64), START + 40 * DAY)):
        rows, users = histories.latest(items, instant, 3)
        assert rows.shape == users.shape == (0,)
    nobody = ItemHistories.build(stream, np.zeros(stream.n_users, np.int64))
    assert len(nobody.latest(np.arange(5), START + 40 * DAY, 3)[0]) == 0


def test_log_trend_by_hand() -> None:
    """Half-life a day: an engagement a day ago counts 1/2, one of three days ago 1/8."""
    stream = EngagementStream(
        users=np.zeros(3, np.int64),
        items=np.array([0, 0, 2]),
        timestamps=START + np.array([0, 2, 2]) * DAY,
        values=np.ones(3, np.float32),
        events=np.zeros(3, np.int64),
        n_users=1,
        n_items=3,
        event_types=("engagement",),
    )
    found = log_trend(stream, START + 3 * DAY, TrendPreset(half_life_days=1, smoothing=0.25))
    assert np.exp(found).tolist() == pytest.approx([1 / 8 + 1 / 2 + 1 / 4, 1 / 4, 1 / 2 + 1 / 4])


@pytest.mark.parametrize("instant", INSTANTS)
def test_log_trend_is_the_score_of_decayed_popularity(instant: np.datetime64) -> None:
    known = random_tables().stream.before(instant)
    floor = CountingRecommender(CountDecayed(half_life_days=3), 0.02, instant)
    found = torch.from_numpy(log_trend(known, instant, TrendPreset())).float()
    assert torch.equal(found, floor.item_vectors(known, instant)[:, 0])


def test_inputs_of_a_refresh() -> None:
    """Items and users from behind the training's end keep their features and are unknown otherwise."""
    tables = random_tables(2)
    stream, trained_until, instant = tables.stream, START + 2 * DAY, START + 3 * DAY
    encodings = Encodings.fit(tables, stream.before(trained_until), qualified_user_min=5)
    universe = Universe.encode(encodings, tables)
    inputs = Refresher(universe, trained_until, 4, TrendPreset(half_life_days=2.0, smoothing=0.5)).inputs
    rows = np.arange(stream.n_items)[::-1].copy()
    found = inputs(rows, stream.before(instant), instant)
    names = tables.catalog.item_ids
    dense = {name: number for number, name in enumerate(encodings.items.ids, start=1)}
    assert found.ids.tolist() == [dense.get(names[row], 0) for row in rows]
    assert found.ids.tolist().count(0) > 1  # more than the item that nobody takes
    assert found.features["genre"].tolist() == universe.item_features["genre"][rows.tolist()].tolist()
    assert found.counts.tolist() == [slow.count(stream, row, trained_until) for row in rows.tolist()]
    expected = [slow.log_trend(stream, row, instant, 2.0, 0.5) for row in rows.tolist()]
    assert found.log_trend.tolist() == pytest.approx(expected, rel=1e-5)
    people = tables.users["user_id"].tolist()
    qualified = {people.index(name): number for number, name in enumerate(encodings.history_users.ids, start=1)}
    assert 0 < len(qualified) < len(people)
    histories = [slow.item_history(stream, row, instant, qualified, 4) for row in rows.tolist()]
    assert ragged(found.history_rows.numpy(), found.history_users.numpy(), len(rows)) == histories
    # The same from histories of a longer stream, made once.
    again = inputs(rows, stream.before(instant), instant, ItemHistories.build(stream, universe.history_user_ids))
    assert torch.equal(again.history_users, found.history_users)
    assert torch.equal(again.history_rows, found.history_rows)


def test_early_counts_are_those_before_the_refresh() -> None:
    """Where the refresh comes before the training's end, later engagements do not count."""
    tables = random_tables(3)
    universe = Universe.encode(Encodings.fit(tables, tables.stream, 5), tables)
    refresher = Refresher(universe, START + 4 * DAY, 0, TrendPreset())
    rows, instant = np.arange(tables.stream.n_items), START + DAY
    found = refresher.inputs(rows, tables.stream.before(instant), instant)
    assert found.counts.tolist() == [slow.count(tables.stream, row, instant) for row in rows.tolist()]
    assert found.history_rows.shape == found.history_users.shape == (0,)  # a net without item histories gets none


@pytest.mark.parametrize("trained_from", [None, START + DAY])
@pytest.mark.parametrize("instant", INSTANTS)
def test_few_items_are_read_from_their_own_engagements_alike(
    instant: np.datetime64, trained_from: np.datetime64 | None
) -> None:
    """With an index by item nothing is computed of other items, and what is computed is the same to the bit."""
    tables = random_tables(2)
    stream = tables.stream
    universe = Universe.encode(Encodings.fit(tables, stream, qualified_user_min=5), tables)
    refresher = Refresher(universe, START + 3 * DAY, 0, TrendPreset(half_life_days=2.0, smoothing=0.5), trained_from)
    rows, known = np.array([5, 0, stream.n_items - 1, 5]), stream.before(instant)
    whole = refresher.inputs(rows, known, instant)
    few = refresher.inputs(rows, known, instant, times=ItemTimes.build(stream))
    assert torch.equal(few.counts, whole.counts)
    torch.testing.assert_close(few.log_trend, whole.log_trend, rtol=1e-6, atol=0)  # sums in another order
