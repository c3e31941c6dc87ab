"""The landing sensor: takes dropped files, adds their partitions, requests one run at a time for what waits.

Everything it decides is pure (:mod:`assets.ingestion.landing.planning` and :mod:`.ranges` beside it); here is what
Dagster knows: which runs are at work, which partitions exist, the cursor.
"""

from collections.abc import Sequence
from typing import Final

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets import keys
from assets.config import Settings
from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.planning import MAX_PAUSE_SECONDS, Cursor, RunState, plan
from assets.ingestion.landing.ranges import Range, one_range
from assets.ingestion.limits import within
from assets.instants import wall_clock
from assets.partitions import LANDED
from assets.serving.live.generation import current, require_current
from assets.serving.live.waiting import waiting
from orchestration.jobs import FRESHEN, AssetJob, index_config
from orchestration.slots import UNFINISHED, free_dead_slots, process_tags

CLAIM_SECONDS: Final = 20.0
"""Of one tick for taking files; Dagster ends a tick after 60."""

RUN_CONFIG: Final = index_config(build=False, retrain=False)
"""Named in every request: a range of partitions does not get the job's own configuration."""

FLUSH_TAG: Final = "thaw/flush"
FLUSHED: Final = (keys.FRESH_ITEM_EMBEDDINGS, keys.ITEM_INDEX, keys.FRESHNESS_REPORT)
"""What a run makes that only embeds items which waited; of the latest partition, because some partition it must be."""


def landing_sensor(job: AssetJob, settings: Settings) -> dg.SensorDefinition:
    """The sensor that requests ``freshen``; on by default."""
    config = settings.freshness

    @dg.sensor(
        name="landing",
        job=job,
        # The daemon looks every 5 seconds and passes over a sensor whose last tick began a moment less ago.
        minimum_interval_seconds=max(1, config.sensor_seconds - 1),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Takes files dropped into landing/engagements and landing/items, adds their partitions and requests one run"
            " at a time for all that wait; also for items whose embedding was put off and is due."
        ),
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return look(context, settings, wall_clock())

    return landing


def look(context: dg.SensorEvaluationContext, settings: Settings, now: int) -> dg.SensorResult | dg.SkipReason:
    """One tick at ``now`` (wall clock, microseconds)."""
    storage = settings.storage
    free_dead_slots(context.instance)
    with within(settings.limits):
        claims = claim(storage, settings.freshness, now, CLAIM_SECONDS)
    for reason in claims.quarantined.values():
        context.log.warning(f"quarantined {reason}")
    for name, reason in claims.failed.items():
        context.log.warning(f"cannot take {name}: {reason}")
    files = claimed(storage)
    if current(storage) is None:
        return dg.SkipReason(f"there is no index yet: run `thaw run` first; {sum(map(len, files.values()))} files wait")
    before = Cursor.from_json(context.cursor)
    found = plan(files, before, _state(context.instance, before), settings.freshness, now)
    if found.partitions:
        stored = context.instance.get_dynamic_partitions(keys.LANDED_PARTITIONS)
        kept, taken = one_range(found, before, stored, files, settings.freshness.partitions_per_run)
        context.log.info(kept.reason)
        return dg.SensorResult(
            run_requests=[_request(taken, kept.run_key)],
            dynamic_partitions_requests=[LANDED.build_add_request(list(taken.added))] if taken.added else [],
            cursor=kept.cursor.to_json(),
        )
    flush = None if _at_work(context.instance) else _flush(context, settings, now)
    if isinstance(flush, dg.RunRequest):
        return dg.SensorResult(run_requests=[flush], cursor=found.cursor.to_json())
    reasons = [found.reason, flush, f"{claims.left} files are left to the next look" if claims.left else None]
    reasons += [f"{len(claims.unfinished)} files are still being written" if claims.unfinished else None]
    return dg.SensorResult(skip_reason="; ".join(filter(None, reasons)), cursor=found.cursor.to_json())


def _request(taken: Range, run_key: str | None) -> dg.RunRequest:
    if taken.start == taken.end:
        return dg.RunRequest(run_key=run_key, partition_key=taken.start, tags=process_tags(), run_config=RUN_CONFIG)
    of_range = {ASSET_PARTITION_RANGE_START_TAG: taken.start, ASSET_PARTITION_RANGE_END_TAG: taken.end}
    return dg.RunRequest(run_key=run_key, tags={**process_tags(), **of_range}, run_config=RUN_CONFIG)


def _flush(context: dg.SensorEvaluationContext, settings: Settings, now: int) -> dg.RunRequest | str | None:
    """A request for items whose embedding is due, a reason why not yet, or nothing to do."""
    with require_current(settings.storage).open_store() as store, store.read() as reader:
        pending = waiting(reader, now)
    if not pending.due and not pending.batches:
        return f"{pending.items} items wait for their embedding" if pending.items else None
    partitions = context.instance.get_dynamic_partitions(keys.LANDED_PARTITIONS)
    if not partitions:
        return None
    if pause := _pause(context.instance, settings.freshness.sensor_seconds, now):
        return f"embedding of {pending.due} items failed, tried again in {pause:.0f} s"
    context.log.info(f"{pending.due} of {pending.items} items are due")
    return dg.RunRequest(
        run_key=f"flush-{now}",
        partition_key=max(partitions),
        run_config=RUN_CONFIG,
        asset_selection=[dg.AssetKey(key) for key in FLUSHED],
        tags={**process_tags(), FLUSH_TAG: "yes"},
    )


def _pause(instance: dg.DagsterInstance, seconds: float, now: int) -> float:
    """Seconds until a flush may be requested again: none after one that succeeded, twice as long after each failure."""
    records = instance.get_run_records(dg.RunsFilter(job_name=FRESHEN, tags={FLUSH_TAG: "yes"}), limit=8)
    failures = 0
    for record in records:
        if record.dagster_run.status is dg.DagsterRunStatus.SUCCESS:
            break
        failures += 1
    if not failures:
        return 0.0
    ended = records[0].end_time or records[0].update_timestamp.timestamp()
    return max(0.0, min(MAX_PAUSE_SECONDS, seconds * 2.0**failures) - (now / 1e6 - ended))


def _state(instance: dg.DagsterInstance, cursor: Cursor) -> RunState:
    if _at_work(instance):
        return RunState.IN_FLIGHT
    return RunState.NONE if cursor.run_key is None else RunState.ENDED


def _at_work(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Runs of the job that have not ended, whoever launched them."""
    return instance.get_runs(dg.RunsFilter(job_name=FRESHEN, statuses=list(UNFINISHED)), limit=1)
