"""Targets and batches against slow readings of the same engagements."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch

from assets.stream import PADDING, DatasetTables
from assets.training.batches import Draws, TimedBatches, TimedTargets
from assets.training.encoding import Encodings, Universe
from assets.training.negatives import inverse_frequency, rebalanced
from assets.training.refresh import Refresher, TrendPreset
from models.base import ItemInputs, TrainBatch
from tests.assets.training import slow
from tests.assets.training.slow import DAY, LATE, START, random_tables, tables_of, with_feedback

TREND = TrendPreset(half_life_days=2.0, smoothing=0.5)
QUALIFIED, HISTORY, ITEM_HISTORY, BATCH = 20, 6, 3, 17
NONE = Draws("none", 0, 0.75, 4)
DRAWS = {
    "none": NONE,
    "shared": Draws("shared", 9, 0.75, 4),
    "each": Draws("each", 0, 0.5, 4),
    "targets": Draws("targets", 0, 0.75, 4),
}


def source(
    tables: DatasetTables,
    draws: Draws = NONE,
    length: int = HISTORY,
    batch_size: int = BATCH,
    seed: int = 0,
    encodings: Encodings | None = None,
) -> TimedBatches:
    """Batches of all engagements of ``tables``."""
    encodings = Encodings.fit(tables, tables.stream, QUALIFIED) if encodings is None else encodings
    universe = Universe.encode(encodings, tables)
    refresher = Refresher(universe, tables.cutoff, ITEM_HISTORY, TREND)
    return TimedBatches(tables.stream, tables.catalog, refresher, draws, length, batch_size, seed)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("length", [1, 2, 5, 12, 400])
def test_targets_and_their_windows(length: int, batch_size: int) -> None:
    tables = random_tables(1)
    stream = tables.stream
    data = TimedTargets.build(stream, tables.catalog, length, batch_size)
    expected = dict(slow.targets(tables))
    assert len(expected) < len(stream)
    assert sorted(data.targets.tolist()) == sorted(expected)
    for row, start in enumerate(data.starts):
        inside = range(data.offsets[row], data.offsets[row + 1])
        for target, position in ((data.targets[at], data.positions[at]) for at in inside):
            one = expected[target]
            read = stream.items[stream.by_user[start : start + position]].tolist()
            assert read == slow.window(slow.user_history(stream, one.user, one.at), length)
            assert stream.users[stream.by_user[start]] == one.user
        assert data.lengths[row] == data.positions[list(inside)].max()


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_groups_are_of_one_day_and_as_few_and_equal_as_can_be(batch_size: int) -> None:
    tables = random_tables(1)
    data = TimedTargets.build(tables.stream, tables.catalog, 5, batch_size)
    expected = slow.targets(tables)
    days = Counter(one.refresh for _, one in expected)
    sizes: dict[np.datetime64, list[int]] = {}
    in_order = []
    for group, refresh in enumerate(data.refreshes):
        windows = data.group_offsets[group : group + 2]
        members = sorted(data.targets[data.offsets[windows[0]] : data.offsets[windows[1]]].tolist())
        assert {dict(expected)[member].refresh for member in members} == {refresh}
        sizes.setdefault(refresh, []).append(len(members))
        in_order += members
    assert in_order == [position for position, _ in expected]
    assert {day: sum(parts) for day, parts in sizes.items()} == days
    for parts in sizes.values():
        assert len(parts) == -(-sum(parts) // batch_size)
        assert max(parts) - min(parts) <= 1


def test_a_window_serves_all_its_targets_of_a_group() -> None:
    """A window is encoded once, however many targets read it."""
    tables = random_tables(1)
    data = TimedTargets.build(tables.stream, tables.catalog, 8, 1000)
    group = np.repeat(np.arange(len(data)), np.diff(data.group_offsets))
    users = tables.stream.users[tables.stream.by_user[data.starts]]
    windows = list(zip(group.tolist(), users.tolist(), data.starts.tolist(), strict=True))
    assert len(set(windows)) == len(windows) < len(data.targets)


def test_an_item_that_joins_the_catalog_on_a_day_is_no_target_of_that_day() -> None:
    rows = [("ann", "a", "2024-03-01T00:00:00"), ("ann", "b", "2024-03-01T05:00:00")]
    rows += [
        ("bob", "b", "2024-03-01T06:00:00"),
        ("bob", "a", "2024-03-01T07:00:00"),
        ("cat", "b", "2024-03-02T00:00:00"),
    ]
    tables = tables_of(rows)
    # a is there from midnight on, b comes at five: a's own first engagement counts, the first two of b do not.
    assert sorted(TimedTargets.build(tables.stream, tables.catalog, 5, 9).targets.tolist()) == [0, 3, 4]


def test_nothing_to_train_on_is_an_error() -> None:
    tables = tables_of([("ann", "a", "2024-03-01T05:00:00"), ("ann", "a", "2024-03-02T05:00:00")])
    with pytest.raises(ValueError, match="nothing to train on"):
        TimedTargets.build(tables.stream, tables.catalog, 5, 9)


@dataclass(frozen=True)
class Target:
    """A target of a batch as universe rows: what is known of its user, and what is no candidate for it."""

    user: int
    history: tuple[int, ...]
    item: int
    seen: frozenset[int]


def slow_target(tables: DatasetTables, one: slow.Engagement, length: int, candidates: set[int]) -> Target:
    history = slow.user_history(tables.stream, one.user, one.at)
    read = slow.window(history, length) if length else []
    return Target(one.user, tuple(read), one.item, frozenset(history) & candidates)


def decoded_targets(batch: TrainBatch, rows: list[int]) -> list[Target]:
    """Every id of the encodings is a universe row and 1, since all users are known."""
    assert len(batch.target_rows) == len(batch.target_positions) == len(batch.targets)
    found = []
    for target, (row, position, item) in enumerate(
        zip(batch.target_rows.tolist(), batch.target_positions.tolist(), batch.targets.tolist(), strict=True)
    ):
        history = batch.users.history[row].tolist()
        filled = int(batch.users.lengths[row])
        assert PADDING not in history[:filled]
        assert set(history[filled:]) <= {PADDING}
        assert position <= filled
        seen = batch.seen_items[batch.seen_targets == target].tolist()
        read = tuple(rows[one] for one in history[:position])
        found.append(Target(int(batch.users.ids[row]) - 1, read, rows[item], frozenset(rows[one] for one in seen)))
    return found


def universe_rows(tables: DatasetTables, items: ItemInputs) -> list[int]:
    """Universe row of each of a batch's items; those of the tests' encodings are all known."""
    ids = sorted(tables.catalog.item_ids[np.unique(tables.stream.items)])
    names = tables.catalog.item_ids.tolist()
    return [names.index(ids[identifier - 1]) for identifier in items.ids.tolist()]


def groups(batches: TimedBatches) -> Iterator[tuple[int, np.datetime64, TrainBatch]]:
    for group in range(len(batches)):
        yield group, batches.groups.refreshes[group], batches.batch(group)


@pytest.mark.parametrize("length", [0, HISTORY, 400])
@pytest.mark.parametrize("kind", list(DRAWS))
def test_targets_know_what_was_known_at_them(kind: str, length: int) -> None:
    tables = random_tables(2)
    found: Counter[Target] = Counter()
    expected: Counter[Target] = Counter()
    positions = slow.targets(tables)
    batches = source(tables, DRAWS[kind], length)
    for group, refresh, batch in groups(batches):
        rows = universe_rows(tables, batch.items)
        one = decoded_targets(batch, rows)
        found.update(one)
        candidates = set(rows[: batch.candidates])
        chosen = slice(*batches.groups.offsets[batches.groups.group_offsets[group : group + 2]])
        engaged = [dict(positions)[position] for position in batches.groups.targets[chosen].tolist()]
        assert {each.refresh for each in engaged} == {refresh}
        assert [target.item for target in one] == [each.item for each in engaged]
        expected.update(slow_target(tables, each, length, candidates) for each in engaged)
        assert all(target.item in candidates and target.item not in target.seen for target in one)
    assert found == expected
    assert sum(found.values()) == len(positions)
    assert any(len(target.history) > 3 for target in found) or not length
    assert any(target.seen for target in found)


@pytest.mark.parametrize("length", [HISTORY, 400])
def test_histories_carry_instants_values_and_types_and_targets_their_own(length: int) -> None:
    """Of each entry before a target, and the target's own instant behind them, as that of its request."""
    tables = with_feedback(random_tables(2))
    stream, all_of = tables.stream, slow.engagements(tables.stream)
    batches, compared = source(tables, length=length), 0
    dense = {code: 1 + sorted(stream.event_types).index(name) for code, name in enumerate(stream.event_types)}
    for group, _, batch in groups(batches):
        chosen = slice(*batches.groups.offsets[batches.groups.group_offsets[group : group + 2]])
        engaged = batches.groups.targets[chosen].tolist()
        assert torch.equal(batch.values.isnan(), torch.from_numpy(np.isnan(stream.values[engaged])))
        assert batch.values.nan_to_num(-1).tolist() == np.nan_to_num(stream.values[engaged], nan=-1).tolist()
        users = batch.users
        for row, at, target in zip(batch.target_rows.tolist(), batch.target_positions.tolist(), engaged, strict=True):
            one = all_of[target]
            known = [n for n, other in enumerate(all_of) if other.user == one.user and other.at < one.at]
            read = slow.window(known, length)
            assert users.times[row, : at + 1].tolist() == [microseconds(all_of[n].at) for n in [*read, target]]
            assert users.events[row, :at].tolist() == [dense[int(stream.events[n])] for n in read]
            assert users.values[row, :at].nan_to_num(-1).tolist() == np.nan_to_num(stream.values[read], nan=-1).tolist()
            compared += at
        behind = torch.arange(users.history.shape[1]) >= users.lengths[:, None]
        assert users.values[behind].isnan().all()
        assert (users.events[behind] == PADDING).all()
    assert compared > 400


