"""What is known of the champion's quality, on disk under ``champion/``. Light to import: sensors read it.

    quality.parquet                            tidy metrics, see :data:`QUALITY_COLUMNS`
    predictions.parquet, embeddings.parquet    a row per checkpoint and partition
    ranks/<checkpoint12>/<partition>.parquet   a row per case and contender, with an account of its making
    alert.json                                 the latest judgement, see :mod:`.alert`

A partition's ranks are written after its rows in the tables: where they lie, the rest is there too.

In the tables partitions are in time order, and of one partition the checkpoints in the order in which they were
measured: the last one is what served when it was last looked at.
"""

import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from assets.evaluation.files import StaleResultsError, read_account, write_with_account
from assets.ingestion.landing.partitions import is_partition
from assets.storage import Storage, locked, read_parquet, write_parquet

SHORT: Final = 12
"""Of a checkpoint's digest, where files and rows name it."""

KEY: Final = ["checkpoint", "partition"]

AGAIN: Final = "materialize champion/quality_over_time"

QUALITY_COLUMNS: Final = (
    "checkpoint",
    "model",
    "contender",
    "partition",
    "starts_at",
    "ends_at",
    "slice",
    "metric",
    "k",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "cases",
    "ranked",
)
_COLUMNS: Final = {
    "quality": QUALITY_COLUMNS,
    "predictions": (
        *("checkpoint", "model", "partition", "starts_at", "ends_at", "lists", "coverage", "mean_popularity"),
        *("score_p10", "score_p50", "score_p90", "scores"),
    ),
    "embeddings": (
        *("checkpoint", "model", "partition", "starts_at", "items", "mean_distance", "p95_distance", "moved_share"),
        *("from_cutoff", "distances"),
    ),
}
TABLES: Final = tuple(_COLUMNS)
ORDER: Final = ["starts_at", "partition"]
"""By nothing else: within a partition, rows stay in the order in which they were put."""


@dataclass(frozen=True)
class RanksAccount:
    """A ranks file's own account; instants are microseconds on the event clock.

    Attributes:
        checkpoint: digest of the champion's manifest.
        model: its name.
        cutoff: end of what it was trained on.
        partition: what was ranked.
        cases: in the partition, from the cutoff on.
        ranked: of those.
        last_case: the latest of ``cases``.
    """

    checkpoint: str
    model: str
    cutoff: int
    partition: str
    cases: int
    ranked: int
    last_case: int


def table_path(storage: Storage, table: str) -> Path:
    """Parquet of one of :data:`TABLES`."""
    return storage.champion / f"{table}.parquet"


def alert_path(storage: Storage) -> Path:
    """The latest judgement."""
    return storage.champion / "alert.json"


def ranks_folder(storage: Storage, checkpoint: str) -> Path:
    """Where the ranks of a champion's partitions lie; of its digest the beginning counts."""
    return storage.champion / "ranks" / checkpoint[:SHORT]


def ranks_path(storage: Storage, checkpoint: str, partition: str) -> Path:
    """Ranks of one partition."""
    return ranks_folder(storage, checkpoint) / f"{partition}.parquet"


def ranked_partitions(storage: Storage, checkpoint: str) -> list[str]:
    """Partitions that a champion was measured on, in time order."""
    return sorted(path.stem for path in ranks_folder(storage, checkpoint).glob("*.parquet") if is_partition(path.stem))


def prune_ranks(storage: Storage, kept: Collection[str]) -> list[str]:
    """Remove the ranks of all checkpoints but ``kept``, which name users; returns the folders' names.

    Their rows in the tables stay. A champion that comes back is measured anew on the days that the alert compares.
    """
    names = {checkpoint[:SHORT] for checkpoint in kept}
    folder = storage.champion / "ranks"
    gone = [path for path in sorted(folder.iterdir()) if path.name not in names] if folder.is_dir() else []
    for path in gone:
        shutil.rmtree(path)
    return [path.name for path in gone]


def write_ranks(storage: Storage, ranks: pd.DataFrame, account: RanksAccount) -> Path:
    """Write one partition's ranks atomically."""
    return write_with_account(ranks_path(storage, account.checkpoint, account.partition), ranks, asdict(account))


def read_ranks(
    storage: Storage, checkpoint: str, partition: str, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """One partition's ranks, or some of their columns.

    Raises:
        FileNotFoundError: when the champion was not measured on it.
    """
    return read_parquet(ranks_path(storage, checkpoint, partition), None if columns is None else list(columns))


def read_ranks_account(storage: Storage, checkpoint: str, partition: str) -> RanksAccount | None:
    """What a partition's ranks were made from; ``None`` where there are none that this version reads."""
    try:
        return RanksAccount(**read_account(ranks_path(storage, checkpoint, partition), AGAIN))
    except (FileNotFoundError, StaleResultsError, TypeError):
        return None


def read_table(storage: Storage, table: str) -> pd.DataFrame:
    """One of :data:`TABLES`; without rows where nothing was measured yet."""
    path = table_path(storage, table)
    return read_parquet(path) if path.exists() else pd.DataFrame(columns=list(_COLUMNS[table]))


def upsert(storage: Storage, table: str, rows: pd.DataFrame, measured: Collection[tuple[str, str]]) -> Path:
    """Put ``rows`` in the place of what the table has of ``measured``, atomically and under a lock.

    Within a partition they come behind what was measured of other checkpoints before.

    Args:
        rows: new ones, of ``measured`` only; a partition may have none.
        measured: (checkpoint12, partition) pairs.
    """
    path = table_path(storage, table)
    with locked(storage.champion / "quality.lock"):
        held = read_table(storage, table)
        if held.empty and rows.empty:  # a file of untyped columns would be none the next one could be put to
            return path
        parts = [held[~_among(held, measured)], rows]
        together = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        ordered = together[list(_COLUMNS[table])].sort_values(ORDER, kind="stable", ignore_index=True)
        return write_parquet(path, ordered)


def frame_of(table: str, rows: list[dict[str, Any]], identity: dict[str, Any]) -> pd.DataFrame:
    """Rows of a table as a frame, each with ``identity``."""
    return pd.DataFrame([{**identity, **row} for row in rows], columns=list(_COLUMNS[table]))


def _among(table: pd.DataFrame, measured: Collection[tuple[str, str]]) -> Any:
    return pd.MultiIndex.from_frame(table[KEY]).isin(list(measured))
