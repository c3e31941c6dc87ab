"""Writing one drift report per window. Importing this module takes seconds (Evidently)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from assets.config import Settings
from assets.monitoring.places import report_path, summary_path
from assets.monitoring.tables import Verdict
from assets.schema import Columns, ItemSlice, Split
from assets.storage import Storage, read_compact, write_parquet, write_text
from dashboards.drift_features import (
    ITEM_SLICE,
    USER_KNOWN,
    category_feature,
    draw,
    engagement_features,
    train_side,
    window_side,
)
from dashboards.drift_page import DriftSubject
from dashboards.engagement_drift import drift_report
from dashboards.partition_drift import reason_of
from dashboards.spread import spread

MOST_REPORTS: Final = 50
"""Test windows that a report is written of. Frames can be thousands, and a report takes a second and a megabyte."""


@dataclass(frozen=True)
class WindowDrift:
    """One window's report: where it is, what it compares, its scores."""

    path: Path
    subject: DriftSubject
    scores: pd.DataFrame
    volumes: dict[str, float]

    @property
    def verdict(self) -> Verdict:
        """The same in the words that landed partitions are judged in."""
        return Verdict(
            kind="window",
            name=str(self.subject.window),
            starts_at=pd.Timestamp(self.subject.starts_at),
            ends_at=pd.Timestamp(self.subject.ends_at),
            rows=self.subject.current_rows,
            reference_rows=self.subject.reference_rows,
            alarm=bool(self.scores["drifted"].any()),
            reason=f"against all of train time, {reason_of(self.scores)}",
            judged=True,
            volumes=self.volumes,
            scores=self.scores,
        )


def write_drift_reports(storage: Storage, settings: Settings) -> Iterator[WindowDrift]:
    """Write the reports of :func:`reported_windows`, in order, yielding each as it is written.

    Rows are drawn with ``settings.training.seed``; the reference is drawn once and the same for every window.
    """
    interactions, items = read_compact(storage.table("interactions")), storage.read_table("items")
    bounds = storage.read_table("split_bounds")
    users = storage.read_table("users", [Columns.USER, Columns.TRAIN_COUNT])
    features = engagement_features(interactions, items, users)
    rows, seed = settings.drift.sample_rows, settings.training.seed
    train = train_side(features)
    reference = draw(train, rows, seed)
    tested = bounds[bounds[Columns.SPLIT] == Split.TEST]
    windows = {int(bound[Columns.WINDOW]): bound for bound in tested.to_dict("records")}
    for window in reported_windows(interactions[Columns.WINDOW]):
        side = window_side(features, window)
        current = draw(side, rows, seed)
        subject = DriftSubject(
            dataset=storage.dataset,
            window=window,
            starts_at=windows[window][Columns.STARTS_AT],
            ends_at=windows[window][Columns.ENDS_AT],
            reference_starts_at=bounds[Columns.STARTS_AT].min(),
            cutoff=tested[Columns.STARTS_AT].min(),
            reference_rows=len(reference),
            reference_total=len(train),
            current_rows=len(current),
            current_total=len(side),
            seed=seed,
            category=category_feature(items),
        )
        report = drift_report(reference, current, subject)
        path = write_text(report_path(storage, subject.window), report.html)
        yield WindowDrift(path, subject, report.scores, _volumes(interactions, side, subject))


def _volumes(interactions: pd.DataFrame, side: pd.DataFrame, subject: DriftSubject) -> dict[str, float]:
    """What came in a window: :data:`assets.monitoring.tables.VOLUMES`, of every engagement of it."""
    rows = interactions[(interactions[Columns.WINDOW] == subject.window).to_numpy(bool, na_value=False)]
    hours = (pd.Timestamp(subject.ends_at) - pd.Timestamp(subject.starts_at)) / pd.Timedelta(1, "h")
    return {
        "engagements": float(len(rows)),
        "users": float(rows[Columns.USER].nunique()),
        "items": float(rows[Columns.ITEM].nunique()),
        "unknown_user_share": float((side[USER_KNOWN] == "no").mean()),
        "cold_share": float((side[ITEM_SLICE] == ItemSlice.COLD).mean()),
        "tail_share": float((side[ITEM_SLICE] == ItemSlice.TAIL).mean()),
        "events_per_hour": len(rows) / hours if hours > 0 else float("nan"),
    }


def reported_windows(windows: pd.Series) -> list[int]:
    """The test windows among the engagements' (missing in train), in order.

    Of more than :data:`MOST_REPORTS`, that many, evenly spread, the first and the last among them.
    """
    return spread(sorted(map(int, windows.dropna().unique())), MOST_REPORTS)


def remove_old_reports(storage: Storage, drifts: list[WindowDrift]) -> None:
    """Remove reports of windows that there no longer are."""
    written = {drift.path for drift in drifts}
    for path in summary_path(storage).parent.glob("window-*.html"):
        if path not in written:
            path.unlink()


def write_summary(storage: Storage, drifts: list[WindowDrift]) -> pd.DataFrame:
    """Scores of every window and column, tidy."""
    table = summary_table(drifts)
    write_parquet(summary_path(storage), table)
    return table


def summary_table(drifts: list[WindowDrift]) -> pd.DataFrame:
    """Columns: dataset, window, starts_at, ends_at, reference_rows, current_rows, drifted_share (of the window's
    columns), then column, method, threshold, score, drifted.

    Raises:
        ValueError: when there is no window.
    """
    if not drifts:
        raise ValueError("no test window has engagements: see the split_bounds table")
    parts = []
    for drift in drifts:
        subject = drift.subject
        scores = drift.scores.copy()
        scores.insert(0, "dataset", subject.dataset)
        scores.insert(1, Columns.WINDOW, subject.window)
        scores.insert(2, Columns.STARTS_AT, subject.starts_at)
        scores.insert(3, Columns.ENDS_AT, subject.ends_at)
        scores.insert(4, "reference_rows", subject.reference_rows)
        scores.insert(5, "current_rows", subject.current_rows)
        scores.insert(6, "drifted_share", float(scores["drifted"].mean()))
        parts.append(scores)
    return pd.concat(parts, ignore_index=True)


def score_board(summary: pd.DataFrame) -> str:
    """Markdown: a row per column, a score per window, drifted ones in bold."""
    cells = summary.assign(
        cell=[
            f"**{score:.3f}**" if drifted else f"{score:.3f}"
            for score, drifted in zip(summary["score"], summary["drifted"], strict=True)
        ]
    )
    board = cells.pivot_table(index="column", columns=Columns.WINDOW, values="cell", aggfunc="first")
    order = summary.groupby("column")["score"].max().sort_values(ascending=False).index
    board = board.loc[order].fillna("").rename(columns=lambda window: f"window {window}")
    return board.reset_index().to_markdown(index=False, disable_numparse=True)
