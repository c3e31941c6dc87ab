"""What the machine does to ``thaw run``: full and read-only disks, too little memory, a wrong clock, two runs at once.

Disks are small tmpfs, mounted for the test, which needs the rights to mount; where they lack, those tests are skipped.
"""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import graph
from tests.faults.conftest import Undisturbed, temporary
from tests.faults.graph import Told
from tests.faults.plan import Stop

AMPLE = 400 << 20
LITTLE = 2 << 20
"""Free bytes of a disk that a run fills."""


class Disk:
    """A small file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._call("mount", "-t", "tmpfs", "-o", f"size={AMPLE}", "thaw-faults", str(folder))

    def change(self, options: str) -> None:
        self._call("mount", "-o", f"remount,{options}", str(self.folder))

    def leave_free(self, number: int) -> None:
        self.change(f"rw,size={shutil.disk_usage(self.folder).used + number}")

    def unmount(self) -> None:
        self._call("umount", "--lazy", str(self.folder))

    @staticmethod
    def _call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        made = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield made
    made.unmount()


def failed(home: Path) -> Told:
    told = graph.carry_out(home).told
    assert told is not None
    assert not told.success
    return told


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_a_disk_that_is_read_only_and_then_full(
    undisturbed: Undisturbed, disk: Disk, diary: list[dict[str, object]]
) -> None:
    home = disk.folder / "home"
    shutil.copytree(undisturbed.whole_home(), home)  # copied files count as changed: everything is made again
    disk.change("ro")
    read_only = graph.carry_out(home, beside=undisturbed.home.parent).told
    disk.leave_free(LITTLE)
    full = graph.carry_out(home, beside=undisturbed.home.parent).told
    disk.change(f"rw,size={AMPLE}")
    assert read_only is not None
    assert full is not None
    again = graph.carry_out(home).told
    assert again is not None
    problems = undisturbed.problems_of(home, again)
    diary.append({"fault": "read-only disk", "said": read_only.text[-600:], "problems": []})
    diary.append({"fault": "full disk", "said": full.text[-900:], "problems": problems})
    assert "Make it writable" in read_only.text
    assert "Free space where" in full.text
    assert not problems


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_a_first_run_on_a_full_disk(undisturbed: Undisturbed, disk: Disk, diary: list[dict[str, object]]) -> None:
    home = disk.folder / "home"
    disk.leave_free(2 * LITTLE)
    told = graph.carry_out(home, beside=undisturbed.home.parent).told
    disk.change(f"rw,size={AMPLE}")
    assert told is not None
    again = graph.carry_out(home).told
    assert again is not None
    problems = undisturbed.problems_of(home, again)
    diary.append({"fault": "full disk, first run", "said": told.text[-900:], "problems": problems})
    assert not told.success
    assert "Free space where" in told.text, told.text[-1500:]
    assert not problems


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_a_training_step_killed_for_its_memory(undisturbed: Undisturbed, diary: list[dict[str, object]]) -> None:
    """As the system does it: SIGKILL in the middle of an epoch."""
    home, step = undisturbed.whole_home(), f"training__{graph.NET}"
    graph.call(home, "unmaking:unmake", step, True)
    before = temporary(home)
    ended = graph.carry_out(home, Stop(step, seconds=undisturbed.seconds[step] / 2))
    again = graph.carry_out(home).told
    assert again is not None
    problems = undisturbed.problems_of(home, again)
    diary.append({"fault": "memory, killed", "signal": ended.signal, "said": again.text[:300], "problems": problems})
    assert not problems
    assert len(temporary(home) - before) <= 1
    assert ended.told is None
    assert ended.signal in {signal.SIGALRM, signal.SIGKILL}
    assert re.search(r"run \S+ had died: marked as failed", again.text)


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_a_clock_that_went_back_two_days(undisturbed: Undisturbed, diary: list[dict[str, object]]) -> None:
    home = undisturbed.whole_home()
    told = graph.carry_out(home, shift=-2 * 86_400.0).told
    assert told is not None
    problems = undisturbed.problems_of(home, told)
    again = graph.carry_out(undisturbed.whole_home()).told
    assert again is not None
    problems += undisturbed.problems_of(home, again)
    diary.append({"fault": "clock back 2 days", "made": len(told.made), "after": again.made, "problems": problems})
    assert not problems


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_two_runs_started_at_once(undisturbed: Undisturbed, tmp_path: Path, diary: list[dict[str, object]]) -> None:
    """Both end, the results are those of one."""
    home = tmp_path / "home"
    both = [graph.begin(home), graph.begin(home)]
    ended = [graph.finish(child).told for child in both]
    assert all(ended)
    problems = [f"it failed:\n{told.text}" for told in ended if told and not told.success]
    problems += undisturbed.problems_of(home, next(told for told in ended if told))
    diary.append(
        {"fault": "two runs at once", "made": [len(told.made) for told in ended if told], "problems": problems}
    )
    assert not problems
