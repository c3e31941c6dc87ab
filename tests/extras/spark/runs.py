"""The dbt project under both engines, on the same raw tables."""

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.config import EngineName, Settings, TransformsConfig
from assets.dbt import ASSETS
from assets.ingestion.ingest import ingest
from assets.storage import Storage
from assets.transforms.export import TablesManifest, verify_tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)

Checks = dict[tuple[str, str], bool]


@dataclass(frozen=True)
class Built:
    """What one engine made of the raw tables."""

    storage: Storage
    manifest: TablesManifest
    checks: Checks
    rows: dict[str, int]


def raw_tables(settings: Settings) -> Settings:
    """Ingest the dataset, below the settings' home."""
    ingest(settings, settings.storage, NOW)
    return settings


def copied(settings: Settings, home: Path, engine: EngineName) -> Settings:
    """The settings with a home of their own, the raw tables in it, and another engine."""
    shutil.copytree(settings.storage.raw, home / "data" / settings.dataset / "raw")
    return settings.model_copy(update={"home": home, "transforms": TransformsConfig(engine=engine)})


def materialize(settings: Settings, selection: list[dg.AssetKey] | None = None) -> dg.ExecuteInProcessResult:
    """Run the dbt assets and the export, as the graph does."""
    resources = {"storage": settings.storage, "settings": settings}
    return dg.materialize(ASSETS, resources=resources, selection=selection, raise_on_error=False)


def build(settings: Settings) -> Built:
    """The exported tables of the configured engine, the outcome of every data test, the rows of every model."""
    result = materialize(settings)
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    checks = {
        (check.asset_key.to_user_string(), check.check_name): check.passed
        for check in result.get_asset_check_evaluations()
    }
    rows = {
        event.asset_key.to_user_string(): event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key and "dagster/row_count" in event.materialization.metadata
    }
    return Built(settings.storage, verify_tables(settings.storage), checks, rows)


def local_data() -> Path | None:
    """Where copies of real datasets lie, if anywhere."""
    folder = os.environ.get("THAW_DATA_DIR")
    return Path(folder) if folder else None
