"""A simulated dataset as a folder of Parquet files, written as it is made: of any length in the same memory.

``interactions-00000.parquet`` and so on, in order of time; ``items.parquet``; ``users.parquet``; and
``simulation.json`` with the options, rows and SHA-256 of every file. The columns are those that the dataset ``files``
reads.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.ingestion.adapter import AdapterOptions
from assets.ingestion.errors import IngestionError
from assets.ingestion.simulation.days import Day, simulate
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.tables import interactions_of, items_of, users_of
from assets.ingestion.simulation.world import World, make_world
from assets.schema import Columns
from assets.storage import file_digest, leftovers, partial_of, write_json

MANIFEST = "simulation.json"
ROWS_PER_PART = 1_000_000
"""A part holds whole days, and at least so many rows: about 80 MiB in memory, 8 MiB on disk."""

Heard = Callable[[Day], object]


@dataclass(frozen=True)
class Written:
    """What was written: rows per table, and the names of all files."""

    rows: Mapping[str, int]
    files: tuple[str, ...]


def write_simulation(
    folder: Path,
    options: SimulatedOptions,
    now: datetime,
    heard: Heard,
    rows_per_part: int = ROWS_PER_PART,
) -> Written:
    """Simulate into ``folder``, which appears when everything is in it; the same bytes for the same arguments.

    Args:
        folder: must not exist, or be empty.
        heard: called with every day that was made.
        rows_per_part: of interactions; a part ends with the day that reaches it.

    Raises:
        IngestionError: when the folder holds something, or the last day would end after ``now``.
    """
    start, scale = options.first_midnight(now), options.scale
    with whole_folder(folder) as partial:
        world = make_world(scale)
        rows = {
            "items": _write(partial / "items.parquet", items_of(scale, world, start)),
            "users": _write(partial / "users.parquet", users_of(scale, world)),
            "interactions": 0,
        }
        tables = interactions_of(_heard(options, world, heard), scale, start, rows_per_part)
        for part, table in enumerate(tables):
            path = partial / f"interactions-{part:05d}.parquet"
            rows["interactions"] += _write(path, table.drop_columns([Columns.SOURCE_ROW]))
        files = {path.name: file_digest(path) for path in sorted(partial.iterdir())}
        made_by = {"numpy": np.__version__, "pyarrow": pa.__version__}
        chosen = options.model_dump(mode="json", exclude=set(AdapterOptions.model_fields))
        described = {"options": chosen, "rows": rows, "files": files, "made_by": made_by}
        write_json(partial / MANIFEST, described)
    return Written(rows, (*files, MANIFEST))


def _heard(options: SimulatedOptions, world: World, heard: Heard) -> Iterator[Day]:
    for day in simulate(options.scale, world):
        heard(day)
        yield day


def _write(path: Path, table: pa.Table) -> int:
    pq.write_table(table, path, compression="zstd")
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
    return table.num_rows


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``folder``, which takes its name if the block ends without an error.

    What killed runs left of the same folder is removed; of runs that go on at the same time, the first to end wins.

    Raises:
        IngestionError: when ``folder`` is a file or holds something.
    """
    _refuse_filled(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = folder.with_name(f".{folder.name}")
    for leftover in leftovers(hidden):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = partial_of(hidden)
    partial.mkdir()
    try:
        yield partial
        _refuse_filled(folder)
        partial.replace(folder)  # an empty folder of that name gives way
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_filled(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IngestionError(f"{folder} exists and is not an empty folder; remove it or name another")
