"""Something that is replaced while it is used: users keep what they began with, and the last one out closes it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Held(Generic[T]):
    value: T
    users: int = 0
    retired: bool = False


class Switch(Generic[T]):
    """Holds one value at a time.

    Args:
        value: the first.
        close: called with a value that was replaced, once nobody uses it.
    """

    def __init__(self, value: T, close: Callable[[T], None]) -> None:
        self._held = _Held(value)
        self._close = close
        self._lock = threading.Lock()

    @contextmanager
    def using(self) -> Iterator[T]:
        """The value of this moment, open until the block ends."""
        with self._lock:
            held = self._held
            if held.retired:
                raise RuntimeError("closed: open it again to use it")
            held.users += 1
        try:
            yield held.value
        finally:
            with self._lock:
                held.users -= 1
                last = held.retired and held.users == 0
            if last:
                self._close(held.value)

    def replace(self, value: T) -> None:
        """Use ``value`` from now on."""
        with self._lock:
            old, self._held = self._held, _Held(value)
        self._retire(old)

    def close(self) -> None:
        """End it: nobody can use it any more."""
        self._retire(self._held)

    def _retire(self, held: _Held[T]) -> None:
        with self._lock:
            unused = not held.retired and held.users == 0
            held.retired = True
        if unused:
            self._close(held.value)
