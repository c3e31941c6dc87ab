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
    """Keys that the job leaves alone.

    Checkpoints and ranks of registered models that are not in the roster; the sampled protocols, which cost as much as
    full ranking and are for comparison with published tables only (``thaw report`` runs them); the leave-one-out table
    where the split is another; and studies of training, which train many nets or are for people.
    """
    chosen = set(roster(settings))
    others = [key for model in MODELS if model not in chosen for key in (keys.checkpoint(model), keys.ranks(model))]
    sampled = [*(keys.sampled(model) for model in MODELS), keys.SAMPLED_METRICS, keys.SAMPLED_TABLES]
    studies = [keys.SWEEP, keys.GAMMA_SWEEP, keys.GATES]
    return [*others, *sampled, *studies, *([] if settings.split.kind == "leave_one_out" else [keys.LEAVE_ONE_OUT])]


def refresh_all(settings: Settings) -> "UnresolvedAssetJobDefinition":
    """The job that materializes the whole graph with the roster's models."""
    skipped = dg.AssetSelection.assets(*map(dg.AssetKey, left_out(settings)))
    return dg.define_asset_job(
        REFRESH_ALL,
        selection=dg.AssetSelection.all() - skipped,
        description=f"Raw data to a searchable index for {settings.dataset}, with every check and report on the way.",
        tags={"thaw/dataset": settings.dataset},
    )
