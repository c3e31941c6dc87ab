"""What follows by itself: conditions by asset key, and the sensor that evaluates them.

They are here and not on the assets, so that a stage says what it makes and this page says when. Three conditions:

``new_data``
    The data path, from the dbt models to the drift report, follows its inputs. It is held by a failed blocking check of
    an input, also when the check failed in another run; Dagster by itself stops only what is in the same run.
``landed``
    What watches landed partitions follows them, at most every five minutes and in runs of its own: while files land, a
    day's partition changes every few seconds, and the run that makes them searchable is not to wait for a report.
``pages``
    The pages and the workspace follow what they show. They cope with missing parts and are *not* held by checks: a page
    that stays as it was while a check fails goes on saying that all is well.

Without a condition, so never by themselves:

- raw tables: their source is asked on a schedule (``daily_refresh``) or by hand;
- training, ranks, metrics, sampled protocols, studies: minutes to hours of work, and new tables without new checkpoints
  are an ordinary state; ``thaw run`` decides;
- challengers, contests, promotions: asked for by a decay alert, by the month or by a person;
- landed engagements up to the index: one run per batch, requested by the landing sensor within seconds.
"""

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from assets import keys

WATCH_CRON: Final = "*/5 * * * *"
"""When landed partitions are looked at: at most so often."""

DATA_STAGES: Final = (keys.STAGING, keys.SPLITS, keys.SLICES, keys.HISTORIES)
DATA_PATH: Final = (keys.TABLES, keys.DATA_DOCS, keys.ENGAGEMENT_DRIFT)
PAGES: Final = (keys.DASHBOARD, keys.EVIDENTLY_WORKSPACE)

WEIGHT_TAG: Final = "thaw/weight"
HEAVY: Final = "heavy"
"""Of runs that take their time: ``dagster.yaml`` lets one at a time go. Runs of ``freshen`` have no weight."""

Condition = dg.AutomationCondition[Any]


def new_data() -> Condition:
    """An input was made anew by a run that left this asset out, and nothing stands against following."""
    condition = (
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
    )
    return condition.with_label("new data")


def landed() -> Condition:
    """Engagements of this partition landed, and no run is at them; asked every five minutes.

    Only the landed chain counts: an input without partitions, a checkpoint say, would ask for every partition.
    """
    chain = selection(keys.PER_PARTITION)
    condition = (
        dg.AutomationCondition.any_deps_updated().allow(chain).since_last_handled()
        & ~dg.AutomationCondition.any_deps_in_progress().allow(chain)
        & ~dg.AutomationCondition.in_progress()
        & dg.AutomationCondition.cron_tick_passed(WATCH_CRON, "UTC")
    )
    return condition.with_label("landed partition")


def pages() -> Condition:
    """Something a page shows was made anew; the landed chain, which changes every few seconds, does not count."""
    chain = selection(keys.PER_PARTITION)
    condition = (
        dg.AutomationCondition.any_deps_updated().ignore(chain).since_last_handled()
        & ~dg.AutomationCondition.any_deps_in_progress().ignore(chain)
        & ~dg.AutomationCondition.in_progress()
    )
    return condition.with_label("something to show")


def selection(chosen: Sequence[keys.Key]) -> dg.AssetSelection:
    """The assets of these keys."""
    return dg.AssetSelection.assets(*map(dg.AssetKey, chosen))


def condition_of(key: dg.AssetKey) -> Condition | None:
    """The condition of an asset; None where nothing makes it follow."""
    path = list(key.path)
    if path[0] in DATA_STAGES or path in DATA_PATH:
        return new_data()
    if path in PAGES:
        return pages()
    return landed() if path in keys.WATCHED else None


def automation_sensor(dataset: str) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions, every 30 seconds; on by default."""
    return dg.AutomationConditionSensorDefinition(
        name="automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        run_tags={WEIGHT_TAG: HEAVY, "thaw/dataset": dataset},
        description=(
            "New raw tables flow to splits, checks, drift report and pages; landed partitions to quality and drift."
            " Failed blocking checks hold what follows. Nothing is trained."
        ),
    )
