import numpy as np
import pytest
import torch

from assets.training.negatives import draw, frequencies, inverse_frequency, rebalanced

COUNTS = np.array([0, 9, 1, 30])
MANY = 40_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_frequencies_are_the_stated_ones_and_draws_follow_them(power: float) -> None:
    weights = [1.0, 10.0**power, 2.0**power, 31.0**power]
    q = frequencies(COUNTS, power)
    assert q.tolist() == pytest.approx([weight / sum(weights) for weight in weights])
    assert draw(q, MANY, generator()).shape == (MANY,)
    assert np.bincount(draw(q, MANY, generator()), minlength=4) / MANY == pytest.approx(q, abs=0.01)


def test_what_has_no_probability_is_never_drawn() -> None:
    drawn = draw(np.array([0.0, 0.5, 0.0, 0.5, 0.0]), MANY, generator())
    assert set(drawn.tolist()) == {1, 3}


def test_draws_are_the_seeds() -> None:
    q = frequencies(COUNTS, 1.0)
    assert draw(q, 50, generator(3)).tolist() == draw(q, 50, generator(3)).tolist()
    assert draw(q, 50, generator(3)).tolist() != draw(q, 50, generator(4)).tolist()
    assert draw(q, 0, generator()).shape == (0,)


def test_rebalanced_keeps_the_tail_and_samples_the_head_down() -> None:
    """Items of 2, 4, 8 and 40 engagements, the tail up to 4: weights 1, 1, 1/2, 1/10."""
    counts = np.tile([2, 4, 8, 40], MANY // 4)
    drawn = rebalanced(counts, 4, generator())
    assert drawn.shape == (MANY,)
    assert len(torch.unique(drawn)) > MANY // 4  # with replacement, from everywhere
    shares = torch.bincount(drawn % 4) / MANY
    assert shares.tolist() == pytest.approx([1 / 2.6, 1 / 2.6, 0.5 / 2.6, 0.1 / 2.6], abs=0.01)


def test_items_of_the_head_become_equally_frequent() -> None:
    """Ten targets on one item, forty on another: both above the tail, so both are drawn as often."""
    items = np.array([0] * 10 + [1] * 40)
    counts = np.where(items == 0, 10, 40)
    drawn = torch.cat([rebalanced(counts, 4, generator(seed)) for seed in range(400)])
    assert items[drawn.numpy()].mean() == pytest.approx(0.5, abs=0.01)


def test_reversed_draws_items_by_the_inverse_of_their_frequency() -> None:
    """Item i has ``sizes[i]`` targets among the rows, as its count says: shares of items are as 1, 1/2, 1/4, 1/8."""
    sizes = np.array([1, 2, 4, 8])
    items = np.repeat(np.arange(4), sizes)
    drawn = torch.cat([inverse_frequency(sizes[items], generator(seed)) for seed in range(3000)])
    shares = np.bincount(items[drawn.numpy()]) / len(drawn)
    assert shares == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15], abs=0.01)


def test_reversed_draws_a_target_by_the_inverse_square() -> None:
    """Whatever else is in the batch: counts are those of all training."""
    counts = np.tile([1, 2, 4, 0], MANY // 4)  # an item without engagements counts as one with one
    drawn = inverse_frequency(counts, generator())
    assert drawn.shape == (MANY,)
    shares = torch.bincount(drawn % 4) / MANY
    assert shares.tolist() == pytest.approx([16 / 37, 4 / 37, 1 / 37, 16 / 37], abs=0.01)
    assert torch.equal(drawn, inverse_frequency(counts, generator()))


def test_no_targets_give_no_sample() -> None:
    assert rebalanced(np.zeros(0, np.int64), 4, generator()).shape == (0,)
    assert inverse_frequency(np.zeros(0, np.int64), generator()).shape == (0,)
