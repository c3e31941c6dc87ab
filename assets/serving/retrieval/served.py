"""What a service says of the deltas that it served: a line each, when a query was first answered with it.

    live/served/<service>.jsonl   {"generation", "seq", "applied_at", "first_query_at", "probe"}

Instants are wall clock, microseconds. ``probe`` is true where the query was the service's own: it searches once
after every update, so that a service without visitors says how fresh it is. A line holds for all deltas before it too.
"""

import json
import threading
from pathlib import Path
from typing import Final

from assets.storage import Storage, atomic_path

MOST_BYTES: Final = 32_000_000
"""Size at which a service that starts cuts its file to the last eighth: about 30,000 deltas."""


class ServedLog:
    """Writes one service's file; usable from many threads.

    Args:
        path: of the file; made when it is not there, cut when it is long.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._generation = ""
        self._waiting: dict[int, int] = {}  # applied and not yet queried: number -> applied_at
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut(path)

    def applied(self, generation: str, deltas: list[tuple[int, int]]) -> None:
        """Searches see these deltas (number, when) from now on; those of another generation are not waited for."""
        with self._lock:
            if generation != self._generation:
                self._generation, self._waiting = generation, {}
            self._waiting.update(deltas)

    def answered(self, generation: str, seq: int, at: int, probe: bool = False) -> None:
        """A query was answered with delta ``seq`` and all before it."""
        if not self._waiting:  # nearly always: no lock on the way of a query
            return
        with self._lock:
            if generation != self._generation:
                return
            seen = sorted(number for number in self._waiting if number <= seq)
            lines = [
                json.dumps(
                    {
                        "generation": generation,
                        "seq": number,
                        "applied_at": self._waiting.pop(number),
                        "first_query_at": at,
                        "probe": probe,
                    }
                )
                for number in seen
            ]
            if lines:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in lines))


def served_path(storage: Storage, service: str) -> Path:
    """File of the service of that name."""
    return storage.live / "served" / f"{service}.jsonl"


def _cut(path: Path) -> None:
    if not path.exists() or path.stat().st_size <= MOST_BYTES:
        return
    with path.open("rb") as file:
        file.seek(-MOST_BYTES // 8, 2)
        _, _, kept = file.read().partition(b"\n")
    with atomic_path(path) as temporary:
        temporary.write_bytes(kept)
