"""Jobs. ``refresh_all`` takes a dataset name to a searchable index, ``freshen`` landed files into it.

``refresh_all`` is the job of ``thaw run`` and trains; ``refresh_data`` is its part that a schedule may run every night.
``retrain`` makes challengers and lets them meet the model that serves.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.evaluation.studies import registry
from assets.serving.servable import servable
from assets.training.registry import MODELS, roster
from orchestration.automation import DATA_PATH, DATA_STAGES, HEAVY, PAGES, WEIGHT_TAG, selection
from orchestration.pods import job_tags

if TYPE_CHECKING:  # Dagster does not export the type that define_asset_job returns
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

AssetJob: TypeAlias = "UnresolvedAssetJobDefinition"

REFRESH_ALL = "refresh_all"
FRESHEN = "freshen"
RETRAIN_QUANTIZER = "retrain_quantizer"
REFRESH_DATA = "refresh_data"
DRIFT_REPORT = "drift_report"
RETRAIN = "retrain"

STATE_EQUALS_BATCH = dg.AssetCheckKey(dg.AssetKey(keys.FRESH_ITEM_EMBEDDINGS), keys.STATE_EQUALS_BATCH)
INDEX_RECALL = dg.AssetCheckKey(dg.AssetKey(keys.ITEM_INDEX), keys.INDEX_RECALL)
"""Checks that compute everything anew: for builds and the night, not for every landed file."""


PER_MODEL = (keys.checkpoint, keys.ranks, keys.sampled)
STUDIES = (
    keys.SWEEP,
    keys.GAMMA_SWEEP,
    keys.GATES,
    *(step.key for study in registry.STUDIES for step in study.steps),
)


def out_of_reach(settings: Settings) -> list[keys.Key]:
    """Keys that no run under these settings makes, whatever is selected.

    Those of registered models that are not in the roster; under a split without a cutoff in time the sampled protocols,
    which need one; under another split than ``leave_one_out`` its table; the index where no model of the roster can
    serve. What is made per partition of landed engagements is the landing sensor's, or follows it by itself;
    challengers and what comes of them are ``thaw retrain``'s.
    """
    chosen = set(roster(settings))
    others = [key(model) for model in MODELS if model not in chosen for key in PER_MODEL]
    split = [] if settings.split.cuts_in_time else _sampled()
    if settings.split.kind != "leave_one_out":
        split = [*split, keys.LEAVE_ONE_OUT]
    index = [] if any(map(servable, chosen)) else [keys.ITEM_INDEX]
    return [*others, *split, *index, *keys.PER_PARTITION, *keys.WATCHED, *keys.RETRAINING]


def left_out(settings: Settings) -> list[keys.Key]:
    """Keys that the job leaves alone.

    What is out of reach; the sampled protocols, which cost as much as full ranking and are for comparison with
    published tables only (``thaw report`` runs them); and studies of training, which train many nets or are for people.
    """
    return [*out_of_reach(settings), *_sampled(), *STUDIES]


def _sampled() -> list[keys.Key]:
    return [*(keys.sampled(model) for model in MODELS), keys.SAMPLED_METRICS, keys.SAMPLED_TABLES]


def refresh_all(settings: Settings, executor: dg.ExecutorDefinition | None = None) -> AssetJob:
    """The job that materializes the whole graph with the roster's models.

    Args:
        executor: of its steps, if not that of the definitions.
    """
    skipped = dg.AssetSelection.assets(*map(dg.AssetKey, left_out(settings)))
    return dg.define_asset_job(
        REFRESH_ALL,
        selection=dg.AssetSelection.all() - skipped,
        description=f"Raw data to a searchable index for {settings.dataset}, with every check and report on the way.",
        tags=_tags(settings),
        executor_def=executor,
    )


def freshen(settings: Settings) -> AssetJob:
    """The job that makes landed files searchable; the landing sensor requests it."""
    chosen = dg.AssetSelection.assets(*map(dg.AssetKey, (*keys.PER_PARTITION, keys.ITEM_INDEX)))
    return dg.define_asset_job(
        FRESHEN,
        selection=chosen - dg.AssetSelection.checks(STATE_EQUALS_BATCH, INDEX_RECALL),
        config=index_config(build=False, retrain=False),
        description=f"Landed files of {settings.dataset} into features, embeddings and the index that serves.",
        tags=_tags(settings) | job_tags(keys.SERVING, settings),
    )


def retrain_quantizer(settings: Settings) -> AssetJob:
    """The job of the night: the index's quantizer anew, and the live state against batch code."""
    return dg.define_asset_job(
        RETRAIN_QUANTIZER,
        selection=dg.AssetSelection.assets(dg.AssetKey(keys.ITEM_INDEX)) | dg.AssetSelection.checks(STATE_EQUALS_BATCH),
        config=index_config(build=False, retrain=True),
        description=f"The quantizer of {settings.dataset}'s index trained anew; the live state checked as a whole.",
        tags=_tags(settings) | job_tags(keys.SERVING, settings),
    )


def refresh_data(settings: Settings, executor: dg.ExecutorDefinition | None = None) -> AssetJob:
    """The job of the night: raw data to tables, checks, drift report and pages; nothing is trained."""
    raw = (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)
    return dg.define_asset_job(
        REFRESH_DATA,
        selection=selection((*raw, *DATA_PATH, *PAGES)) | dg.AssetSelection.groups(*DATA_STAGES),
        description=f"The source of {settings.dataset} read anew, to checked tables, drift report and pages.",
        tags=_tags(settings, heavy=True),
        executor_def=executor,
    )


def drift_report(settings: Settings) -> AssetJob:
    """The job of the week: the drift report, the workspace and the pages."""
    return dg.define_asset_job(
        DRIFT_REPORT,
        selection=selection((keys.ENGAGEMENT_DRIFT, *PAGES)),
        description=f"Drift of {settings.dataset}'s test windows, Evidently's workspace and the pages, made anew.",
        tags=_tags(settings, heavy=True) | job_tags(keys.MONITORING, settings),
    )


def retrain(settings: Settings) -> AssetJob:
    """The job that trains a challenger, lets it meet the champion, and promotes it where it wins."""
    return dg.define_asset_job(
        RETRAIN,
        selection=selection(keys.RETRAINING),
        description=f"A challenger of {settings.dataset}'s champion, their contest, and promotion of a winner.",
        tags=_tags(settings, heavy=True) | job_tags(keys.CHAMPION, settings),
    )


def _tags(settings: Settings, *, heavy: bool = False) -> dict[str, Any]:
    return {"thaw/dataset": settings.dataset, **({WEIGHT_TAG: HEAVY} if heavy else {})}


def index_config(*, build: bool, retrain: bool) -> dict[str, Any]:
    """Run configuration: what ``serving/item_index`` may do, see :class:`assets.serving.assets.IndexRun`."""
    return {"ops": {"__".join(keys.ITEM_INDEX): {"config": {"build": build, "retrain": retrain}}}}
