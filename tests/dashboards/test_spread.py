"""What is shown of many values: both ends, evenly spread, never one twice."""

import pytest

from dashboards.spread import spread


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (0, 2, []),
        (1, 2, [0]),
        (5, 5, [0, 1, 2, 3, 4]),
        (6, 5, [0, 1, 2, 3, 5]),
        (9, 5, [0, 2, 4, 6, 8]),
        (100, 2, [0, 99]),
        (10, 4, [0, 3, 6, 9]),
    ],
)
def test_both_ends_and_what_lies_between(count: int, most: int, expected: list[int]) -> None:
    assert spread(range(count), most) == expected


def test_of_any_number_as_many_as_asked_for_and_each_once() -> None:
    for count in range(2, 60):
        for most in range(2, 20):
            shown = spread([f"w{place}" for place in range(count)], most)
            assert len(set(shown)) == len(shown) == min(count, most)
            assert (shown[0], shown[-1]) == ("w0", f"w{count - 1}")


def test_one_cannot_hold_both_ends() -> None:
    with pytest.raises(ValueError, match="at least 2, not 1"):
        spread([1, 2, 3], 1)