def microseconds(instant: np.datetime64) -> int:
    return int((instant - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "us"))


@pytest.mark.parametrize("kind", list(DRAWS))
def test_items_are_what_is_needed_candidates_first(kind: str) -> None:
    tables = random_tables(2)
    only_in_histories = 0
    for _, refresh, batch in groups(source(tables, DRAWS[kind])):
        rows = universe_rows(tables, batch.items)
        available = [row for row, at in enumerate(tables.catalog.available_at) if at <= refresh]
        drawn = {*batch.targets.tolist(), *batch.negatives.tolist()}
        expected = available if kind == "none" else sorted(rows[one] for one in drawn)
        assert rows[: batch.candidates] == expected
        assert set(expected) <= set(available)
        histories = {rows[one] for one in batch.users.history.flatten().tolist() if one != PADDING}
        assert sorted(rows[batch.candidates :]) == sorted(histories - set(expected))
        only_in_histories += len(set(rows[batch.candidates :]) - set(available))
    assert only_in_histories > 0  # taken earlier on the very day it appeared


def test_items_are_read_as_of_the_refresh() -> None:
    tables = random_tables(2)
    stream = tables.stream
    batches = source(tables)
    people = np.bincount(stream.users) >= QUALIFIED
    qualified = {int(user): number for number, user in enumerate(np.flatnonzero(people), start=1)}
    assert 0 < len(qualified) < len(people)
    longest = 0
    for _, refresh, batch in groups(batches):
        items, rows = batch.items, universe_rows(tables, batch.items)
        assert items.counts.tolist() == [slow.count(stream, row, refresh) for row in rows]
        trend = [slow.log_trend(stream, row, refresh, TREND.half_life_days, TREND.smoothing) for row in rows]
        assert items.log_trend.tolist() == pytest.approx(trend, rel=1e-5)
        histories = [items.history_users[items.history_rows == row].tolist() for row in range(len(rows))]
        assert histories == [slow.item_history(stream, row, refresh, qualified, ITEM_HISTORY) for row in rows]
        assert (items.history_rows.diff() >= 0).all()
        assert items.features["genre"].tolist() == batches.universe.item_features["genre"][rows].tolist()
        longest = max(longest, *(len(history) for history in histories))
    assert longest == ITEM_HISTORY


