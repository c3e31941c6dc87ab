"""The folder that holds Dagster's state (``.dagster/``) and the instance on it."""

import os
from pathlib import Path

import dagster as dg

from assets.config import Settings
from assets.storage import locked, write_text

TEMPLATE = Path(__file__).with_name("dagster.yaml")

QUIET = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DAGSTER_DISABLE_TELEMETRY": "true",
}
"""Environment that keeps every library from phoning home."""


def prepare_home(settings: Settings) -> Path:
    """Make ``.dagster/`` with its ``dagster.yaml`` (an existing one is left as it is) and point Dagster at it."""
    home = settings.home / ".dagster"
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
