"""A bar over cases, for the assets that rank them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def case_progress(words: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; gives what takes the cases done since the last call, and how many there are in all."""
    with tqdm(desc=words, unit=" cases", unit_scale=True, mininterval=1.0) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        yield advance
