"""The fuzzers find what they are there for: each broken promise, made on purpose, ends a run."""

import ctypes
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.ingestion.errors import IngestionError
from tests.fuzz import child
from tests.fuzz.cases import framed, packed, unframed
from tests.fuzz.columns import COLUMNS, SCALE, Change
from tests.fuzz.mutations import BYTES, FILES, LINES, changed
from tests.fuzz.readers import Reader
from tests.fuzz.seeds import made
from tests.fuzz.tokens import TOKENS
from tests.fuzz.trial import BrokenPromiseError, Trial

CASE = {"a.csv": b"user_id,item_id,timestamp\nu1,i1,2024-05-01T00:00:00Z\n"}


def _reader(act: Callable[[Path], str]) -> Reader:
    return Reader("made", ("a.csv",), lambda root: lambda: act(root), (IngestionError,), "in")


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


def _refuse_late(root: Path) -> str:
    _write(root / "data" / "raw" / "items.parquet")
    raise IngestionError("a.csv: is bad")


def _leave_half(root: Path) -> str:
    _write(root / "data" / "raw" / "items.partial-1-2.parquet")
    return "read"


def _be_vague(root: Path) -> str:
    raise IngestionError("something is wrong")


def _be_surprised(root: Path) -> str:
    raise KeyError("asin")


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (_refuse_late, BrokenPromiseError, "left something"),
        (_leave_half, BrokenPromiseError, "half-written"),
        (_be_vague, BrokenPromiseError, "names none of the files"),
        (_be_surprised, KeyError, "asin"),
    ],
)
def test_a_broken_promise_is_found(tmp_path: Path, act, error, words) -> None:
    with pytest.raises(error, match=words):
        Trial(_reader(act), tmp_path)(CASE)


def test_a_refusal_that_leaves_nothing_is_fine(tmp_path: Path) -> None:
    def refuse(root: Path) -> str:
        raise IngestionError("a.csv: is bad")

    trial = Trial(_reader(refuse), tmp_path)
    trial(CASE)
    assert trial.outcomes == {"refused": 1}
    assert (tmp_path / "in" / "a.csv").read_bytes() == CASE["a.csv"]


def test_a_hang_is_ended() -> None:
    def hang() -> None:
        try:
            time.sleep(60)
        except Exception:  # what a reader might do
            time.sleep(60)

    with pytest.raises(child.CaseTimeoutError):
        child.timed(hang, 0.02)


def test_work_without_end_is_ended() -> None:
    def work() -> None:
        while True:
            pass

    started = time.process_time()
    with pytest.raises(child.CaseTimeoutError):
        child.timed(work, 0.2)
    assert time.process_time() - started > 0.1  # the system counts work in ticks


def test_a_case_in_time_leaves_no_timer() -> None:
    child.timed(lambda: None, 0.2)
    assert signal.getitimer(signal.ITIMER_REAL) == signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def _status(act: Callable[[], object]) -> int:
    """How a process ends that does ``act``."""
    pid = os.fork()
    if not pid:
        try:
            faulthandler.disable()  # pytest has it on
            child.bound_memory(256 << 20)
            act()
        except MemoryError:
            os._exit(9)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_memory_without_end_is_refused_and_a_crash_is_seen() -> None:
    assert os.waitstatus_to_exitcode(_status(lambda: bytearray(1 << 30))) == 9
    assert os.waitstatus_to_exitcode(_status(lambda: bytearray(1 << 20))) == 0
    assert os.waitstatus_to_exitcode(_status(lambda: ctypes.string_at(0))) < 0


def test_a_case_is_what_its_file_says() -> None:
    case = {"b.csv": b"", "a.csv": b"x\n\n%%%%\n"}
    assert unframed(framed(case), ("a.csv", "b.csv")) == case
    assert unframed(framed(case), ("a.csv",)) == {"a.csv": b"x\n\n%%%%\n"}
    assert unframed(b"\xff\x00", ("a.csv",)) == {}


def test_the_corpus_is_what_the_seeds_make() -> None:
    from tests.fuzz.cases import CORPUS  # noqa: PLC0415 - beside its use

    wanted = {CORPUS / reader / f"made-{name}.case": framed(case) for reader, name, case in made()}
    assert set(CORPUS.glob("*/made-*.case")) == set(wanted)
    parquet = {path for path in wanted if b"PAR1" in wanted[path]}  # its bytes name the version of Arrow
    assert not [path for path in set(wanted) - parquet if path.read_bytes() != wanted[path]]


@pytest.mark.parametrize("kind", [*BYTES, *LINES, *COLUMNS, *FILES])
def test_every_change_changes_something(kind: str) -> None:
    seeds = [case for reader, _, case in made() if reader in {"files", "amazon-games"}]
    places = [0, SCALE // 3, SCALE // 2, SCALE - 1]
    tried = [
        (case, changed(case, [Change(kind, file, at, other, TOKENS[at % len(TOKENS)])]))
        for case in seeds
        for file in range(2)
        for at in places
        for other in places
    ]
    assert any(before != after for before, after in tried)


def test_content_is_packed_once() -> None:
    assert packed("a.csv", b"x") == b"x"
    once = packed("a.csv.gz", b"x")
    assert once.startswith(b"\x1f\x8b")
    assert packed("a.csv.gz", once) == once
