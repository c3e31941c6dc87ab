"""Queries, updates and compactions at once, for as long as asked; every answer is checked.

``Stress`` drives a :class:`~tests.assets.serving.retrieval.world.World` and whatever answers for it: a live index, a
retriever or an HTTP service.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.assets.serving.retrieval.world import World

Answer = tuple[list[str], list[float]]
"""Items and scores, best first."""

Work = Callable[[np.random.Generator], None]

MOST_PROBLEMS = 20

PATIENCE = 120
"""Seconds more that a round may last where a slow machine has not done enough in its time."""


@dataclass
class Outcome:
    """What happened.

    Attributes:
        problems: wrong answers and exceptions, the first few.
        queries: how many were answered.
        deltas: how many were written.
        compactions: how many snapshots were written meanwhile.
        milliseconds: [queries] how long each took.
        versions: per group the last version that a query saw.
    """

    problems: list[str] = field(default_factory=list)
    queries: int = 0
    deltas: int = 0
    compactions: int = 0
    milliseconds: list[float] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)

    @property
    def p99(self) -> float:
        """99th percentile of a query's milliseconds."""
        return float(np.percentile(self.milliseconds, 99))

    @property
    def oldest(self) -> int:
        """The version of the group that is the furthest behind."""
        return min([*self.versions.values()], default=0)


@dataclass
class Stress:
    """One round.

    Args:
        ask: the best ``world.half`` items for a group's axis.
        hidden: items that must not be in that answer.
        refresh: follows the store, called without pause by a thread of its own; ``None`` where that happens by itself.
        readers: threads that ask.
        pause: seconds between two deltas.
        may_go_back: whether a reader may see an older version after a newer one, as where two worlds take turns.
    """

    world: World
    ask: Callable[[int], Answer]
    hidden: Callable[[int], list[str]]
    refresh: Callable[[], object] | None
    readers: int = 3
    pause: float = 0.0
    deltas_per_compaction: int = 25
    may_go_back: bool = False

    def __post_init__(self) -> None:
        self.outcome, self._stop, self._lock = Outcome(), threading.Event(), threading.Lock()

    def run(self, seconds: float, enough: Callable[[Outcome], bool] = lambda _: True) -> Outcome:
        """Ask, write and follow until ``seconds`` are over and ``enough`` has happened, or something went wrong."""
        works: list[Work] = [self._write, *(self._reader() for _ in range(self.readers))]
        if (refresh := self.refresh) is not None:
            works.append(lambda _: refresh() and None)
        threads = [threading.Thread(target=self._repeat, args=(work, seed)) for seed, work in enumerate(works)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        end = time.monotonic() + PATIENCE
        while not (enough(self.outcome) or len(self.outcome.problems) >= MOST_PROBLEMS) and time.monotonic() < end:
            time.sleep(0.05)
        self._stop.set()
        for thread in threads:
            thread.join()
        return self.outcome

    def _repeat(self, work: Work, seed: int) -> None:
        random = np.random.default_rng(seed)
        while not self._stop.is_set() and len(self.outcome.problems) < MOST_PROBLEMS:
            try:
                work(random)
            except Exception as error:
                with self._lock:
                    self.outcome.problems.append(f"{type(error).__name__}: {error}")

    def _write(self, random: np.random.Generator) -> None:
        self.world.step(int(random.integers(self.world.groups)))
        self.outcome.deltas += 1
        if self.outcome.deltas % self.deltas_per_compaction == 0:
            self.world.compact()
            self.outcome.compactions += 1
        time.sleep(self.pause)

    def _reader(self) -> Work:
        latest: dict[int, int] = {}

        def read(random: np.random.Generator) -> None:
            group = int(random.integers(self.world.groups))
            started = time.perf_counter()
            items, scores = self.ask(group)
            taken = (time.perf_counter() - started) * 1000
            problems = self.world.problems(group, items, scores, self.hidden(group))
            version = round(scores[0]) if len(scores) else 0
            if version < latest.get(group, 0) and not self.may_go_back:
                problems.append(f"group {group} went back from version {latest[group]} to {version}")
            latest[group] = version
            with self._lock:
                self.outcome.problems += problems
                self.outcome.queries += 1
                self.outcome.milliseconds.append(taken)
                self.outcome.versions[group] = max(version, self.outcome.versions.get(group, 0))

        return read
