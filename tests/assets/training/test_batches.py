"""Batches against a slow reading of the same engagements."""

from collections import Counter

import numpy as np
import pytest
import torch

from assets.stream import PADDING, DatasetTables, EngagementStream
from assets.training.batches import PairBatches, SequenceBatches, Sequences
from assets.training.encoding import Encodings, Universe
from assets.training.negatives import NoNegatives, SharedNegatives, log_frequencies

NONE = NoNegatives(torch.zeros(0))


def random_stream(seed: int, events: int = 300, users: int = 7, items: int = 11) -> EngagementStream:
    """Many equal timestamps, also within a user."""
    generator = np.random.default_rng(seed)
    times = np.sort(generator.integers(0, 60, events)).astype("datetime64[s]").astype("datetime64[us]")
    values = np.ones(events, np.float32)
    return EngagementStream(
        generator.integers(0, users, events), generator.integers(0, items, events), times, values, users + 1, items
    )


def pairs_of(batch_source: SequenceBatches) -> Counter[tuple[tuple[int, ...], int]]:
    """(history as the encoder sees it at the target's position, target) of one epoch."""
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for batch in batch_source:
        for row, position, target in zip(batch.target_rows, batch.target_positions, batch.targets, strict=True):
            history = batch.history[row, :position].tolist()
            assert PADDING not in history
            found[(tuple(history), int(target))] += 1
    return found


def slow_pairs(stream: EngagementStream) -> Counter[tuple[tuple[int, ...], int]]:
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for event in range(len(stream)):
        earlier = [
            int(stream.items[other]) + 1
            for other in range(len(stream))
            if stream.users[other] == stream.users[event] and stream.timestamps[other] < stream.timestamps[event]
        ]
        found[(tuple(earlier), int(stream.items[event]) + 1)] += 1
    return found


def sequences(stream: EngagementStream, length: int) -> Sequences:
    return Sequences.build(stream, np.arange(stream.n_items) + 1, length)


def test_every_target_once_with_its_whole_strictly_earlier_history() -> None:
    stream = random_stream(0)
    batches = SequenceBatches(sequences(stream, 400), NONE, batch_size=40, seed=1)
    assert pairs_of(batches) == slow_pairs(stream)


@pytest.mark.parametrize("length", [1, 2, 5, 8, 20])
def test_long_histories_keep_their_latest_half_window_at_least(length: int) -> None:
    stream = random_stream(1)
    found = pairs_of(SequenceBatches(sequences(stream, length), NONE, batch_size=40, seed=1))
    whole = slow_pairs(stream)
    assert sum(found.values()) == sum(whole.values()) == len(stream)
    assert max(len(history) for history, _ in found) == length
    ends = Counter((history[-1:], target) for history, target in whole.elements())
    assert Counter((history[-1:], target) for history, target in found.elements()) == ends
    by_end: dict[tuple[tuple[int, ...], int], list[tuple[int, ...]]] = {}
    for history, target in whole:
        by_end.setdefault((history[-1:], target), []).append(history)
    for history, target in found:
        candidates = by_end[(history[-1:], target)]
        cut = [one for one in candidates if one[len(one) - len(history) :] == history]
        assert any(len(one) == len(history) or len(history) > length - max(1, length // 2) for one in cut)


def test_batches_hold_windows_of_like_length_and_about_the_stated_targets() -> None:
    stream = random_stream(2, events=2000, users=300)
    batches = SequenceBatches(sequences(stream, 50), NONE, batch_size=100, seed=0)
    seen = list(batches)
    assert len(seen) == len(batches) == 20
    assert max(len(batch.targets) for batch in seen) < 130
    padding = sum(int((batch.history == PADDING).sum()) for batch in seen)
    assert padding < 0.1 * sum(batch.history.numel() for batch in seen)


def test_epochs_differ_and_seeds_repeat() -> None:
    stream = random_stream(3)
    sampler = SharedNegatives(log_frequencies(np.arange(12), 0.75), 16)

    def epochs(seed: int) -> list[list[list[int]]]:
        source = SequenceBatches(sequences(stream, 10), sampler, 50, seed)
        return [[batch.targets.tolist() + batch.negatives.tolist() for batch in source] for _ in range(2)]

    one, other = epochs(4), epochs(4)
    assert one == other
    assert one[0] != one[1]
    assert one != epochs(5)


def pair_batches(tables: DatasetTables, batch_size: int, seed: int = 0) -> PairBatches:
    encodings = Encodings.fit(tables, tables.stream)
    return PairBatches(tables.stream, encodings, Universe.encode(encodings, tables), batch_size, seed)


def test_pairs_are_grouped_in_time_and_complete(tables: DatasetTables) -> None:
    source = pair_batches(tables, batch_size=5)
    stream = tables.stream
    expected = [(user + 1, item + 1) for user, item in zip(stream.users.tolist(), stream.items.tolist(), strict=True)]
    epoch = [list(zip(batch.user_ids.tolist(), batch.item_ids.tolist(), strict=True)) for batch in source]
    assert len(source) == 3
    assert [len(group) for group in epoch] == [4, 4, 4]
    assert all(group in [expected[0:4], expected[4:8], expected[8:12]] for group in epoch)
    assert sorted(pair for group in epoch for pair in group) == sorted(expected)


def test_pairs_carry_log_frequencies_and_features(tables: DatasetTables) -> None:
    batch = pair_batches(tables, batch_size=50).batch(np.array([0, 3]))
    stream = tables.stream
    items = stream.items[[0, 3]]
    counts = np.bincount(stream.items)
    assert batch.log_q.exp().tolist() == pytest.approx((counts[items] / len(stream)).tolist())
    universe = Universe.encode(Encodings.fit(tables, stream), tables)
    assert batch.item_features["genre"].tolist() == universe.item_features["genre"][items].tolist()
    assert batch.user_features["city"].tolist() == universe.user_features["city"][stream.users[[0, 3]]].tolist()


def test_groups_come_in_another_order_each_epoch(tables: DatasetTables) -> None:
    source = pair_batches(tables, batch_size=1, seed=3)
    epochs = [[batch.item_ids.item() for batch in source] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])
    again = pair_batches(tables, batch_size=1, seed=3)
    assert [batch.item_ids.item() for batch in again] == epochs[0]
