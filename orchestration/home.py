"""The folder that holds Dagster's state and the instance on it, one per dataset: ``.dagster/<dataset>/``.

Asset keys do not name the dataset. On one shared instance the UI of one dataset would show the latest results of
another; apart, runs, metadata and the warehouse's pool are those of one warehouse.
"""

import hashlib
import os
from pathlib import Path

import dagster as dg

from assets.config import Settings
from assets.storage import locked, write_text
from assets.transforms.project import QUIET as DBT_QUIET
from orchestration.postgres import use_postgres

TEMPLATE = Path(__file__).with_name("dagster.yaml")

QUIET = {**DBT_QUIET, "GX_ANALYTICS_ENABLED": "false", "DAGSTER_DISABLE_TELEMETRY": "true"}
"""Environment that keeps every library from phoning home."""


ORIGIN = "dagster.yaml.origin"
"""Beside the copy: digest of the template it was made from."""

POSTGRES = """\
# Runs, events, schedules and slots of pools: a schema of the database that THAW_POSTGRES_URL names.
storage:
  postgres:
    postgres_url:
      env: THAW_DAGSTER_POSTGRES_URL
"""
"""What ``state.kind`` postgres adds to the template. The address, with its password, is in the environment alone."""

FIRST_TEMPLATE = "46bb20cfff8002a5b79e9360fe2533910e7a624f438ef42df95139295bde7bae"
"""Digest of the template of homes that are older than the file beside the copy."""


def prepare_home(settings: Settings) -> Path:
    """Make ``.dagster/<dataset>/`` and its ``dagster.yaml``; point Dagster at it.

    A copy that nobody edited follows the template; an edited one is left as it is.
    """
    home = settings.home / ".dagster" / settings.dataset
    _follow_template(home / "dagster.yaml", home / ORIGIN, template_of(settings))
    if settings.state.kind == "postgres":
        use_postgres(settings, home / "dagster.yaml")
    os.environ.update(QUIET)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def template_of(settings: Settings) -> str:
    """What ``dagster.yaml`` is to say: the template, and where records are kept if not beside it."""
    return TEMPLATE.read_text(encoding="utf-8") + (POSTGRES if settings.state.kind == "postgres" else "")


def _follow_template(copy: Path, origin: Path, template: str) -> None:
    digest = _digest(template)
    held = _digest(copy.read_text(encoding="utf-8")) if copy.exists() else None
    made_from = origin.read_text(encoding="utf-8").strip() if origin.exists() else FIRST_TEMPLATE
    if held not in {None, digest, made_from}:  # somebody edited it
        return
    if held != digest:
        write_text(copy, template)
    if made_from != digest:  # also where the writer of the copy was killed before it wrote this
        write_text(origin, f"{digest}\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The persistent instance of this home: runs made by the command line show in the UI too."""
    home = prepare_home(settings)
    with locked(home / "open.lock"):  # two processes that both make the databases of a fresh home race
        instance = dg.DagsterInstance.get()
        instance.get_runs(limit=1)
        instance.event_log_storage.get_concurrency_run_ids()
        instance.all_instigator_state()
    return instance
