"""Automation conditions on the project's own graph: what follows, what is held, what never runs by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.config import load_settings
from assets.training.registry import MODELS
from orchestration.automation import condition_of
from orchestration.definitions import build_definitions
from orchestration.jobs import REFRESH_ALL

RAW = (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)
DAYS = ("2020-01-01", "2020-01-02")
NOON = datetime(2026, 1, 5, 12, 1, tzinfo=UTC)


def names(chosen: Sequence[keys.Key]) -> set[str]:
    return {"/".join(key) for key in chosen}


@dataclass
class Daemon:
    """The definitions on an instance of their own, and a daemon that looks when told."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    cursor: Any = None
    now: datetime = NOON
    requested: set[tuple[str, str | None]] = field(default_factory=set)

    def look(self, minutes: float = 1.0) -> set[str]:
        """What one tick requests, by name; partitions are in :attr:`requested`."""
        self.now += timedelta(minutes=minutes)
        found = dg.evaluate_automation_conditions(
            self.definitions, self.instance, evaluation_time=self.now, cursor=self.cursor
        )
        self.cursor = found.cursor
        self.requested = set()
        for result in found.results:
            if result.true_subset.is_empty or not isinstance(result.key, dg.AssetKey):
                continue
            partitions = result.true_subset.expensively_compute_asset_partitions()
            self.requested |= {(result.key.to_user_string(), each.partition_key) for each in partitions}
        return {name for name, _ in self.requested}

    def made(self, *chosen: keys.Key, partition: str | None = None) -> None:
        """The assets were made, each by a run of its own."""
        for key in chosen:
            event = dg.AssetMaterialization(dg.AssetKey(key), partition=partition)
            self.instance.report_runless_asset_event(event)

    def made_together(self, *chosen: keys.Key) -> None:
        """One run made all of these."""
        keys_of_run = frozenset(map(dg.AssetKey, chosen))
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys_of_run)
        run = self.instance.create_run_for_job(job, asset_selection=keys_of_run)
        for key in chosen:
            event = dg.DagsterEvent(
                event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                job_name=job.name,
                step_key="step",
                event_specific_data=_materialized(key),
            )
            self.instance.report_dagster_event(event, run.run_id)

    def check(self, passed: bool, *, blocking_of: Sequence[keys.Key]) -> None:
        """Every blocking check of these assets was executed."""
        graph = self.definitions.resolve_asset_graph()
        wanted = set(map(dg.AssetKey, blocking_of))
        for key in graph.asset_check_keys:
            if graph.get(key).blocking and key.asset_key in wanted:
                evaluation = dg.AssetCheckEvaluation(
                    asset_key=key.asset_key, check_name=key.name, passed=passed, metadata={}
                )
                self.instance.report_runless_asset_event(evaluation)


def _materialized(key: keys.Key) -> Any:
    from dagster._core.events import StepMaterializationData  # noqa: PLC0415 - what a step of a run writes

    return StepMaterializationData(dg.AssetMaterialization(dg.AssetKey(key)))


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_settings({}))


@pytest.fixture
def daemon(definitions: dg.Definitions) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(definitions, instance)


@pytest.fixture
def made(daemon: Daemon) -> Daemon:
    """Everything that ``thaw run`` makes is there, its checks passed, and the daemon has looked."""
    job = daemon.definitions.resolve_job_def(REFRESH_ALL)
    everything = [list(key.path) for key in job.asset_layer.executable_asset_keys]
    daemon.made(*everything)
    daemon.check(True, blocking_of=everything)
    assert daemon.look() == set()
    return daemon


def data_path(definitions: dg.Definitions) -> set[str]:
    graph = definitions.resolve_asset_graph()
    dbt = {
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if key.path[0] in {keys.STAGING, keys.SPLITS, keys.SLICES, keys.HISTORIES}
    }
    return dbt | names((keys.TABLES, keys.DATA_DOCS, keys.ENGAGEMENT_DRIFT))


PAGES = names((keys.DASHBOARD, keys.EVIDENTLY_WORKSPACE))


def test_nothing_is_requested_of_a_fresh_home_or_when_nothing_changed(daemon: Daemon, made: Daemon) -> None:
    assert made.look() == set()
    assert made.look(minutes=60) == set()
    with dg.DagsterInstance.ephemeral() as instance:
        fresh = Daemon(made.definitions, instance)
        assert fresh.look() == set()
        assert fresh.look() == set()


