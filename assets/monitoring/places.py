"""Where the pages of a dataset lie."""

from pathlib import Path

from assets.storage import Storage


def report_path(storage: Storage, window: int) -> Path:
    """One window's drift report."""
    return storage.dashboards / "drift" / f"window-{window}.html"


def summary_path(storage: Storage) -> Path:
    """Drift scores of every window and column."""
    return storage.dashboards / "drift" / "summary.parquet"


def front_path(storage: Storage) -> Path:
    return storage.dashboards / "index.html"
