"""The only ``Definitions``: every stage's assets and checks, the resources, jobs, schedules and the sensor.

``dagster dev -m orchestration.definitions`` loads :data:`defs` for the dataset that the environment names; tests and
the command line call :func:`build_definitions` with settings of their own.
"""

import dagster as dg

from assets import dbt
from assets.config import Settings, load_settings
from assets.evaluation import assets as evaluation_assets
from assets.evaluation import checks as evaluation_checks
from assets.evaluation.sampled import assets as sampled_assets
from assets.evaluation.studies import assets as test_study_assets
from assets.ingestion import assets as ingestion_assets
from assets.ingestion.landing import assets as landing_assets
from assets.monitoring import assets as monitoring_assets
from assets.quality import assets as quality_assets
from assets.quality import checks as quality_checks
from assets.serving import assets as serving_assets
from assets.serving import checks as serving_checks
from assets.training import assets as training_assets
from assets.training.studies import assets as study_assets
from orchestration.jobs import freshen, refresh_all, retrain_quantizer
from orchestration.resources import resources
from orchestration.schedules import daily_quantizer, daily_refresh
from orchestration.sensors import landing_sensor

ASSETS = [
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
    *monitoring_assets.ASSETS,
]
CHECKS = [*quality_checks.CHECKS, *evaluation_checks.CHECKS, *serving_checks.CHECKS]


def build_definitions(settings: Settings, **loggers: dg.LoggerDefinition) -> dg.Definitions:
    """Everything Dagster needs to know for one dataset and roster.

    Steps run one after the other in the run's own process: a process per step costs 3 to 4 seconds each on this graph.
    """
    refresh, fresh, quantizer = refresh_all(settings), freshen(settings), retrain_quantizer(settings)
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=[refresh, fresh, quantizer],
        schedules=[daily_refresh(refresh), daily_quantizer(quantizer)],
        sensors=[landing_sensor(fresh, settings)],
        resources=resources(settings),
        executor=dg.in_process_executor,
        loggers=loggers or None,
    )


defs = build_definitions(load_settings())
