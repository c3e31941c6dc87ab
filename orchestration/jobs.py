"""Jobs. ``refresh_all`` takes a dataset name to a searchable index."""

from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.training.registry import MODELS, roster

if TYPE_CHECKING:  # Dagster does not export the type that define_asset_job returns
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

REFRESH_ALL = "refresh_all"


def left_out(settings: Settings) -> list[keys.Key]:
    """Keys of the checkpoints and ranks of registered models that are not in the roster."""
    chosen = set(roster(settings))
    return [key for model in MODELS if model not in chosen for key in (keys.checkpoint(model), keys.ranks(model))]


def refresh_all(settings: Settings) -> "UnresolvedAssetJobDefinition":
    """The job that materializes the whole graph with the roster's models."""
    skipped = dg.AssetSelection.assets(*map(dg.AssetKey, left_out(settings)))
    return dg.define_asset_job(
        REFRESH_ALL,
        selection=dg.AssetSelection.all() - skipped,
        description=f"Raw data to a searchable index for {settings.dataset}, with every check and report on the way.",
        tags={"thaw/dataset": settings.dataset},
    )
