"""The same run on another number of processor cores, and what its home says byte by byte; functions of children."""

import os
import re
from pathlib import Path

from assets.storage import file_digest
from tests.faults.graph import NET, Told, run, tiny_settings

MAY_DIFFER = (
    ("locks", r".*\.lock"),
    ("pages: instants and random names in them", r"dashboards/.*|quality/index\.html"),
    ("instants beside the results of checks", r"quality/results/.*\.json"),
    ("dbt's logs and compiled SQL: instants, and where the home lies", r"dbt/.*"),
    ("DuckDB's file: the order of its pages; its rows are the same", r"warehouse\.duckdb"),
    ("when each step was made, and when its files were", r"made/.*\.json"),
    ("Evidently's sums over sets: the last bit of a score", r"monitoring/drift\.parquet"),
    ("digests of Evidently's pages", r"monitoring/evidently-digests\.json"),
    ("the name of the generation, which is an instant", r"live/current\.json|champion/record\.jsonl"),
    ("instants in the live store", r"live/generations/<name>/(generation\.json|(store|snapshots)/.*)"),
)  # fmt: skip
"""(why, path below the data root) of files that two equal runs write differently. docs/reproducibility.md says it."""


def run_on(home: Path, cores: int, threads: int) -> Told:
    """``thaw run`` on the first ``cores`` cores of this process, with ``threads`` threads of torch and FAISS."""
    import faiss  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import torch  # noqa: PLC0415

    allowed = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, allowed)  # DuckDB's threads, dbt's process too, are as many
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    pa.set_cpu_count(len(allowed))
    return run(home, {}, False)


def digests(home: Path) -> dict[str, str]:
    """Every file of the data root but those of :data:`MAY_DIFFER`, generations' names left out -> SHA-256."""
    base = tiny_settings(home).storage.base
    names = {_unnamed(path.relative_to(base).as_posix()): path for path in base.rglob("*") if path.is_file()}
    return {name: file_digest(path) for name, path in names.items() if not may_differ(name)}


def _unnamed(name: str) -> str:
    return re.sub(r"^live/generations/[^/]+/", "live/generations/<name>/", name)


def may_differ(name: str) -> bool:
    """Whether two equal runs may write a file of that path differently."""
    return any(re.fullmatch(pattern, name) for _, pattern in MAY_DIFFER)


def released(home: Path, out: Path) -> str:
    """Release the net."""
    from assets.evaluation.releases.release import write_release  # noqa: PLC0415

    return write_release(tiny_settings(home), NET, out).checkpoint


def verified(home: Path, folder: Path, threads: int) -> tuple[str, list[str]]:
    """The verdict on a release, and what was found, with ``threads`` threads of torch."""
    import torch  # noqa: PLC0415

    from assets.evaluation.releases.record import CHECKPOINT, read_release  # noqa: PLC0415
    from assets.evaluation.releases.verify import verdict_of, verify  # noqa: PLC0415

    torch.set_num_threads(threads)
    findings = verify(read_release(folder), folder / CHECKPOINT, tiny_settings(home).storage)
    return verdict_of(findings).name, [found.text for found in findings]
