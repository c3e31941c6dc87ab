"""Ray's start on a busy machine, against a stand-in: Ray itself is an extra."""

import sys
from types import ModuleType
from typing import Any

import pytest

from assets.training.distributed.ray_launch import SLOW, STARTS, start_ray


class StandIn(ModuleType):
    """Ray that fails to start as often as told, with a message."""

    def __init__(self, failures: int, message: str) -> None:
        super().__init__("ray")
        self.calls: list[str] = []
        self.failures, self.message = failures, message

    def is_initialized(self) -> bool:
        return self.calls[-1:] == ["started"]

    def init(self, **_: Any) -> None:
        if self.calls.count("failed") < self.failures:
            self.calls.append("failed")
            raise Exception(self.message)
        self.calls.append("started")

    def shutdown(self) -> None:
        self.calls.append("shut down")


def stand_in(patch: pytest.MonkeyPatch, failures: int, message: str) -> StandIn:
    made = StandIn(failures, message)
    patch.setitem(sys.modules, "ray", made)
    return made


def test_a_start_that_took_too_long_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(monkeypatch, STARTS - 1, f"The current node {SLOW}.")
    assert start_ray()
    assert ray.calls == ["failed", "shut down"] * (STARTS - 1) + ["started"]
    assert not start_ray(), "it runs"


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(monkeypatch, STARTS, f"The current node {SLOW}.")
    with pytest.raises(Exception, match=SLOW):
        start_ray()
    assert ray.calls == ["failed", "shut down"] * STARTS


def test_another_failure_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(monkeypatch, 1, "no such cluster")
    with pytest.raises(Exception, match="no such cluster"):
        start_ray()
    assert ray.calls == ["failed", "shut down"]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \.\[ray\]"):
        start_ray()
