"""What a finished home says, without the clock: two histories that should end alike do here."""

import hashlib
import json
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow.parquet as pq

from assets.config import Settings
from assets.storage import Storage, file_digest
from orchestration.home import open_instance
from orchestration.slots import UNFINISHED
from tests.assets.serving.live.logical import Logical, logical_state, unlike
from tests.faults.graph import USERS, tiny_settings

ASKING = [f"user-{number:03}" for number in range(1, USERS, 12)]

SAME_BYTES = ("raw", "tables", "evaluation", "checkpoints")
"""Folders of a dataset whose files are the same bytes whenever they are made of the same rows."""

SAME_VALUES = ("quality/results", "monitoring/drift.parquet", "monitoring/verdicts.parquet")
"""Files that hold instants, or figures that differ by 1e-16 with the seed of Python's hashes (Evidently's sums)."""

CLOCKED_KEYS = ("seconds", "started_at", "written_at")
DIGITS = 12

CACHED = re.compile(r"^(tmp/|.*/dbt/|\.dagster/.*/(storage|history|schedules)/)")
"""Places that hold no result: logs, dbt's own caches, Dagster's databases."""


@dataclass(frozen=True)
class State:
    """Of a home.

    Attributes:
        files: path -> digest of what it says.
        pages: paths of what people read, whose bytes hold instants and random names.
        served: the index and the store behind it: features, vectors, every item's score for some users.
        warehouse: model -> digest of its rows, in an order of their own.
    """

    files: dict[str, str]
    pages: list[str]
    served: Logical
    warehouse: dict[str, str]


def state_of(home: Path) -> State:
    """The state of a finished home; a function of a child."""
    settings = tiny_settings(home)
    base = settings.storage.base
    files = {str(path.relative_to(base)): file_digest(path) for path in _files(base, SAME_BYTES)}
    files |= {str(path.relative_to(base)): digest_of(path) for path in _files(base, SAME_VALUES)}
    return State(
        files,
        sorted({_unnamed(path.relative_to(base)) for path in _pages(settings.storage)}),
        logical_state(settings.storage, ASKING),
        _warehouse(settings.storage),
    )


def keep(home: Path, path: Path) -> tuple[int, int, int]:
    """Write the state to ``path``; how many files, models of the warehouse and vectors it holds."""
    state = state_of(home)
    path.write_bytes(pickle.dumps(state))
    return len(state.files), len(state.warehouse), len(state.served.vectors)


def compare(home: Path, path: Path) -> list[str]:
    """In words, where the state of a finished home differs from the one in ``path``."""
    return differences(pickle.loads(path.read_bytes()), state_of(home))


def differences(wanted: State, found: State) -> list[str]:
    """In words, where two states differ."""
    names = sorted({*wanted.files, *found.files})
    odd = [name for name in names if wanted.files.get(name) != found.files.get(name)]
    lines = [f"{name}: {_which(wanted.files, found.files, name)}" for name in odd]
    lines += [f"page {name} is only in one" for name in sorted(set(wanted.pages) ^ set(found.pages))]
    tables = {*wanted.warehouse, *found.warehouse}
    lines += [f"warehouse {name}" for name in tables if wanted.warehouse.get(name) != found.warehouse.get(name)]
    return lines + unlike(wanted.served, found.served)


def _which(wanted: dict[str, str], found: dict[str, str], name: str) -> str:
    if name in wanted and name in found:
        return "says something else"
    return "is missing" if name in wanted else "should not be there"


def _files(base: Path, places: Iterable[str]) -> list[Path]:
    held = [path for name in places for path in [base / name, *(base / name).rglob("*")]]
    return [path for path in held if path.is_file() and path.suffix != ".lock"]


def digest_of(path: Path) -> str:
    """Of a file's content, instants and last digits apart."""
    if path.suffix == ".parquet":
        return _digest(pq.read_table(path, partitioning=None).to_pandas().round(DIGITS).to_json())
    return _digest(json.dumps(_unclocked(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unclocked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unclocked(held) for key, held in value.items() if key not in CLOCKED_KEYS}
    return [_unclocked(held) for held in value] if isinstance(value, list) else value


def _pages(storage: Storage) -> Iterable[Path]:
    return [path for folder in (storage.dashboards, storage.quality) for path in folder.rglob("*") if path.is_file()]


def _unnamed(path: Path) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", str(path))


def _warehouse(storage: Storage) -> dict[str, str]:
    with duckdb.connect(storage.warehouse, read_only=True) as connection:
        names = [row[0] for row in connection.execute("select table_name from information_schema.tables").fetchall()]
        query = "select bit_xor(hash(t)), count(*) from {} t"
        return {name: str(connection.execute(query.format(f'"{name}"')).fetchone()) for name in sorted(names)}


def leftovers(home: Path) -> list[str]:
    """What a finished home should not hold: unfinished files, other temporary ones, runs and slots that never end."""
    settings = tiny_settings(home)
    found = [_path(path, home) for path in home.rglob("*") if ".partial-" in path.name or _is_temporary(path, home)]
    return sorted(found) + _held(settings)


def _is_temporary(path: Path, home: Path) -> bool:
    name = _path(path, home)
    return path.is_file() and not CACHED.match(name) and bool(re.search(r"(^|/)(tmp[^/]*|.*\.tmp|.*\.wal)$", name))


def _path(path: Path, home: Path) -> str:
    return str(path.relative_to(home))


def _held(settings: Settings) -> list[str]:
    with open_instance(settings) as instance:
        unfinished = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
        slots = instance.event_log_storage.get_concurrency_run_ids()
    return [f"run {run.run_id} is {run.status.value}" for run in unfinished] + [f"slot of {run}" for run in slots]
