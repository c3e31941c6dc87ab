"""What ``thaw run`` prints at the end: the leaderboard, the index's self-check, and where to look next."""

from collections.abc import Collection
from pathlib import Path

import dagster as dg
from rich.console import Console

from assets import keys
from assets.config import Settings
from assets.evaluation.files import decay_path, leaderboard_path, leaderboard_text_path
from assets.monitoring.places import front_path
from assets.quality.results import page_path
from assets.storage import Storage
from orchestration.home import open_instance
from orchestration.remedies import remedy
from orchestration.runner import Outcome


def print_summary(settings: Settings, current: Collection[str], console: Console) -> None:
    """Print what the run was for: of its results those it made or found current, never what an earlier run left."""
    parts = []
    if "/".join(keys.LEADERBOARD) in current:
        parts.append(leaderboard_text_path(settings.storage).read_text(encoding="utf-8"))
    if "/".join(keys.ITEM_INDEX) in current:
        with open_instance(settings) as instance:
            parts.append(index_lines(instance))
    for part in (*parts, next_steps(settings, settings.storage)):
        console.print(f"\n{part}", markup=False, soft_wrap=True)


def print_failure(settings: Settings, outcome: Outcome, console: Console) -> None:
    """Say which steps and checks failed, and where to look."""
    for step, message in outcome.failed_steps.items():
        console.print(f"[red]{step}[/]", soft_wrap=True)
        console.print(message, markup=False, soft_wrap=True)
        if way := remedy(message, settings):
            console.print(f"[bold]What to do[/] {way}", soft_wrap=True)
    for check in outcome.failed_checks:
        console.print(f"[red]check failed[/] {check}", soft_wrap=True)
    console.print(f"Run {outcome.run_id} failed. Details: thaw ui --dataset {settings.dataset}", soft_wrap=True)


def next_steps(settings: Settings, storage: Storage) -> str:
    """Where to look next; only files that exist are named."""
    places = [
        ("leaderboard", leaderboard_path(storage)),
        ("decay figure", decay_path(storage)),
        ("metrics", storage.metrics),
        ("drift reports and every page", front_path(storage)),
        ("data quality", page_path(storage)),
    ]
    lines = [f"  {name:<30}{_short(path, settings.home)}" for name, path in places if path.exists()]
    lines.append(f"  {'lineage, runs, schedules':<30}make ui DATASET={settings.dataset}")
    return "Where to look next\n" + "\n".join(lines)


def index_lines(instance: dg.DagsterInstance) -> str:
    """The latest index materialization's measurements as a line each; empty when there is none."""
    event = instance.get_latest_materialization_event(dg.AssetKey(keys.ITEM_INDEX))
    if event is None or event.asset_materialization is None:
        return ""
    scalars = {
        name: value.value
        for name, value in event.asset_materialization.metadata.items()
        if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue | dg.TextMetadataValue)
    }
    rows = [
        f"  {name:<30}{value:.4g}" if isinstance(value, float) else f"  {name:<30}{value}"
        for name, value in scalars.items()
    ]
    return "Index self-check\n" + "\n".join(rows)


def _short(path: Path, home: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
