"""Time, CPU time and memory of what the benchmarks of the freshness path measure."""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


@dataclass
class Cost:
    """What something took.

    Attributes:
        wall: seconds.
        cpu: seconds of all threads of this process.
    """

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    @classmethod
    def median(cls, costs: "list[Cost]") -> Self:
        """The median of each."""
        return cls(*np.median([(cost.wall, cost.cpu) for cost in costs], axis=0).tolist())


@contextmanager
def metered() -> Iterator[Cost]:
    """The cost of a block, filled in when it ends."""
    cost = Cost()
    started, used = time.perf_counter(), time.process_time()
    yield cost
    cost.wall, cost.cpu = time.perf_counter() - started, time.process_time() - used


def latency_ms(seconds: NDArray[np.float64]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum, milliseconds; NaN of nothing."""
    if not len(seconds):
        return float("nan"), float("nan"), float("nan")
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return float(p50), float(p99), float(seconds.max() * 1e3)


@contextmanager
def core_waits() -> Iterator[Callable[[], float]]:
    """Gives what this thread has waited for a core so far, seconds: the part of a latency that is other work's.

    Known on Linux; elsewhere 0. A thread that holds Python's lock and waits for a core itself is not seen by this one.
    """
    path = Path("/proc/thread-self/schedstat")
    if not path.exists():
        yield lambda: 0.0
        return
    file = os.open(path, os.O_RDONLY)
    try:
        yield lambda: int(os.pread(file, 64, 0).split()[1]) / 1e9
    finally:
        os.close(file)


def peak_mib() -> float:
    """Largest resident memory of this process so far (``ru_maxrss`` is in KiB on Linux, in bytes on macOS).

    Pages of a store that were read or written are among it as long as the system has room to keep them.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def in_child(function: Callable[..., T], *arguments: Any) -> T:
    """Call in a process of its own, whose peak memory is the call's. This process stays small: a child inherits it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def machine() -> str:
    """How busy the machine is: other work shows in wall time."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def verdict(met: bool) -> str:
    """What a bar's column says."""
    return "met" if met else "MISSED"
