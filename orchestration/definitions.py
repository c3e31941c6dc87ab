"""The only ``Definitions``: every stage's assets and checks, the resources, jobs, schedules and sensors.

Code versions and automation conditions are put on here, from one page each, so that stages stay free of them.

``dagster dev -m orchestration.definitions`` loads :data:`defs` for the dataset that the environment names; tests and
the command line call :func:`build_definitions` with settings of their own.
"""

import dagster as dg

from assets import dbt
from assets.champion import assets as champion_assets
from assets.champion import checks as champion_checks
from assets.champion.quality import assets as champion_quality_assets
from assets.config import Settings, load_settings
from assets.config.data_format import require_format
from assets.evaluation import assets as evaluation_assets
from assets.evaluation import checks as evaluation_checks
from assets.evaluation.sampled import assets as sampled_assets
from assets.evaluation.studies import assets as test_study_assets
from assets.ingestion import assets as ingestion_assets
from assets.ingestion.landing import assets as landing_assets
from assets.monitoring import assets as monitoring_assets
from assets.monitoring.evidently import assets as workspace_assets
from assets.monitoring.partitions import assets as partition_assets
from assets.monitoring.site import assets as site_assets
from assets.quality import assets as quality_assets
from assets.quality import checks as quality_checks
from assets.serving import assets as serving_assets
from assets.serving import checks as serving_checks
from assets.training import assets as training_assets
from assets.training.studies import assets as study_assets
from orchestration.automation import automation_sensor, condition_of
from orchestration.code_versions import versioned
from orchestration.decay_sensor import decay_sensor
from orchestration.failure_sensor import failure_sensor
from orchestration.jobs import drift_report, freshen, refresh_all, refresh_data, retrain, retrain_quantizer
from orchestration.pods import executor_of, steps_of
from orchestration.resources import resources
from orchestration.schedules import all_schedules
from orchestration.sensors import landing_sensor
from orchestration.units import units_of

STAGES = [
    *ingestion_assets.ASSETS,
    *landing_assets.ASSETS,
    *dbt.ASSETS,
    *quality_assets.ASSETS,
    *training_assets.ASSETS,
    *study_assets.ASSETS,
    *evaluation_assets.ASSETS,
    *sampled_assets.ASSETS,
    *test_study_assets.ASSETS,
    *serving_assets.ASSETS,
    *champion_quality_assets.ASSETS,
    *champion_assets.ASSETS,
    *monitoring_assets.ASSETS,
    *partition_assets.ASSETS,
    *workspace_assets.ASSETS,
    *site_assets.ASSETS,
]
CHECKS = [*quality_checks.CHECKS, *evaluation_checks.CHECKS, *serving_checks.CHECKS, *champion_checks.CHECKS]


def _finished(spec: dg.AssetSpec) -> dg.AssetSpec:
    return versioned(spec).replace_attributes(automation_condition=condition_of(spec.key))


ASSETS = list(dg.map_asset_specs(_finished, STAGES))


def build_definitions(settings: Settings, **loggers: dg.LoggerDefinition) -> dg.Definitions:
    """Everything Dagster needs to know for one dataset and roster.

    Steps run one after the other in the run's own process: a process per step costs 3 to 4 seconds each on this graph.
    ``steps.executor`` gives those of the batch jobs pods of their own.

    Raises:
        DataFormatError: for a data root that this version must not write into.
    """
    require_format(settings.storage)
    batch = executor_of(settings, steps_of([*ASSETS, *CHECKS]))
    refresh, fresh, quantizer = refresh_all(settings, batch), freshen(settings), retrain_quantizer(settings)
    data, drift, anew = refresh_data(settings, batch), drift_report(settings), retrain(settings)
    definitions = dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=[refresh, fresh, quantizer, data, drift, anew],
        schedules=all_schedules(settings, data, quantizer, drift, anew),
        sensors=[
            landing_sensor(fresh, settings),
            automation_sensor(settings.dataset),
            decay_sensor(anew, settings),
            failure_sensor(settings),
        ],
        resources=resources(settings, lambda: units_of(definitions)),
        executor=dg.in_process_executor,
        loggers=loggers or None,
    )
    return definitions


defs = build_definitions(load_settings())
