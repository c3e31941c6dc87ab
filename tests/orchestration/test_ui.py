"""``thaw ui`` ends as a whole: whichever signal, also started in the background of a shell without job control."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assets.config import PROJECT_ROOT
from orchestration.ui import GRACE_SECONDS

PATIENCE = 40
"""Seconds for a busy machine; what is not ended goes on for a minute."""

GROUP = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", {child!r}]) for _ in range(2)]
print(*(child.pid for child in children), flush=True)
time.sleep(60)
"""
POLITE = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
SERVE = "import sys; from orchestration.ui import serve; sys.exit(serve([sys.executable, '-c', sys.argv[1]]))"


def running(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def started(child: str, prefix: str = "exec") -> tuple[subprocess.Popen[str], list[int]]:
    """A ``serve`` of a small group in a shell without job control, and the ids of the group's children."""
    script = f'{prefix} "$0" -c "$1" "$2"'
    server = subprocess.Popen(
        ["/bin/sh", "-c", script, sys.executable, SERVE, GROUP.format(child=child)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
    )
    assert server.stdout is not None
    return server, [int(pid) for pid in server.stdout.readline().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_whole_group(number: signal.Signals) -> None:
    server, children = started(POLITE)
    assert all(map(running, children))
    server.send_signal(number)
    assert server.wait(PATIENCE) == 0
    assert not any(map(running, children))


def test_what_ignores_the_signal_is_killed_within_ten_seconds() -> None:
    server, children = started(DEAF)
    server.terminate()
    assert server.wait(PATIENCE) == 0
    assert GRACE_SECONDS + 2 < 10  # measured, it would be the machine's time too
    assert not any(map(running, children))


def test_it_hears_signals_in_the_background_of_a_shell_without_job_control(tmp_path: Path) -> None:
    # Such a shell starts `command &` with SIGINT ignored, and ignored signals are inherited.
    script = '"$0" -c "$1" "$2" & echo $!; wait $!; echo "ended $?"'
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script, sys.executable, SERVE, GROUP.format(child=POLITE)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
    )
    assert shell.stdout is not None
    server = int(shell.stdout.readline())
    children = [int(pid) for pid in shell.stdout.readline().split()]
    os.kill(server, signal.SIGINT)
    assert shell.communicate(timeout=PATIENCE)[0].strip() == "ended 0"
    assert not any(map(running, children))


def test_the_exit_code_of_what_ended_by_itself_is_told() -> None:
    ended = subprocess.run([sys.executable, "-c", SERVE, "raise SystemExit(3)"], cwd=PROJECT_ROOT, check=False)
    assert ended.returncode == 3
