"""What to show of many: test windows of an hour or a day are more than a table, a figure or a folder can hold."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def spread(values: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the values in their order, evenly spread, the first and the last among them.

    Raises:
        ValueError: for ``most`` below 2, which cannot hold both ends.
    """
    if most < 2:
        raise ValueError(f"most must be at least 2, not {most}")
    if len(values) <= most:
        return list(values)
    return [values[(place * (len(values) - 1)) // (most - 1)] for place in range(most)]
