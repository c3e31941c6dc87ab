"""The undisturbed run that every other is held against, once per worker."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import graph
from tests.faults.graph import Told
from tests.faults.plan import counted

graph.preload()


@dataclass(frozen=True)
class Undisturbed:
    """One run of the whole graph on an empty home.

    Attributes:
        home: that tests may go on with, as long as they leave it finished.
        state: file of what it said at its end.
        seconds: step -> how long it took.
        points: step -> how many points it passes.
    """

    home: Path
    state: Path
    points: dict[str, int]
    seconds: dict[str, float]

    def whole_home(self) -> Path:
        """The home, made again where a test that failed took it away."""
        if not (self.home / "data").exists():
            made = graph.carry_out(self.home).told
            assert made is not None
            assert made.success, made.text
        return self.home

    def problems_of(self, home: Path, told: Told) -> list[str]:
        """What is not as it should be after a run; a home that is not finished is taken away."""
        problems = graph.call(home, "state:compare", self.state) if told.success else [f"it failed:\n{told.text}"]
        problems += graph.call(home, "state:leftovers")
        if problems:
            shutil.rmtree(home)
        return problems


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    told = graph.carry_out(home, look=True).told
    assert told is not None
    assert told.success, told.text
    assert graph.call(home, "state:leftovers") == []
    state = home.with_name("state")
    files, tables, vectors = graph.call(home, "state:keep", state)
    assert files > 30
    assert tables > 8
    assert vectors == graph.ITEMS
    took = re.findall(r"^done\s+(\S+)\s+([\d.]+) s", told.text, re.MULTILINE)
    return Undisturbed(home, state, counted(told.points), {step: float(found) for step, found in took})


@pytest.fixture
def diary(request: pytest.FixtureRequest) -> Iterator[list[dict[str, object]]]:
    """What was tried and what came of it; appended to the file that THAW_FAULTS_LOG names."""
    rows: list[dict[str, object]] = []
    yield rows
    if path := os.environ.get("THAW_FAULTS_LOG"):
        with Path(path).open("a", encoding="utf-8") as log:
            log.writelines(json.dumps({"test": request.node.name, **row}) + "\n" for row in rows)


def temporary(home: Path) -> set[str]:
    """Files in the home's folder for temporary files."""
    return {str(path.relative_to(home)) for path in (home / "tmp").rglob("*") if path.is_file()}
