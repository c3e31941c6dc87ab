"""One reader under one fuzzer, in a process of its own that may die, hang or run out of memory:

    python -m tests.fuzz.child READER structure|bytes|corpus [--cases N] [--seed S]

``structure`` changes the corpus' files where their layout has places (hypothesis, :mod:`tests.fuzz.mutations`);
``bytes`` lets libFuzzer change bytes, led by the branches that ingestion takes (atheris); ``corpus`` runs the seeds
alone. The last case of a run that fails, shrunk where hypothesis shrinks, is ``last.case`` in the folder ``--work``.
"""

import argparse
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

ALL: Final = "all"
CASE_SECONDS: Final = 10
"""Of a case's own work; on a machine whose cores others use it may take longer by the clock."""
WAITING: Final = 12
"""Times as long a case may take by the clock, where it waits instead of working."""
MEMORY: Final = 2 << 30
"""Bytes of address space on top of what the imports took. A case's files have kilobytes, and limits allow 64 MiB."""
WATCHED: Final = 100
"""Cases until the watchdog of calls in C is wound up again: that takes 3 ms, as long as a case."""
HANG_SECONDS: Final = 600
ROUND: Final = 5000
"""Cases of hypothesis in one go: it remembers what it drew."""
LONGEST: Final = 1 << 16


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.child", description=__doc__)
    parser.add_argument("reader", help="one of tests.fuzz.readers; all: of the corpus only")
    parser.add_argument("by", choices=["structure", "bytes", "corpus"])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path)
    return parser.parse_args(given)


def main() -> None:
    """Run what the command line says; exits with another status than 0 for a case that breaks a promise."""
    options = arguments()
    work = options.work or Path(tempfile.mkdtemp(prefix="thaw-fuzz-"))
    faulthandler.enable()
    pa.set_cpu_count(1)  # of files this small Arrow's threads only wait for each other
    if options.by == "corpus":
        by_corpus(options.reader, work)
    else:
        trial = _trial(options, work)
        bound_memory()
        started = time.process_time()
        run = {"structure": by_structure, "bytes": by_bytes}[options.by]
        run(trial, options, work, lambda cases: _told(trial, time.process_time() - started, cases))
    os._exit(0)  # C++ has been seen to end a process in which Arrow refused a file while its threads were taken down


def _trial(options: argparse.Namespace, work: Path) -> Any:
    """The readers are imported here: atheris has to see them being imported."""
    if options.by == "bytes":
        import atheris  # noqa: PLC0415 - an extra

        with atheris.instrument_imports(include=["assets.ingestion", "assets.config"], enable_loader_override=False):
            from tests.fuzz import readers  # noqa: PLC0415
    else:
        from tests.fuzz import readers  # noqa: PLC0415
    from tests.fuzz.trial import Trial  # noqa: PLC0415

    return Trial(readers.READERS[options.reader], work / "root")


def _told(trial: Any, seconds: float, cases: int) -> None:
    from tests.fuzz.trial import report  # noqa: PLC0415 - as the readers

    status = Path("/proc/self/status").read_text(encoding="ascii")  # getrusage would tell of the parent, too
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    sys.stdout.write(report(trial, seconds, peak, cases) + "\n")
    sys.stdout.flush()


