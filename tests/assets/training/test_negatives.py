import numpy as np
import pytest
import torch

from assets.training.negatives import NoNegatives, OneNegativeEach, SharedNegatives, log_frequencies


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_distribution_is_the_stated_one(power: float) -> None:
    counts = np.array([0, 9, 1, 30])
    weights = [1.0, 10.0**power, 2.0**power, 31.0**power]
    log_q = log_frequencies(counts, power)
    assert log_q.exp().tolist() == pytest.approx([weight / sum(weights) for weight in weights])
    drawn = SharedNegatives(log_q, 40_000).draw(torch.zeros(0), generator())
    assert drawn.shape == (40_000,)
    shares = torch.bincount(drawn, minlength=4) / 40_000
    torch.testing.assert_close(shares, log_q.exp(), atol=0.01, rtol=0)


def test_one_negative_each_is_never_the_target() -> None:
    targets = torch.randint(0, 3, (5000,), generator=generator())
    drawn = OneNegativeEach(log_frequencies(np.zeros(3, np.int64), 0)).draw(targets, generator())
    assert drawn.shape == targets.shape
    assert (drawn != targets).all()
    assert set(drawn.tolist()) == {0, 1, 2}


def test_full_softmax_draws_nothing() -> None:
    assert NoNegatives(torch.zeros(0)).draw(torch.arange(3), generator()).shape == (0,)