def test_new_raw_data_flow_to_tables_checks_reports_and_pages_in_one_look(made: Daemon) -> None:
    made.made(*RAW)
    made.check(True, blocking_of=RAW)
    assert made.look() == data_path(made.definitions) | PAGES
    assert made.look() == set()


def test_a_failed_blocking_check_holds_what_follows_also_across_runs(made: Daemon) -> None:
    made.made(*RAW)
    made.check(False, blocking_of=RAW)
    assert made.look() == set()
    assert made.look() == set()
    made.check(True, blocking_of=RAW)
    assert made.look() - PAGES == data_path(made.definitions)


def test_failed_tables_hold_the_reports(made: Daemon) -> None:
    made.made(keys.TABLES)
    made.check(False, blocking_of=[keys.TABLES])
    assert made.look() == set()
    made.check(True, blocking_of=[keys.TABLES])
    assert names((keys.DATA_DOCS, keys.ENGAGEMENT_DRIFT)) <= made.look()


def test_nothing_is_trained_ranked_or_studied(made: Daemon) -> None:
    made.made(*RAW, keys.TABLES, *(keys.checkpoint(model) for model in MODELS), keys.METRICS, keys.ITEM_INDEX)
    made.check(True, blocking_of=(*RAW, keys.TABLES))
    costly = {keys.TRAINING, keys.STUDIES, keys.EVALUATION, keys.SERVING, keys.INGESTION}
    requested = {name.split("/")[0] for name in made.look() | made.look(minutes=10)}
    assert requested
    assert not requested & costly


def test_no_condition_stands_on_what_costs_minutes(definitions: dg.Definitions) -> None:
    costly = {keys.TRAINING, keys.STUDIES, keys.EVALUATION, keys.SERVING, keys.INGESTION}
    for key in definitions.resolve_asset_graph().materializable_asset_keys:
        if key.path[0] in costly or list(key.path) in keys.RETRAINING:
            assert condition_of(key) is None, key


def test_nothing_follows_a_run_that_made_everything_itself(made: Daemon) -> None:
    job = made.definitions.resolve_job_def(REFRESH_ALL)
    made.made_together(*(list(key.path) for key in job.asset_layer.executable_asset_keys))
    made.check(True, blocking_of=(*RAW, keys.TABLES))
    assert made.look() == set()
    assert made.look(minutes=10) == set()


def test_a_landed_partition_asks_for_what_watches_it_once(made: Daemon) -> None:
    made.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, list(DAYS))
    assert made.look(minutes=10) == set()
    made.made(*keys.PER_PARTITION, partition=DAYS[0])
    made.look(minutes=5)
    assert made.requested == {(name, DAYS[0]) for name in names(keys.WATCHED)}
    made.look(minutes=5)
    assert made.requested == set()


def test_a_partition_that_changes_all_the_time_is_watched_every_five_minutes(made: Daemon) -> None:
    made.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, list(DAYS))
    looks = []
    made.look(minutes=4.25)
    for _ in range(20):  # ten minutes from a whole five on, a file every thirty seconds
        made.made(*keys.PER_PARTITION, partition=DAYS[1])
        looks.append(bool(made.look(minutes=0.5)))
    assert sum(looks) == 2


def test_an_index_or_a_checkpoint_asks_for_no_partition(made: Daemon) -> None:
    made.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, list(DAYS))
    made.look(minutes=5)
    made.made(keys.ITEM_INDEX, *(keys.checkpoint(model) for model in MODELS))
    assert not made.look(minutes=5) & names(keys.WATCHED)


def test_pages_follow_what_was_watched_and_no_check_holds_them(made: Daemon) -> None:
    made.check(False, blocking_of=[keys.TABLES])
    made.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, list(DAYS))
    made.look(minutes=5)
    for key in keys.WATCHED:
        made.made(key, partition=DAYS[0])
    assert made.look() == PAGES
    assert made.look() == set()


def test_landed_files_alone_do_not_make_pages(made: Daemon) -> None:
    made.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, list(DAYS))
    made.look()
    made.made(*keys.PER_PARTITION, partition=DAYS[0])
    assert not made.look() & PAGES


def test_the_sensor_is_on_and_its_runs_are_heavy(definitions: dg.Definitions) -> None:
    sensor = definitions.resolve_sensor_def("automation")
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.run_tags["thaw/weight"] == "heavy"
