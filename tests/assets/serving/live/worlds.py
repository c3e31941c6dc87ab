"""Datasets that scenarios start from, each made once, with the end that an undisturbed child comes to."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from assets.serving.live.build import renew
from assets.stream import load_tables
from tests.assets.serving.live.conftest import MODEL, SECOND
from tests.assets.serving.live.faults import carry_out, spread
from tests.assets.serving.live.logical import Logical
from tests.assets.serving.live.scenarios import prepare
from tests.assets.serving.live.streams import NOW, Served, stream_settings

EVERY_POINT = os.environ.get("THAW_EVERY_KILL") == "1"


@dataclass(frozen=True)
class World:
    """Where a scenario starts, the points that it passes, and the state that it ends in undisturbed."""

    name: str
    home: Path
    points: list[str]
    state: Logical

    def copy(self, home: Path) -> Path:
        """The dataset as it is before, under ``home``."""
        shutil.copytree(self.home, home)
        return home


def chosen(points: list[str], between: int, halves: int, inside: int) -> list[int]:
    """Points to try: all if THAW_EVERY_KILL says so, else some of each kind, evenly spread.

    Args:
        between: so many before or after something durable, or in the middle of a commit.
        halves: so many in the middle of a file.
        inside: so many inside a transaction.
    """
    if EVERY_POINT:
        return list(range(len(points)))
    kinds: dict[str, list[int]] = {"between": [], "halves": [], "inside": []}
    for number, point in enumerate(points):
        is_half = point.startswith("half of") and not point.endswith("commit")
        kinds["inside" if "_many " in point else "halves" if is_half else "between"].append(number)
    return sorted(spread(kinds["between"], between) + spread(kinds["halves"], halves) + spread(kinds["inside"], inside))


@pytest.fixture(scope="module")
def make_world(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], World]:
    """Worlds by name of the scenario; import this fixture where it is used."""
    served_home = tmp_path_factory.mktemp("served")
    shutil.copytree(trained_home / "data", served_home / "data")
    ruled = stream_settings(served_home)
    renew(ruled.storage, ruled, load_tables(ruled.storage), MODEL, 0, NOW - 100 * 3600 * SECOND)
    made: dict[str, World] = {}

    def world(name: str) -> World:
        home = tmp_path_factory.mktemp(name)
        shutil.copytree(served_home / "data", home / "data")
        settings = stream_settings(home)
        prepare(name, Served(settings.storage, settings))
        undisturbed = tmp_path_factory.mktemp(f"{name}-undisturbed")
        shutil.copytree(home, undisturbed, dirs_exist_ok=True)
        ended = carry_out(name, undisturbed)
        assert ended.state is not None
        return World(name, home, ended.points, ended.state)

    def once(name: str) -> World:
        if name not in made:
            made[name] = world(name)
        return made[name]

    return once
