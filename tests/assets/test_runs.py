"""Places within runs, against loops."""

import numpy as np
import pytest

from assets.runs import places_in_runs, spans

LENGTHS = [[], [0], [3], [1, 0, 0, 2], [0, 4, 1, 0], [2, 2, 2]]


@pytest.mark.parametrize("lengths", LENGTHS)
def test_places_begin_at_nought_in_each_run(lengths: list[int]) -> None:
    expected = [place for length in lengths for place in range(length)]
    assert places_in_runs(np.array(lengths, np.int64)).tolist() == expected


@pytest.mark.parametrize("lengths", LENGTHS)
def test_spans_are_those_of_a_loop_in_any_order(lengths: list[int]) -> None:
    first = np.random.default_rng(len(lengths)).integers(-5, 50, len(lengths))
    expected = [place for start, length in zip(first, lengths, strict=True) for place in range(start, start + length)]
    assert spans(first, np.array(lengths, np.int64)).tolist() == expected