def test_users_carry_their_features() -> None:
    tables = random_tables(2)
    batches = source(tables)
    for _, _, batch in groups(batches):
        people = (batch.users.ids - 1).tolist()
        assert batch.users.features["city"].tolist() == batches.universe.user_features["city"][people].tolist()


def test_unknown_ids_are_oov_in_batches() -> None:
    """Encodings of two days: what came later has no id and still is a target with its features."""
    tables = random_tables(2)
    encodings = Encodings.fit(tables, tables.stream.before(START + 2 * DAY), QUALIFIED)
    known = set(encodings.items.ids)
    targets = [tables.catalog.item_ids[one.item] for _, one in slow.targets(tables)]
    found = [batch.items.ids[batch.targets].tolist() for _, _, batch in groups(source(tables, encodings=encodings))]
    oov = sum(identifier == 0 for ids in found for identifier in ids)
    assert oov == sum(name not in known for name in targets) > 0


@pytest.mark.parametrize(("kind", "power"), [("shared", 0.75), ("each", 0.5)])
def test_negatives_are_drawn_from_the_catalog_by_the_stated_probability(kind: str, power: float) -> None:
    tables = random_tables(2)
    for _, refresh, batch in groups(source(tables, DRAWS[kind])):
        rows = universe_rows(tables, batch.items)
        available = [row for row, at in enumerate(tables.catalog.available_at) if at <= refresh]
        assert {rows[one] for one in batch.negatives.tolist()} <= set(available)
        weights = {row: (slow.count(tables.stream, row, refresh) + 1) ** power for row in available}
        expected = [weights.get(row, 0.0) / sum(weights.values()) for row in rows]
        assert batch.log_q.exp().tolist() == pytest.approx(expected, rel=1e-5)
        if kind == "each":
            assert (batch.negatives != batch.targets).all()
        else:
            assert len(batch.negatives) == DRAWS[kind].count


def test_shared_negatives_follow_log_q() -> None:
    batches = source(random_tables(2), Draws("shared", 40_000, 0.75, 4))
    batch = batches.batch(len(batches) - 1)
    share = torch.bincount(batch.negatives, minlength=len(batch.items)) / 40_000
    torch.testing.assert_close(share, batch.log_q.exp(), atol=0.01, rtol=0)


