import numpy as np
import pytest

from assets.ingestion.simulation.draws import cumulated, drawn, whole


def test_weights_are_rounded_and_none_is_lost() -> None:
    assert whole(np.array([1.0, 0.5, 1e-9]), 2).tolist() == [4, 2, 1]


def test_draws_are_in_proportion_and_never_of_weight_0() -> None:
    sums = cumulated(np.array([0, 3, 0, 1, 0]))
    positions = (np.arange(4_000) + 0.5) / 4_000
    found = drawn(sums, sums[0], sums[-1], positions)
    assert np.bincount(found, minlength=5).tolist() == [0, 3_000, 0, 1_000, 0]


def test_a_draw_stays_between_its_two_sums() -> None:
    sums = cumulated(np.array([5, 1, 2, 7]))
    low, high = sums[[0, 1, 2]], sums[[1, 3, 4]]
    for position in (0.0, 0.5, np.nextafter(1.0, 0)):
        found = drawn(sums, low, high, np.full(3, position))
        assert (found >= [0, 1, 2]).all()
        assert (found <= [0, 2, 3]).all()


@pytest.mark.parametrize("bits", [10, 60])
def test_the_last_position_is_inside_however_large_the_weights(bits: int) -> None:
    sums = cumulated(np.array([1 << bits, 1 << bits]))
    assert drawn(sums, sums[:1], sums[1:2], np.array([np.nextafter(1.0, 0)])).tolist() == [0]
