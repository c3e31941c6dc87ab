"""Work on the blocks of a file in threads: Arrow, NumPy and hashes leave Python's lock while they work."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")

MOST_THREADS: Final = 8
"""Each holds a block and what is made of it; more would cost memory where the disk and Python's lock set the pace."""


def thread_count() -> int:
    """Threads to work in: the cores that this process may use, eight at most."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return min(cores, MOST_THREADS)


def in_threads(function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """``function`` of each piece, in their order, whatever the number of threads.

    A piece is let go of when it is done: give an iterator that holds none of them to bound memory.
    """
    with ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(function, pieces))