def bound_memory(more: int = MEMORY) -> None:
    """Let this process have ``more`` bytes of address space than it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class CaseTimeoutError(BaseException):
    """A case took longer than it may; no ``except Exception`` of a reader takes it for a bad file."""


def timed(function: Callable[[], None], seconds: float = CASE_SECONDS) -> None:
    """Call ``function``, and end it where it does not come back.

    Raises:
        CaseTimeoutError: after ``seconds`` of this process's work, or :data:`WAITING` times as long by the clock, in
            Python code; see :func:`watched` for a call in C.
    """

    def over(number: int, frame: object) -> None:
        raise CaseTimeoutError(f"a case took more than {seconds} s of work, or {WAITING * seconds} s by the clock")

    limits = {signal.ITIMER_PROF: seconds, signal.ITIMER_REAL: WAITING * seconds}
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, over)
    for timer, limit in limits.items():
        signal.setitimer(timer, limit)
    try:
        function()
    finally:
        for timer in limits:
            signal.setitimer(timer, 0)


def watched(done: int) -> None:
    """End this process with a traceback where a call in C does not come back for ten minutes."""
    if done % WATCHED == 0:
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)


def _kept(work: Path, case: Any) -> None:
    """The case is on disk before it is read: it may be the last one."""
    from tests.fuzz.cases import framed  # noqa: PLC0415 - as the readers
    from tests.fuzz.trial import saved  # noqa: PLC0415

    saved(work, framed(case))


def by_corpus(name: str, work: Path) -> None:
    """The seeds of a reader as they are, or of all of them; a line of JSON for each reader, after its name."""
    from tests.fuzz.cases import seeds_of  # noqa: PLC0415 - as the readers
    from tests.fuzz.readers import READERS  # noqa: PLC0415
    from tests.fuzz.trial import Trial  # noqa: PLC0415

    bound_memory()
    for reader in READERS.values() if name == ALL else [READERS[name]]:
        trial, started = Trial(reader, work / reader.name), time.process_time()
        seeds = seeds_of(reader.name, reader.names)
        for case in seeds:
            _kept(work, case)
            timed(lambda trial=trial, case=case: trial(case))
        sys.stdout.write(f"{reader.name} ")
        _told(trial, time.process_time() - started, len(seeds))


def by_structure(trial: Any, options: argparse.Namespace, work: Path, told: Callable[[int], None]) -> None:
    """Changes of the corpus by hypothesis."""
    import hypothesis  # noqa: PLC0415 - not for the others

    from tests.fuzz.cases import seeds_of  # noqa: PLC0415
    from tests.fuzz.mutations import mutated  # noqa: PLC0415

    seeds, done = seeds_of(trial.reader.name, trial.reader.names), 0

    def one(case: Any) -> None:
        nonlocal done
        watched(done)
        done += 1
        _kept(work, case)
        timed(lambda: trial(case))

    for number, start in enumerate(range(0, options.cases, ROUND)):
        settings = hypothesis.settings(
            max_examples=min(ROUND, options.cases - start),
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            report_multiple_bugs=False,
        )
        hypothesis.seed(options.seed * 100_000 + number)(settings(hypothesis.given(mutated(seeds))(one)))()
    told(done)


def by_bytes(trial: Any, options: argparse.Namespace, work: Path, told: Callable[[int], None]) -> None:
    """Changes of the corpus by libFuzzer; it ends the process itself."""
    import atheris  # noqa: PLC0415 - an extra

    from tests.fuzz.cases import CORPUS, unframed  # noqa: PLC0415
    from tests.fuzz.tokens import dictionary  # noqa: PLC0415
    from tests.fuzz.trial import saved  # noqa: PLC0415

    seeds = sorted((CORPUS / trial.reader.name).glob("*.case"))
    work.mkdir(parents=True, exist_ok=True)
    (work / "tokens.dict").write_text(dictionary(), encoding="ascii")
    done = 0

    def one(data: bytes) -> None:
        nonlocal done
        saved(work, data)
        trial(unframed(data, trial.reader.names))
        done += 1
        if done == options.cases:
            told(done)
            os._exit(0)

    flags = {
        "seed": options.seed,
        "runs": -1,
        "max_len": LONGEST,
        "timeout": WAITING * CASE_SECONDS,
        "rss_limit_mb": 0,  # the address space is bounded instead
        "dict": work / "tokens.dict",
        "artifact_prefix": f"{work}/",
        # Named one by one: of a folder the file system gives the order, and libFuzzer reads it again every second.
        "seed_inputs": ",".join(map(str, seeds)),
        "verbosity": 0,
        "print_final_stats": 0,
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in flags.items())], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
