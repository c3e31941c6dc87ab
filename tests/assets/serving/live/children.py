"""Child processes that several threads start and wait for, each its own; what they returned, or why they failed.

They are forked from a server that has imported everything and run nothing, which takes milliseconds and is safe: no
thread of OpenMP exists there.

:mod:`multiprocessing` is not made for several threads. The server tells how a child ended once, through a pipe, and
whoever starts a child asks after all the others first: of two threads that ask after the same child at that moment, one
reads the end of the pipe and takes it for exit code 255, whatever the child did. So one thread asks at a time.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

_ASKING = threading.Lock()
"""Held by whoever asks after children, and so by whoever starts one; never while waiting for one to end."""

_TICK = 0.005
"""Seconds between two looks at whether a child has stopped."""

_PRELOADED = ["tests.assets.serving.live.faults", "pytest"]
"""What the server imports: there is one, whoever starts the first child."""


def _carry_out(function: Callable[..., Any], args: tuple[Any, ...], returned: Path, failed: Path) -> None:
    try:
        returned.write_bytes(pickle.dumps(function(*args)))
    except BaseException:
        failed.write_text(traceback.format_exc(), encoding="utf-8")
        raise


class Child:
    """A process that carries out one function."""

    def __init__(self, name: str, home: Path, function: Callable[..., Any], *args: Any) -> None:
        """Start it.

        Args:
            name: that errors call it by.
            home: folder for what it leaves; a child of that name left nothing there before.
            function: of a module; what it returns must be fit to be pickled.
        """
        self.name, self.home = name, home
        self._returned, self._failed = home / f"{name}.returned", home / f"{name}.failed"
        target = (function, args, self._returned, self._failed)
        with _ASKING:
            self._process = _server().Process(target=_carry_out, args=target, name=name)
            self._process.start()

    def ended(self, seconds: float | None) -> bool:
        """Whether it ends within ``seconds``; ``None`` waits until it does."""
        return bool(wait([self._process.sentinel], seconds))

    def await_stop(self, seconds: float = 60) -> None:
        """Wait until it, told SIGSTOP, has stopped.

        Raises:
            AssertionError: when it ended instead, or did neither.
        """
        end = time.monotonic() + seconds
        while not self.ended(_TICK):
            if _status(self._process.pid) == "T":
                return
            assert time.monotonic() < end, f"{self._called} neither stopped nor ended within {seconds} s"
        raise AssertionError(f"{self._called} was to stop; it ended with {self._code()}{self._reason()}")

    def go_on(self) -> None:
        """Let it go on after a stop."""
        os.kill(self._process.pid, signal.SIGCONT)  # type: ignore[arg-type]

    def end(self, seconds: float = 120) -> int:
        """The signal that ended it; 0 where the function returned.

        Raises:
            AssertionError: when it ended with an error, whose traceback is told, or not at all.
        """
        if not self.ended(seconds):
            self.kill()
            raise AssertionError(f"{self._called} did not end within {seconds} s")
        code = self._code()
        assert code <= 0, f"{self._called} ended with exit code {code}{self._reason()}"
        return -code

    def returned(self) -> Any:
        """What the function returned."""
        return pickle.loads(self._returned.read_bytes())

    def kill(self) -> None:
        """End it, if it has not ended, and wait for that."""
        if not self.ended(0):
            self._process.kill()
        self._code()

    @property
    def _called(self) -> str:
        return f"{self.name} in {self.home}"

    def _code(self) -> int:
        """Its exit code, once it has ended."""
        self.ended(None)
        with _ASKING:
            self._process.join()
            code = self._process.exitcode
        assert code is not None
        return code

    def _reason(self) -> str:
        return f":\n{self._failed.read_text(encoding='utf-8')}" if self._failed.exists() else ", without a traceback"


def _server() -> Any:
    """The context that children are started in."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _status(pid: int | None) -> str | None:
    """The letter that the system gives to what a process does; ``None`` where it is gone."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):  # the latter where it goes between opening and reading
        return None
    return content.rpartition(")")[2].split()[0]
