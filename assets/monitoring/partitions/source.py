"""Everything applied so far as a DuckDB view over the Parquet files, in memory: nothing is read that is not asked for.

The files are the generation's base and the landed ones that its ledger names. A landed file none of whose rows had been
applied before is taken as it is; of one with repeats, what no other file holds. The warehouse's file is not opened.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

from assets.ingestion.landing.batches import SHORT
from assets.ingestion.landing.places import Kind, landed_folder
from assets.ingestion.landing.removed import Removed, read_removed
from assets.instants import wall_clock
from assets.schema import Columns
from assets.serving.live.generation import Generation, GenerationRecord, require_current
from assets.serving.live.ledger import LedgerEntry, entries
from assets.storage import Storage
from assets.transforms.sql import quoted

MEMORY: Final = "1500MB"
"""What DuckDB may hold; more goes to files in a temporary folder beside the monitoring tables."""
THREADS: Final = 2

ROWS: Final = "user_id, item_id, timestamp::TIMESTAMP AS timestamp, event_type, value"
_DISTINCT: Final = "SELECT DISTINCT * FROM repeating EXCEPT SELECT * FROM plain"


@dataclass(frozen=True)
class Source:
    """An open connection with the view ``engagements``: user_id, item_id, timestamp, event_type, value.

    Attributes:
        connection: closed by :func:`open_source`.
        storage: of the dataset.
        generation: that serves.
        record: of it.
        cutoff: end of what the champion was trained on.
        items: Parquet files of items, the base first, in the order in which they were seen.
        removed: users and items that must not be counted any more.
    """

    connection: duckdb.DuckDBPyConnection
    storage: Storage
    generation: Generation
    record: GenerationRecord
    cutoff: np.datetime64
    items: Sequence[Path]
    removed: Removed

    def frame(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Rows of a query."""
        return self.connection.execute(query, list(parameters)).df()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The one row of a query."""
        found = self.connection.execute(query, list(parameters)).fetchone()
        if found is None:
            raise ValueError(f"no row: {query}")
        return found


@contextmanager
def open_source(storage: Storage) -> Iterator[Source]:
    """What the serving generation was told so far.

    Raises:
        assets.serving.live.generation.NoIndexError: when nothing serves yet.
        FileNotFoundError: when a landed file that was applied is gone.
    """
    generation = require_current(storage)
    record, removed = generation.record(), read_removed(storage)
    with generation.open_store() as store, store.read() as reader:
        ledger = entries(reader)
    spill = storage.monitoring / "spill" / str(wall_clock())
    with duckdb.connect(":memory:", config={"memory_limit": MEMORY, "threads": THREADS}) as connection:
        connection.execute(f"SET temp_directory = {quoted(spill)}; SET preserve_insertion_order = false")
        _make_view(connection, storage, generation, record, ledger, removed)
        yield Source(
            connection,
            storage,
            generation,
            record,
            _cutoff(generation),
            [generation.base("items"), *(path for path, _ in _files(storage, ledger, Kind.ITEMS))],
            removed,
        )


def _cutoff(generation: Generation) -> np.datetime64:
    manifest = json.loads((generation.checkpoint / "manifest.json").read_text(encoding="utf-8"))
    return np.datetime64(manifest["bounds"]["cutoff"], "us")


def _files(storage: Storage, ledger: Sequence[LedgerEntry], kind: Kind) -> list[tuple[Path, LedgerEntry]]:
    folder = landed_folder(storage, kind)
    paths = {path.stem.rpartition("-")[2]: path for path in folder.glob("*/*.parquet")}
    chosen = sorted((entry for entry in ledger if entry.kind == kind), key=lambda entry: entry.seen_at)
    if missing := [entry for entry in chosen if entry.digest[:SHORT] not in paths]:
        raise FileNotFoundError(
            f"{folder}: batch {missing[0].digest[:SHORT]} ({missing[0].source}, partition {missing[0].partition}) was"
            " applied and its file is gone: put it back, or build a generation anew"
        )
    return [(paths[entry.digest[:SHORT]], entry) for entry in chosen]


def _make_view(
    connection: duckdb.DuckDBPyConnection,
    storage: Storage,
    generation: Generation,
    record: GenerationRecord,
    ledger: Sequence[LedgerEntry],
    removed: Removed,
) -> None:
    landed = [(path, entry) for path, entry in _files(storage, ledger, Kind.ENGAGEMENTS) if entry.applied]
    rule = _rule(record)
    parts = {True: [], False: []}  # type: dict[bool, list[str]]
    for path, entry in landed:
        oldest = f"timestamp >= make_timestamp({entry.oldest_accepted})"
        parts[entry.duplicates > 0].append(f"SELECT {ROWS} FROM {_scan(path)} WHERE {oldest} AND {rule}")
    plain = [f"SELECT {ROWS} FROM {_scan(generation.base('interactions'))}", *parts[False]]
    connection.execute(f"CREATE VIEW plain AS {' UNION ALL '.join(plain)}")
    connection.execute("CREATE TABLE removed_users (user_id VARCHAR); CREATE TABLE removed_items (item_id VARCHAR)")
    gone_ids = {"users": sorted(removed.users), "items": sorted(removed.items)}
    for kind, name in (("users", Columns.USER), ("items", Columns.ITEM)):
        gone = pd.DataFrame({name: pd.Series(gone_ids[kind], dtype=object)})  # noqa: F841 - DuckDB reads it by name
        connection.execute(f"INSERT INTO removed_{kind} SELECT {name} FROM gone")
    every = "SELECT * FROM plain"
    if parts[True]:
        connection.execute(f"CREATE VIEW repeating AS {' UNION ALL '.join(parts[True])}")
        connection.execute(f"CREATE TABLE once AS {_DISTINCT}")
        every += " UNION ALL SELECT * FROM once"
    kept = [
        f"{name} NOT IN (SELECT {name} FROM removed_{kind})"
        for kind, name in (("users", Columns.USER), ("items", Columns.ITEM))
        if gone_ids[kind]
    ]
    connection.execute(f"CREATE VIEW engagements AS SELECT * FROM ({every}) WHERE {' AND '.join(kept) or 'true'}")


def _rule(record: GenerationRecord) -> str:
    rule, terms = record.engagement, ["true"]
    if rule.minimum_value is not None:
        terms.append(f"value >= {float(rule.minimum_value)!r}")
    if rule.event_types:
        terms.append(f"event_type IN ({', '.join(quoted(name) for name in rule.event_types)})")
    return " AND ".join(terms)


def _scan(path: Path) -> str:
    return f"read_parquet({quoted(path)}, hive_partitioning = false)"
