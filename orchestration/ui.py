"""``thaw ui``: Dagster's web server, daemon and code server as one process group, ended as a whole.

A process started in the background of a shell without job control ignores SIGINT, and so do its children: Ctrl-C or
``kill`` would leave servers behind. So this process takes the signals itself, in whatever shell, hands one SIGINT to
the whole group, and after a few seconds kills what is left. Runs at work end with it, marked as failed; everything is
kept in ``.dagster/<dataset>/``, and the next start goes on from there.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Final

HOST: Final = "127.0.0.1"
GRACE_SECONDS: Final = 7.0
LOOK_SECONDS: Final = 0.2
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def command(port: int) -> list[str]:
    """What is started: web server and daemon on the project's definitions."""
    return [sys.executable, "-m", "dagster", "dev", "-m", "orchestration.definitions", "-h", HOST, "-p", str(port)]


def serve(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run ``arguments`` in a process group of its own until it ends or a signal ends this process.

    Returns:
        0 after a signal, else the exit code of what was run.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the system's
        asked.append(number)

    # Handlers, unlike ignored signals, are not inherited: the child starts with the system's defaults.
    former = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        child = subprocess.Popen(arguments, env=environment, start_new_session=True)
        try:
            while not asked and child.poll() is None:
                time.sleep(LOOK_SECONDS)
        finally:
            end_group(child)
        return 0 if asked else child.returncode
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def end_group(leader: subprocess.Popen[bytes], grace_seconds: float = GRACE_SECONDS) -> None:
    """End every process of the group that ``leader`` began: asked once, killed after ``grace_seconds``."""
    for number, seconds in ((signal.SIGINT, grace_seconds), (signal.SIGKILL, 2.0)):
        if not _send(leader.pid, number):
            break
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and _alive(leader):
            time.sleep(0.05)
        if not _alive(leader):
            break
    leader.wait()


def _send(group: int, number: int) -> bool:
    """Whether there was a process of the group to send the signal to."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _alive(leader: subprocess.Popen[bytes]) -> bool:
    leader.poll()  # takes the leader's exit code, so that it does not count as a process of its group
    return _send(leader.pid, 0)
