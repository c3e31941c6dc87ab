"""Two runs of the whole graph in fresh homes: the same bytes but where it is said that and why they differ.

The second run has another number of cores: one of the machine's for DuckDB and Arrow, two threads for torch and FAISS.
Kills, which are held against the undisturbed run, show the same for one number of cores many times over.
"""

import shutil
from pathlib import Path

import pytest

from tests.faults import graph
from tests.faults.conftest import Undisturbed

RESULTS = ("raw/", "tables/", "checkpoints/", "evaluation/", "live/generations/<name>/checkpoint/")


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_the_same_settings_give_the_same_bytes_on_any_number_of_cores(undisturbed: Undisturbed, tmp_path: Path) -> None:
    first, second = undisturbed.whole_home(), tmp_path / "second"
    release = tmp_path / "release"
    checkpoint = graph.call(first, "cores:released", release)

    told = graph.call(second, "cores:run_on", 1, 2)
    assert told.success, told.text
    wanted, found = graph.call(first, "cores:digests"), graph.call(second, "cores:digests")
    assert all(any(name.startswith(place) for name in wanted) for place in RESULTS)
    assert {name for name in {*wanted, *found} if wanted.get(name) != found.get(name)} == set()
    assert undisturbed.problems_of(second, told) == []  # rows of the warehouse, what the index finds, figures

    # Released in one home, verified in the other: tables made anew are the ones it was judged on.
    verdict, said = graph.call(second, "cores:verified", release, 2)
    assert verdict == "SAME", said
    assert any(checkpoint[:12] in line for line in said)
    assert any("to the last bit" in line for line in said), said


@pytest.mark.timeout(graph.TEST_SECONDS)
def test_what_is_compared_sees_one_byte(undisturbed: Undisturbed, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(undisturbed.whole_home(), home)
    wanted = graph.call(home, "cores:digests")
    weights = next((home / "data" / "simulated" / "checkpoints" / graph.NET).rglob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    (home / "data" / "simulated" / "tables" / "more.parquet").write_bytes(b"")
    found = graph.call(home, "cores:digests")
    names = {name for name in {*wanted, *found} if wanted.get(name) != found.get(name)}
    assert names == {weights.relative_to(home / "data" / "simulated").as_posix(), "tables/more.parquet"}
