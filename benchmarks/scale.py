"""The whole graph on simulated data of growing size: what every station takes, and what an engagement costs.

    python -m benchmarks.scale [--engagements 100000 1000000 10000000] [--folder FOLDER]

Each size is one ``thaw run`` from nothing in a home of its own (removed afterwards): a tenth as many users as
engagements, a fiftieth as many items, 120 days; three counting models and two nets (``--models`` for others). Nets
train for one epoch on two threads, id tables by ``lazy_adamw``, and 20,000 cases are ranked at every size, so that
sizes differ in nothing but the data. Times are Dagster's own of each step; memory is what all processes of the run hold
together, looked at five times a second. The page is ``docs/benchmarks.md``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from assets.config import PROJECT_ROOT, load_settings
from assets.storage import write_json
from assets.training.registry import MODELS
from benchmarks.children import end_group
from benchmarks.measuring import machine
from benchmarks.scale_page import write_page
from orchestration.home import open_instance

SIZES: Final = (100_000, 1_000_000, 10_000_000)
USERS_SHARE, ITEMS_SHARE, AUTHORS_SHARE = 10, 50, 500
MAX_EPOCHS, MAX_CASES = 1, 20_000
THREADS: Final = 2
"""Of training: steps are large at these sizes, and the second core halves a third of their time."""

ROSTER: Final = ("popularity", "recent_popularity", "decayed_popularity", "two_tower", "sasrec")
LOOK_SECONDS: Final = 0.2
RECORD: Final = PROJECT_ROOT / "docs" / "results" / "scale.json"


@dataclass(frozen=True)
class Step:
    """One step of the run: name, seconds, and the most memory that the run held meanwhile, GiB."""

    name: str
    seconds: float
    peak_gib: float


@dataclass(frozen=True)
class Measured:
    """One size.

    Attributes:
        load: of the machine when the run began, of other work.
        wall: seconds of the whole command.
        steps: in the order in which they ran.
    """

    engagements: int
    users: int
    items: int
    machine: str
    wall: float
    peak_gib: float
    steps: tuple[Step, ...]


def configuration(engagements: int, models: Sequence[str] = ROSTER) -> dict[str, Any]:
    """The settings of one size."""
    fit = {"threads": THREADS, "optimizer": "lazy_adamw"}
    nets = {name: fit for name in models if MODELS[name].kind == "net"}
    world = {
        "engagements": engagements,
        "users": engagements // USERS_SHARE,
        "items": engagements // ITEMS_SHARE,
        "authors": engagements // AUTHORS_SHARE,
    }
    return {
        "models": list(models),
        "datasets": {"simulated": world},
        "training": {"max_epochs": MAX_EPOCHS, "hyper_parameters": nets},
        "evaluation": {"max_cases": MAX_CASES},
    }


def measure(engagements: int, folder: Path, models: Sequence[str] = ROSTER) -> Measured:
    """Run the graph once, in ``folder``.

    Raises:
        RuntimeError: when the run fails, with the end of what it printed.
    """
    held = configuration(engagements, models)
    world, settings = held["datasets"]["simulated"], folder / "settings.yaml"
    write_json(settings, held)
    environment = {
        **os.environ,
        "THAW_HOME": str(folder),
        "THAW_CONFIG": str(settings),
        "THAW_DATASET": "simulated",
        "THAW_MODELS": "",
    }
    busy, log, begun = machine(), folder / "run.log", time.time()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli", "run"],
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _Memory(process.pid) as memory:
            try:
                process.wait()
            finally:
                end_group(process)
    if process.returncode:
        raise RuntimeError(f"the run of {engagements:,} engagements failed:\n{log.read_text()[-3000:]}")
    wall = time.time() - begun
    steps = _steps(environment, memory)
    return Measured(engagements, world["users"], world["items"], busy, wall, memory.peak(0, time.time()), steps)


def _steps(environment: Mapping[str, str], memory: "_Memory") -> tuple[Step, ...]:
    """The steps of the home's only run."""
    with open_instance(load_settings(environment)) as instance:
        (run,) = instance.get_run_records(limit=1)
        stats = instance.get_run_step_stats(run.dagster_run.run_id)
    held = [(one.start_time, one.end_time, one.step_key) for one in stats if one.start_time and one.end_time]
    return tuple(Step(name, end - start, memory.peak(start, end)) for start, end, name in sorted(held))


class _Memory:
    """Resident memory of a process group, looked at in a thread."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.seen: list[tuple[float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def peak(self, start: float, end: float) -> float:
        """GiB, between two instants and at the looks next to them."""
        inside = [held for at, held in self.seen if start - LOOK_SECONDS <= at <= end + LOOK_SECONDS]
        return max(inside, default=0.0)

    def _look(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self.seen.append((time.time(), _resident(self.group) / (1 << 30)))


def _resident(group: int) -> int:
    """Bytes that the processes of a group hold (Linux)."""
    pages = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # ended meanwhile
            continue
        if int(fields[2]) == group:
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE")


def remember(measured: Measured) -> dict[str, Any]:
    """Every size's latest figures with this one's among them, as they stand in :data:`RECORD`."""
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record[str(measured.engagements)] = asdict(measured)
    record = dict(sorted(record.items(), key=lambda one: int(one[0])))
    write_json(RECORD, record)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--engagements", type=int, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path, default=None, help="for the homes (10 million need about 6 GB)")
    parser.add_argument("--models", nargs="+", default=ROSTER)
    arguments = parser.parse_args()
    for engagements in arguments.engagements:
        folder = Path(tempfile.mkdtemp(prefix="thaw-scale-", dir=arguments.folder))
        try:
            measured = measure(engagements, folder, arguments.models)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        record = remember(measured)
        slowest = sorted(measured.steps, key=lambda step: -step.seconds)[:5]
        print(f"{engagements:,} engagements: {measured.wall:,.0f} s, {measured.peak_gib:.1f} GiB; slowest:")
        print("\n".join(f"  {step.seconds:8.1f} s  {step.peak_gib:5.2f} GiB  {step.name}" for step in slowest))
        write_page(record)


if __name__ == "__main__":
    main()
