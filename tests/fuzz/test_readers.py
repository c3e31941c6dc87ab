"""Every reader under two fuzzers, each in a process of its own (:mod:`tests.fuzz.child`); and that those find faults.

``THAW_FUZZ_CASES`` cases of each reader, half of them by each fuzzer; others with
another ``THAW_FUZZ_SEED``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras.needs import needs
from tests.fuzz.cases import CORPUS
from tests.fuzz.readers import READERS

CASES = int(os.environ.get("THAW_FUZZ_CASES", "2000"))
HALF = CASES - CASES // 2
SEED = int(os.environ.get("THAW_FUZZ_SEED", "1"))
SLOWEST = 0.25
"""Seconds of a case on a busy machine, at which a whole run is given up; one takes 3 to 10 ms."""
LONG = 300 + SLOWEST * CASES
REPORT = os.environ.get("THAW_FUZZ_REPORT")
"""File that a line per run is added to."""

pytestmark = pytest.mark.timeout(LONG + 60)
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    # Arenas and pools reserve address space, which is bounded.
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "PYTHONHASHSEED": "0",
}


def run(reader: str, by: str, work: Path, *more: str, module: str = "tests.fuzz.child") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, reader, by, "--work", str(work), *more],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        timeout=LONG,
        check=False,
    )


def said(ended: subprocess.CompletedProcess) -> str:
    """The last of what a child said; a case can be written out in one line of 69,000 characters."""
    return "\n".join(line[:300] for line in (ended.stdout + ended.stderr).splitlines())[-6000:]


def explore(reader: str, by: str, work: Path, cases: int, seed: int = SEED) -> dict[str, int]:
    ended = run(reader, by, work, "--cases", str(cases), "--seed", str(seed))
    kept = CORPUS / reader / "crash-<what>.case"
    assert ended.returncode == 0, (
        f"{reader} by {by}: status {ended.returncode}; the case is {work / 'last.case'}: mend the reader, keep it as"
        f" {kept}\n{said(ended)}"
    )
    told: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    if REPORT:
        with Path(REPORT).open("a", encoding="utf-8") as sink:
            sink.write(json.dumps({"reader": reader, "by": by, **told}) + "\n")
    return told


def test_the_corpus_is_read_or_refused(tmp_path: Path) -> None:
    ended = run("all", "corpus", tmp_path)
    assert ended.returncode == 0, f"{tmp_path / 'last.case'}\n{said(ended)}"
    told = {name: json.loads(line) for name, line in (each.split(" ", 1) for each in ended.stdout.splitlines())}
    made = {reader: len(list((CORPUS / reader).glob("made-*.case"))) for reader in READERS}
    assert all(made.values())
    assert [reader for reader in READERS if told[reader].get("read", 0) < made[reader]] == []
    assert {path.name for path in CORPUS.iterdir()} == set(READERS)


@pytest.mark.parametrize("reader", READERS)
def test_a_changed_layout_is_read_or_refused(reader: str, tmp_path: Path) -> None:
    told = explore(reader, "structure", tmp_path, HALF)
    assert told["cases"] >= HALF
    assert told.get("read", 0) >= HALF // 100, (
        "hardly a case came through: the changes are too wild to reach what is behind"
    )
    assert told.get("refused", 0) >= HALF // 100, "hardly a case was refused: the changes are too tame"


@pytest.mark.parametrize("reader", READERS)
def test_changed_bytes_are_read_or_refused(reader: str, tmp_path: Path) -> None:
    needs("atheris")
    told = explore(reader, "bytes", tmp_path, HALF)
    assert told["cases"] == HALF
    assert told.get("refused", 0)


def test_the_same_seed_gives_the_same_cases(tmp_path: Path) -> None:
    needs("atheris")
    last = {}
    for name, seed in {"one": 1, "again": 1, "other": 2}.items():
        explore("land-items", "bytes", tmp_path / name, 500, seed)
        last[name] = (tmp_path / name / "last.case").read_bytes()
    assert last["one"] == last["again"]  # the last case follows from all before it
    assert last["one"] != last["other"]
