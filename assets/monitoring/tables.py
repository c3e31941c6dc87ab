"""Drift scores and verdicts, tidy, of evaluation windows and of landed partitions alike."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from assets.schema import Columns
from assets.storage import Storage, locked, read_parquet, write_parquet

Kind = Literal["window", "partition"]

DRIFT_COLUMNS: Final = (
    "kind",
    "name",
    Columns.STARTS_AT,
    Columns.ENDS_AT,
    "column",
    "method",
    "score",
    "threshold",
    "drifted",
    "rows",
    "reference_rows",
)
VOLUMES: Final = (
    "engagements",
    "users",
    "items",
    "unknown_user_share",
    "cold_share",
    "tail_share",
    "events_per_hour",
)
"""What came, beside what it looks like: never part of the alarm. Shares are of engagements, as the champion knows."""


def drift_path(storage: Storage) -> Path:
    """A row per window or partition and column: :data:`DRIFT_COLUMNS`."""
    return storage.monitoring / "drift.parquet"


def verdicts_path(storage: Storage) -> Path:
    """A row per window or partition: kind, name, span, rows, alarm, reason, drifted, judged, :data:`VOLUMES`."""
    return storage.monitoring / "verdicts.parquet"


@dataclass(frozen=True)
class Verdict:
    """What is said of one window or partition.

    Attributes:
        kind, name: which; the number of a window, the key of a partition.
        starts_at, ends_at: its span, half-open.
        rows: engagements that were compared, of ``volumes["engagements"]``.
        reference_rows: that they were compared with.
        alarm: whether at least one column drifted.
        reason: in words.
        judged: whether anything could be said; without, there is no alarm and the reason says why.
        volumes: :data:`VOLUMES`.
        scores: column, method, score, threshold, drifted; empty where not judged.
    """

    kind: Kind
    name: str
    starts_at: pd.Timestamp
    ends_at: pd.Timestamp
    rows: int
    reference_rows: int
    alarm: bool
    reason: str
    judged: bool
    volumes: dict[str, float]
    scores: pd.DataFrame

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted."""
        return self.scores.loc[self.scores["drifted"].astype(bool), "column"].astype(str).tolist()


def record(storage: Storage, verdicts: Sequence[Verdict], only: Collection[str] | None = None) -> None:
    """Put ``verdicts`` (of one kind) into both tables in place of what they say of the same names.

    Args:
        only: names of that kind that go on to exist; the others' rows are removed. ``None``: all do.
    """
    if not verdicts:
        return
    with locked(storage.monitoring / "drift.lock"):
        _replace(verdicts_path(storage), pd.DataFrame([_row(one) for one in verdicts]), verdicts, only)
        _replace(drift_path(storage), pd.concat([_scores(one) for one in verdicts]), verdicts, only)


def read_drift(storage: Storage) -> pd.DataFrame:
    """Scores so far.

    Raises:
        FileNotFoundError: when nothing was compared yet.
    """
    return read_parquet(drift_path(storage))


def read_verdicts(storage: Storage) -> pd.DataFrame:
    """Verdicts so far.

    Raises:
        FileNotFoundError: when nothing was compared yet.
    """
    return read_parquet(verdicts_path(storage))


def _replace(path: Path, rows: pd.DataFrame, verdicts: Sequence[Verdict], only: Collection[str] | None) -> None:
    if path.exists():
        held = read_parquet(path)
        same_kind = held["kind"] == verdicts[0].kind
        gone = held["name"].isin([one.name for one in verdicts])
        if only is not None:
            gone |= ~held["name"].isin(list(only))
        rows = pd.concat([held[~(same_kind & gone)], rows], ignore_index=True)
    order = ["kind", Columns.STARTS_AT, "name"]
    write_parquet(path, rows.sort_values(order, kind="stable", ignore_index=True))


def _row(one: Verdict) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        Columns.STARTS_AT: one.starts_at.as_unit("us"),
        Columns.ENDS_AT: one.ends_at.as_unit("us"),
        "rows": one.rows,
        "alarm": one.alarm,
        "reason": one.reason,
        "drifted": one.drifted,
        "judged": one.judged,
        **{name: float(one.volumes[name]) for name in VOLUMES},
    }


def _scores(one: Verdict) -> pd.DataFrame:
    named: dict[str, Any] = {
        "kind": one.kind,
        "name": one.name,
        Columns.STARTS_AT: one.starts_at.as_unit("us"),
        Columns.ENDS_AT: one.ends_at.as_unit("us"),
        "rows": one.rows,
        "reference_rows": one.reference_rows,
    }
    table = one.scores.assign(**named)[list(DRIFT_COLUMNS)]
    types = {"score": float, "threshold": float, "drifted": bool, "rows": int, "reference_rows": int}
    return table.astype({"column": object, "method": object, **types})
