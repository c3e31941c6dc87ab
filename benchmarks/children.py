"""Processes that a benchmark starts and stops: each with a group of its own, so that none of its children stays."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from assets.config import PROJECT_ROOT

GRACE_SECONDS: Final = 10.0
"""That a group has to end after each signal, before the next one, which is ruder."""

LOOK_SECONDS: Final = 0.2
TAIL: Final = 2000
"""Characters of a child's output that an error quotes."""


class ChildError(RuntimeError):
    """A child ended, or did not answer in time; the message quotes the end of its output."""


@contextmanager
def child(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, url: str, seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python arguments`` until the block ends; the block begins when ``url`` answers with status 200.

    Args:
        environment: variables beside this process's own.
        log: file for what it prints.
        seconds: that it has to answer.

    Raises:
        ChildError: when it ends or does not answer.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT_ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_answering(process, url, seconds, log)
            yield process
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask every process of the child's group to end, and kill what has not.

    ``dagster dev`` may have been told to ignore the first signal (a shell without a terminal starts jobs so), and its
    own children outlive it: that is why the whole group gets both.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        _wait_until_gone(process, GRACE_SECONDS)
    process.wait()


def free_port() -> int:
    """A port on the loopback address that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _wait_until_answering(process: subprocess.Popen[bytes], url: str, seconds: float, log: Path) -> None:
    until = time.monotonic() + seconds
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > until:
            how = f"ended with status {process.returncode}" if process.returncode is not None else "does not answer"
            raise ChildError(f"{url}: {process.args!r} {how}:\n{_tail(log)}")
        time.sleep(LOOK_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait_until_gone(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until the whole group is gone, for at most ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(LOOK_SECONDS)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
