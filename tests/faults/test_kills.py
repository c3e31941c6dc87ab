"""``thaw run`` killed by SIGKILL, anywhere in any step: the next one ends as if nothing had been.

THAW_KILLS kills (20 by default), THAW_KILLS_FROM the number of the first. Kill number *n* is the same every time: a
step, in turn, a point within it, and whether the home is empty, finished, or finished but for what the step writes.
Kills that start from a finished home follow each other on it, so what one leaves behind meets the next.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults import graph
from tests.faults.conftest import Undisturbed, temporary
from tests.faults.plan import BEFORE, Kill, kills

KILLS = int(os.environ.get("THAW_KILLS", "20"))
FIRST = int(os.environ.get("THAW_KILLS_FROM", "0"))

SEPARATE = ("dbt_models",)
"""Steps whose work is a process of its own: killed by the clock, which also leaves that process without a parent."""

LEFT = 8
"""Unfinished files that a kill may leave in the data folder; the export of tables writes that many at once."""

ORPHANS = 8
"""Temporary files that a kill may leave in TMPDIR, which the system clears."""


def planned(undisturbed: Undisturbed, seed: int) -> Kill:
    timed = {step: undisturbed.seconds[step] for step in SEPARATE}
    points = {step: count for step, count in undisturbed.points.items() if step not in timed}
    return kills(seed + 1, points, timed)[seed]


def prepare(home: Path, kill: Kill) -> None:
    """Make the next run pass the step, on a home that is finished or empty."""
    if home.exists() and not kill.from_nothing:
        graph.call(home, "unmaking:unmake", kill.stop.step, kill.without_output)


def survives(home: Path, kill: Kill, undisturbed: Undisturbed) -> dict[str, Any]:
    """Kill, run again, and say what is not as it should be."""
    before = temporary(home)
    killed = graph.carry_out(home, kill.stop)
    row: dict[str, Any] = {"kill": str(kill), "signal": killed.signal, "left": unfinished(home)}
    again = graph.carry_out(home)
    assert again.told is not None
    row["problems"] = undisturbed.problems_of(home, again.told)
    if killed.signal not in {signal.SIGKILL, signal.SIGALRM}:
        row["problems"].append("was not killed")
    row["orphans"] = sorted(temporary(home) - before)
    return row


def unfinished(home: Path) -> int:
    """How many unfinished files a kill left in the data folder."""
    return sum(1 for _ in (home / "data").rglob("*.partial-*"))


@pytest.mark.timeout(graph.TEST_SECONDS)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + KILLS))
def test_killed_anywhere_the_next_run_ends_as_if_nothing_had_been(
    undisturbed: Undisturbed, tmp_path: Path, seed: int, diary: list[dict[str, object]]
) -> None:
    kill = planned(undisturbed, seed)
    home = tmp_path / "home" if kill.from_nothing else undisturbed.whole_home()
    prepare(home, kill)
    row = survives(home, kill, undisturbed)
    diary.append(row)
    if kill.from_nothing:
        shutil.rmtree(home, ignore_errors=True)
    assert not row["problems"]
    assert row["left"] <= LEFT
    assert len(row["orphans"]) <= ORPHANS


def test_every_step_is_killed_sooner_or_later(undisturbed: Undisturbed) -> None:
    points = undisturbed.points
    steps = {BEFORE, *undisturbed.seconds, *points}
    assert len(points) >= 30
    assert {kill.stop.step for kill in kills(len(steps), points, {})} == set(points)
    assert [str(kill) for kill in kills(9, points, {})] == [str(kill) for kill in kills(20, points, {})][:9]
