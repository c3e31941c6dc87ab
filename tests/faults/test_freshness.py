"""The freshness job and its sensor's tick, killed anywhere, twice at once, or under a clock that goes back."""

import os
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.faults import graph
from tests.faults.conftest import Undisturbed
from tests.faults.plan import BEFORE, Stop, counted, kills

KILLS = max(4, int(os.environ.get("THAW_KILLS", "20")) // 4)
FIRST = int(os.environ.get("THAW_KILLS_FROM", "0"))
REPORT = "freshness.partial-"
"""What a kill within the last step may leave until the next batch lands: nothing else asks for that report again."""

TICKS = 2
"""Kills within the sensor's tick, besides."""


@dataclass(frozen=True)
class Fresh:
    """What it comes to undisturbed.

    Attributes:
        finished: home that it starts from.
        state: file of what serves at the end.
        points: step -> how many points it passes; those of the tick are before the first step.
    """

    finished: Path
    state: Path
    points: dict[str, int]

    def home(self, folder: Path) -> Path:
        """A home with files in its drop zone."""
        graph.call(folder / "home", "freshness:copy_and_drop", self.finished)
        return folder / "home"

    def check(self, home: Path) -> list[str]:
        problems = graph.call(home, "freshness:compare", self.state) + graph.call(home, "state:leftovers")
        shutil.rmtree(home)
        return [line for line in problems if REPORT not in line]


@pytest.fixture(scope="module")
def fresh(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh")
    made = Fresh(undisturbed.whole_home(), folder / "state", {})
    home = made.home(folder)
    made.points.update(counted(graph.call(home, "freshness:freshen", {}, 0)))
    assert made.points[BEFORE] > 20
    assert graph.call(home, "freshness:keep", made.state) == 4  # the base, two files, the items
    assert made.check(home) == []
    return made


def disturbed(fresh: Fresh, folder: Path, stop: Stop) -> dict[str, object]:
    """Kill at ``stop``, let the daemon look again, and say what is not as it should be."""
    home = fresh.home(folder)
    ended_by = graph.call_to_its_end(home, "freshness:freshen", asdict(stop), 0)
    graph.call(home, "freshness:freshen", {}, 1)
    problems = fresh.check(home) + ([] if ended_by == signal.SIGKILL else ["was not killed"])
    return {"kill": f"freshen: {stop.step} at point {stop.number}", "signal": ended_by, "problems": problems}


@pytest.mark.timeout(graph.TEST_SECONDS)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + KILLS))
def test_a_killed_run_is_finished_by_the_next(
    fresh: Fresh, tmp_path: Path, seed: int, diary: list[dict[str, object]]
) -> None:
    diary.append(disturbed(fresh, tmp_path, kills(seed + 1, fresh.points, {})[seed].stop))
    assert not diary[-1]["problems"]


@pytest.mark.timeout(graph.TEST_SECONDS)
@pytest.mark.parametrize("part", range(TICKS))
def test_a_daemon_killed_during_a_tick(fresh: Fresh, tmp_path: Path, part: int, diary: list[dict[str, object]]) -> None:
    number = fresh.points[BEFORE] * (2 * part + 1) // (2 * TICKS)
    diary.append(disturbed(fresh, tmp_path, Stop(BEFORE, number)))
    assert not diary[-1]["problems"]


@pytest.mark.timeout(graph.TEST_SECONDS)
@pytest.mark.parametrize("hours", [-50])
def test_a_clock_that_goes_back_loses_nothing(
    fresh: Fresh, tmp_path: Path, hours: float, diary: list[dict[str, object]]
) -> None:
    home = fresh.home(tmp_path)
    graph.call(home, "freshness:freshen", {}, 0, hours * 3600.0)
    graph.call(home, "freshness:freshen", {}, 1)
    diary.append({"fault": f"freshen, clock back {-hours} h", "problems": fresh.check(home)})
    assert not diary[-1]["problems"]
