"""Each thread is told how its own child ended, and why."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests.assets.serving.live.children import Child

THREADS, ROUNDS = 4, 3


def same(value: int) -> int:
    return value


def fail(why: str) -> None:
    raise RuntimeError(why)


def stop(then: int) -> str:
    """Stop; when told to go on, end by the signal ``then``."""
    os.kill(os.getpid(), signal.SIGSTOP)
    if then:
        os.kill(os.getpid(), then)
    return "went on"


def vanish() -> None:
    os._exit(3)


def test_a_thread_is_told_how_its_child_ended_while_another_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading how a child ended is made long enough for anybody to come between; whoever does is told 255."""
    read, reading = forkserver.read_signed, threading.Lock()

    def read_late(descriptor: int) -> int:
        assert reading.acquire(blocking=False), "two threads ask at once"
        time.sleep(0.02)
        reading.release()
        return read(descriptor)

    monkeypatch.setattr(forkserver, "read_signed", read_late)

    def several(thread: int) -> list[tuple[int, int]]:
        children = (Child(f"{thread}-{number}", tmp_path, same, number) for number in range(ROUNDS))
        return [(child.end(), child.returned()) for child in children]

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(several, range(THREADS))) == [[(0, number) for number in range(ROUNDS)]] * THREADS


def test_an_error_is_told_with_its_traceback(tmp_path: Path) -> None:
    child = Child("first", tmp_path, fail, "the disk is full")
    with pytest.raises(AssertionError, match=r"first in .* ended with exit code 1:\nTraceback(.|\n)*the disk is full"):
        child.end()


def test_an_end_without_an_exception_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with exit code 3, without a traceback"):
        Child("first", tmp_path, vanish).end()


def test_a_child_that_stopped_goes_on(tmp_path: Path) -> None:
    child = Child("first", tmp_path, stop, 0)
    child.await_stop()
    assert not child.ended(0)
    child.go_on()
    assert child.end() == 0
    assert child.returned() == "went on"


def test_the_signal_that_ended_a_child_is_told(tmp_path: Path) -> None:
    child = Child("first", tmp_path, stop, signal.SIGKILL)
    child.await_stop()
    child.go_on()
    assert child.end() == signal.SIGKILL


def test_a_child_that_ends_where_it_was_to_stop_says_why(tmp_path: Path) -> None:
    child = Child("first", tmp_path, fail, "the disk is full")
    with pytest.raises(AssertionError, match=r"first .* was to stop; it ended with 1:(.|\n)*the disk is full"):
        child.await_stop()


def test_a_child_that_neither_stops_nor_ends_is_given_up(tmp_path: Path) -> None:
    child = Child("first", tmp_path, time.sleep, 60)
    with pytest.raises(AssertionError, match="neither stopped nor ended within 0 s"):
        child.await_stop(seconds=0)
    with pytest.raises(AssertionError, match=r"first in .* did not end within 0.1 s"):
        child.end(seconds=0.1)
    assert child.end() == signal.SIGKILL