def test_in_batch_negatives_are_corrected_by_the_targets_share_of_training() -> None:
    tables = random_tables(2)
    stream = tables.stream
    for _, _, batch in groups(source(tables, DRAWS["targets"])):
        rows = [universe_rows(tables, batch.items)[target] for target in batch.targets.tolist()]
        expected = [slow.count(stream, row, tables.cutoff) / len(stream) for row in rows]
        assert batch.log_q[batch.targets].exp().tolist() == pytest.approx(expected)
        assert len(batch.negatives) == 0


def test_nothing_is_drawn_for_the_full_softmax() -> None:
    for _, _, batch in groups(source(random_tables(2))):
        assert batch.negatives.shape == batch.log_q.shape == (0,)


def test_rebalanced_and_reversed_are_drawn_by_train_frequency() -> None:
    """The distributions are tested with the draws; here, that the counts are those of the targets' items."""
    tables = random_tables(2)
    batches = source(tables, seed=5)
    generator = torch.Generator().manual_seed(5)
    for _, _, batch in groups(batches):
        rows = universe_rows(tables, batch.items)
        counts = np.array([slow.count(tables.stream, rows[one], tables.cutoff) for one in batch.targets.tolist()])
        assert torch.equal(batch.rebalanced, rebalanced(counts, 4, generator))
        assert torch.equal(batch.reversed, inverse_frequency(counts, generator))


WHOLE_TRAINING = {"rebalanced", "reversed"}
"""Weights of the loss, by engagements in all of training; no vector is made from them."""


@pytest.mark.parametrize("kind", ["none", "shared", "each"])
def test_the_future_reaches_no_batch(kind: str) -> None:
    """Other engagements from the third day on: the batches of the first two days and all items at its refresh stay."""
    tables, instant = random_tables(2), START + 2 * DAY
    stream = tables.stream
    past = len(stream.before(instant))
    rows = [
        (tables.users["user_id"][one.user], tables.catalog.item_ids[one.item], str(one.at))
        for one in slow.engagements(stream)
    ]
    turned = [(user, item, at) for (user, item, _), (_, _, at) in zip(rows[past:][::-1], rows[past:], strict=True)]
    other = tables_of(rows[:past] + turned)
    other = DatasetTables(other.stream, tables.catalog, other.users, other.interactions, tables.cutoff, tables.cutoff)
    assert not np.array_equal(other.stream.items, stream.items)
    encodings = Encodings.fit(tables, tables.stream, QUALIFIED)
    one, two = (source(each, DRAWS[kind], encodings=encodings) for each in (tables, other))
    early = [group for group, refresh in enumerate(one.groups.refreshes) if refresh < instant]
    assert early
    for group in early:
        assert_equal(one.batch(group), two.batch(group), WHOLE_TRAINING)
    every = np.arange(stream.n_items)
    assert_equal(
        one.refresher.inputs(every, stream.before(instant), instant, one.item_histories),
        two.refresher.inputs(every, other.stream.before(instant), instant, two.item_histories),
        set(),
    )


def assert_equal(one: Any, other: Any, without: set[str]) -> None:
    """Equal field by field, tensors and what is made of them."""
    for field in (field for field in fields(one) if field.name not in without):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, dict):
            assert {name: value.tolist() for name, value in left.items()} == {n: v.tolist() for n, v in right.items()}
        elif isinstance(left, torch.Tensor):
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
        elif isinstance(left, int):
            assert left == right, field.name
        else:
            assert_equal(left, right, without)


def test_an_epoch_is_every_group_once_in_a_new_order_that_the_seed_decides() -> None:
    tables = random_tables(2)

    def epochs(seed: int) -> list[list[list[int]]]:
        batches = source(tables, DRAWS["shared"], seed=seed)
        return [[batch.items.ids[batch.negatives].tolist() for batch in batches] for _ in range(2)]

    one = epochs(4)
    assert one == epochs(4) != epochs(5)
    assert one[0] != one[1]
    batches = source(tables)
    orders = [[tuple(batch.items.ids[batch.targets].tolist()) for batch in batches] for _ in range(2)]
    assert [len(order) for order in orders] == [len(batches)] * 2
    assert orders[0] != orders[1]
    assert Counter(orders[0]) == Counter(orders[1])


def test_late_and_early_items() -> None:
    """The tables do hold what the tests above are about."""
    tables = random_tables(2)
    names = tables.catalog.item_ids.tolist()
    late = [one for one in slow.engagements(tables.stream) if one.item == names.index(LATE)]
    assert late[0].at < tables.catalog.available_at[names.index(LATE)]
    assert len(slow.targets(tables)) < len(tables.stream)
