"""Jobs. ``refresh_all`` takes a dataset name to a searchable index."""

from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.training.registry import MODELS, roster

if TYPE_CHECKING:  # Dagster does not export the type that define_asset_job returns
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

REFRESH_ALL = "refresh_all"


PER_MODEL = (keys.checkpoint, keys.ranks, keys.sampled)
STUDIES = (keys.SWEEP, keys.GAMMA_SWEEP, keys.GATES)


def out_of_reach(settings: Settings) -> list[keys.Key]:
    """Keys that no run under these settings makes, whatever is selected.

    Those of registered models that are not in the roster; under ``leave_one_out`` the sampled protocols, which need a
    cutoff in time; under another split the leave-one-out table.
    """
    chosen = set(roster(settings))
    others = [key(model) for model in MODELS if model not in chosen for key in PER_MODEL]
    return [*others, *(_sampled() if settings.split.kind == "leave_one_out" else [keys.LEAVE_ONE_OUT])]


def left_out(settings: Settings) -> list[keys.Key]:
    """Keys that the job leaves alone.

    What is out of reach; the sampled protocols, which cost as much as full ranking and are for comparison with
    published tables only (``thaw report`` runs them); and studies of training, which train many nets or are for people.
    """
    return [*out_of_reach(settings), *_sampled(), *STUDIES]


def _sampled() -> list[keys.Key]:
    return [*(keys.sampled(model) for model in MODELS), keys.SAMPLED_METRICS, keys.SAMPLED_TABLES]


def refresh_all(settings: Settings) -> "UnresolvedAssetJobDefinition":
    """The job that materializes the whole graph with the roster's models."""
    skipped = dg.AssetSelection.assets(*map(dg.AssetKey, left_out(settings)))
    return dg.define_asset_job(
        REFRESH_ALL,
        selection=dg.AssetSelection.all() - skipped,
        description=f"Raw data to a searchable index for {settings.dataset}, with every check and report on the way.",
        tags={"thaw/dataset": settings.dataset},
    )
