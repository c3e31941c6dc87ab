"""Content of the front page, from what a dataset's folder holds."""

from datetime import datetime
from itertools import groupby
from os.path import relpath
from pathlib import Path

from assets.evaluation.files import (
    comparisons_text_path,
    decay_path,
    decay_text_path,
    leaderboard_path,
    relative_decay_path,
)
from assets.monitoring.places import front_path, report_path, summary_path
from assets.quality.results import page_path
from assets.schema import Columns
from assets.storage import Storage, read_parquet
from dashboards.pages import DriftEntry, FrontPage, Link, read_board

PAGES = (
    (page_path, "Data quality", "every expectation on every table, and the rows that fail"),
    (leaderboard_path, "Leaderboard as markdown", "to paste elsewhere"),
    (comparisons_text_path, "Comparisons as markdown", "every model against every other on the same cases, per slice"),
    (decay_path, "Decay figure", "metric per window and model"),
    (relative_decay_path, "Relative decay figure", "each window over the first, per slice and model"),
    (decay_text_path, "Decay as markdown", "both figures' numbers, with intervals"),
)
"""Files of the dataset's folder that the page links where they exist: where it lies, title, what it holds."""


def collect(storage: Storage, now: datetime) -> FrontPage:
    """What there is to show; ``now`` in UTC."""
    board, figure = leaderboard_path(storage), decay_path(storage)
    return FrontPage(
        dataset=storage.dataset,
        written_at=now.strftime("%Y-%m-%d %H:%M"),
        board=read_board(board.read_text(encoding="utf-8")) if board.exists() else None,
        figure=_link(storage, figure) if figure.exists() else None,
        drift=_drift(storage),
        links=[
            Link(_link(storage, path(storage)), title, about) for path, title, about in PAGES if path(storage).exists()
        ],
    )


def _link(storage: Storage, target: Path) -> str:
    return Path(relpath(target, front_path(storage).parent)).as_posix()


def _drift(storage: Storage) -> list[DriftEntry]:
    if not summary_path(storage).exists():
        return []
    rows = read_parquet(summary_path(storage)).to_dict("records")
    entries = []
    for window, group in groupby(rows, key=lambda row: int(row[Columns.WINDOW])):
        scores = list(group)
        first = scores[0]
        entries.append(
            DriftEntry(
                href=_link(storage, report_path(storage, window)),
                window=window,
                starts_at=f"{first[Columns.STARTS_AT]:%Y-%m-%d %H:%M}",
                ends_at=f"{first[Columns.ENDS_AT]:%Y-%m-%d %H:%M}",
                rows=first["current_rows"],
                drifted=[row["column"] for row in scores if row["drifted"]],
                columns=len(scores),
            )
        )
    return entries
