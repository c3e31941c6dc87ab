"""Taking a step back, so that the next run carries it out."""

import shutil
from pathlib import Path

from orchestration.definitions import build_definitions
from orchestration.unchanged import account_path
from orchestration.units import units_of
from tests.faults import graph


def unmake(home: Path, step: str, without_output: bool) -> None:
    """Take a step back: its account, which makes it run again, and perhaps what it wrote; a function of a child."""
    settings = graph.tiny_settings(home)
    # Checks are steps of their own: they run when what they judge does.
    (unit,) = (unit for unit in units_of(build_definitions(settings)) if step in {unit.name, *map(_step, unit.checks)})
    account_path(settings.storage, unit.name).unlink(missing_ok=True)
    written = unit.station.writes(settings) if unit.station and without_output and step == unit.name else []
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _step(check: str) -> str:
    """The step of a check ``folder/asset:check``, by Dagster's rule."""
    asset, _, name = check.partition(":")
    return f"{asset.replace('/', '__')}_{name}"
