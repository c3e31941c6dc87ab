"""The benchmark of large catalogs: its data follow the distribution that it states, and it compares what it says."""

import numpy as np
import pytest

from assets.training.batches import TimedTargets
from assets.training.validation import NDCG
from benchmarks.large_catalogs import (
    BATCH,
    GROUPS,
    LENGTH,
    MODEL,
    STAYS,
    STEPS,
    Metered,
    Sequences,
    Speed,
    configured,
    made_up,
    quality,
    speed,
    speed_rows,
    steps_of,
)
from benchmarks.measuring import Cost


def test_sequences_follow_the_stated_distribution() -> None:
    sequences = Sequences(60)
    drawn = sequences.draw(20_000, np.random.default_rng(3))
    group, place = drawn // 3, drawn % 3
    assert drawn.shape == (20_000, LENGTH)
    shares = np.bincount(place.ravel(), minlength=3) / drawn.size
    assert shares == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.01)
    assert (group[:, 1:] == group[:, :-1]).mean() == pytest.approx(STAYS + (1 - STAYS) / GROUPS, abs=0.01)
    for column in (0, LENGTH - 1):
        assert np.bincount(group[:, column], minlength=GROUPS) / 20_000 == pytest.approx(
            [1 / GROUPS] * GROUPS, abs=0.01
        )


def test_the_perplexity_of_the_distribution_is_that_of_its_draws() -> None:
    sequences = Sequences(60)
    drawn = sequences.draw(20_000, np.random.default_rng(3))
    before, after = drawn[:, :-1].ravel(), drawn[:, 1:].ravel()
    group = np.where(after // 3 == before // 3, STAYS, 0.0) + (1 - STAYS) / GROUPS
    place = sequences.within[after % 3]
    found = [np.exp(-np.log(group * place).mean()), np.exp(-np.log(place / GROUPS).mean())]
    assert list(sequences.perplexity) == pytest.approx(found, rel=0.02)


def test_every_item_is_known_and_only_sequences_are_targets() -> None:
    tables = made_up(items=200, users=30)
    stream = tables.stream
    assert set(stream.items) == set(range(200))
    assert (np.diff(stream.timestamps.astype(np.int64)) >= 0).all()
    assert stream.timestamps[-1] < tables.cutoff
    assert tables.catalog.train_count.tolist() == np.bincount(stream.items).tolist()
    targets = TimedTargets.build(stream, tables.catalog, 5, 64).targets
    assert set(stream.users[targets]) == set(range(30))
    assert len(targets) == len(np.unique(np.stack([stream.users, stream.items])[:, 200:], axis=1).T)


def test_the_sides_differ_in_their_output_and_its_optimizer_alone() -> None:
    sampled, dense = (configured(name, 2)[0].model_dump() for name in ("sampled", "dense"))
    assert [one["net"].pop("loss") for one in (sampled, dense)] == ["sampled_softmax", "full_softmax"]
    assert [one.pop("optimizer") for one in (sampled, dense)] == ["lazy_adamw", "adamw"]
    assert sampled == dense
    assert sampled["batch_size"] == BATCH


def test_a_metered_source_stops_after_its_steps() -> None:
    class Batch:
        targets = (1, 2, 3)

    source = Metered([Batch()] * 5, steps=2)
    assert len(source) == len(list(source)) == 2
    assert source.targets == 6
    assert len(Metered([Batch()] * 5, steps=9)) == 5


def test_dense_steps_are_bounded_by_what_they_score() -> None:
    assert [steps_of(items, "dense", STEPS) for items in (1_000, 100_000, 1_000_000)] == [STEPS, 46, 4]
    assert steps_of(1_000_000, "sampled", STEPS) == STEPS


@pytest.mark.parametrize("output", ["sampled", "dense"])
def test_both_sides_are_measured_after_a_warm_up(output: str) -> None:
    measured = speed(100, 40, output, 1)
    stream = made_up(100, 40).stream
    targets = len(np.unique(np.stack([stream.users, stream.items])[:, 100:], axis=1).T)
    assert measured.targets == targets  # one epoch of two: there are fewer batches than steps
    assert min(measured.cost.wall, measured.cost.cpu) > 0
    assert measured.peak_mib >= measured.before_mib > 0


@pytest.mark.parametrize("output", ["sampled", "dense"])
def test_training_beats_popularity_in_perplexity(output: str) -> None:
    found = quality(100, 200, output, 12, 1)
    known, popular = Sequences(100).perplexity
    assert 0.8 * known < found["perplexity"] < popular, MODEL
    assert 0 < found[NDCG] < 1


def test_a_row_gives_rates_memory_and_their_ratios() -> None:
    runs = {
        "sampled": [Speed(100, Cost(1.0, 2.0), 10, 20), Speed(100, Cost(1.0, 2.0), 10, 30)],
        "dense": [Speed(10, Cost(1.0, 0.5), 12, 60)],
    }
    rows, ratios = speed_rows({1_000: runs})
    assert rows == [["1,000", 100, 10, 10, 50, 20, 2.5, 12, 30, 60, 2]]
    assert ratios == {1_000: (10, 2)}
