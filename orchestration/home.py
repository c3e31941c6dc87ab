"""The folder that holds Dagster's state and the instance on it, one per dataset: ``.dagster/<dataset>/``.

Asset keys do not name the dataset. On one shared instance the UI of one dataset would show the latest results of
another; apart, runs, metadata and the warehouse's pool are those of one warehouse.
"""

import os
from pathlib import Path

import dagster as dg

from assets.config import Settings
from assets.storage import locked, write_text
from assets.transforms.project import QUIET as DBT_QUIET

TEMPLATE = Path(__file__).with_name("dagster.yaml")

QUIET = {**DBT_QUIET, "GX_ANALYTICS_ENABLED": "false", "DAGSTER_DISABLE_TELEMETRY": "true"}
"""Environment that keeps every library from phoning home."""


def prepare_home(settings: Settings) -> Path:
    """Make ``.dagster/<dataset>/`` and its ``dagster.yaml`` (an existing one is left as it is); point Dagster at it."""
    home = settings.home / ".dagster" / settings.dataset
    if not (home / "dagster.yaml").exists():
        write_text(home / "dagster.yaml", TEMPLATE.read_text(encoding="utf-8"))
    os.environ.update(QUIET)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The persistent instance of this home: runs made by the command line show in the UI too."""
    home = prepare_home(settings)
    with locked(home / "open.lock"):  # two processes that both make the databases of a fresh home race
        instance = dg.DagsterInstance.get()
        instance.get_runs(limit=1)
        instance.event_log_storage.get_concurrency_run_ids()
        instance.all_instigator_state()
    return instance
