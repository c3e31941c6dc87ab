"""Schedules: when, by default on or off, one run at a time, and nothing asked for where there is nothing yet."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.config import Settings, load_settings
from assets.serving.live.generation import FORMAT, Generation, GenerationRecord
from assets.storage import write_json, write_text
from orchestration.definitions import build_definitions
from orchestration.jobs import DRIFT_REPORT, REFRESH_ALL, REFRESH_DATA, RETRAIN, RETRAIN_QUANTIZER, index_config
from orchestration.run_requests import part_of

ON, OFF = dg.DefaultScheduleStatus.RUNNING, dg.DefaultScheduleStatus.STOPPED
TABLE = {
    "daily_refresh": (REFRESH_DATA, "0 3 * * *", OFF),
    "daily_quantizer": (RETRAIN_QUANTIZER, "30 3 * * *", ON),
    "weekly_drift": (DRIFT_REPORT, "30 4 * * 1", ON),
    "monthly_retrain": (RETRAIN, "0 5 1 * *", OFF),
}
NEEDS_INDEX = ("daily_quantizer", "monthly_retrain")


def serve(settings: Settings, model: str = "sasrec", name: str = "g") -> None:
    """Let a generation of ``model`` serve, as far as schedules and sensors look."""
    live = settings.storage.live
    generation = Generation(live / "generations" / name)
    with generation.open_store():
        pass
    generation.write_record(
        GenerationRecord(
            model=model,
            seed=0,
            checkpoint="c" * 64,
            tables="t",
            until=None,
            engagement=settings.engagement,
            created_at=0,
            format=FORMAT,
        )
    )
    write_json(live / "current.json", {"generation": name})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as held:  # a tick opens the instance again: an ephemeral one would not do
        yield held


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({}, home=tmp_path)


def tick(settings: Settings, name: str, instance: dg.DagsterInstance) -> Any:
    repository = build_definitions(settings).get_repository_def()
    at = datetime(2026, 3, 1, 5, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=repository)
    return repository.get_schedule_def(name).evaluate_tick(context)


def test_names_times_and_defaults_are_the_stated_ones() -> None:
    definitions = build_definitions(load_settings({}))
    found = {each.name: (each.job_name, each.cron_schedule, each.default_status) for each in definitions.schedules}
    assert found == TABLE
    assert {each.execution_timezone for each in definitions.schedules} == {"UTC"}


@pytest.mark.parametrize("name", TABLE)
def test_a_tick_passes_while_a_run_of_its_job_has_not_ended(
    name: str, settings: Settings, instance: dg.DagsterInstance
) -> None:
    serve(settings)
    write_text(settings.storage.table("interactions"), "")
    assert len(tick(settings, name, instance).run_requests) == 1
    run = instance.create_run_for_job(dg.job(name=TABLE[name][0])(lambda: None), status=dg.DagsterRunStatus.STARTING)
    passed = tick(settings, name, instance)
    assert not passed.run_requests
    assert f"run {run.run_id} of {TABLE[name][0]} has not ended (starting)" in passed.skip_message
    instance.report_run_failed(run)
    assert tick(settings, name, instance).run_requests


def test_a_tick_passes_while_thaw_run_is_at_work(settings: Settings, instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(dg.job(name=REFRESH_ALL)(lambda: None), status=dg.DagsterRunStatus.STARTED)
    assert REFRESH_ALL in tick(settings, "daily_refresh", instance).skip_message


def test_a_tick_passes_while_the_command_line_does_its_work(settings: Settings, instance: dg.DagsterInstance) -> None:
    """As `thaw retrain` and `thaw run --select` do, under a job of Dagster's own."""
    serve(settings)
    own_job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    for key, name in ((dg.AssetKey(keys.CONTEST), "monthly_retrain"), (dg.AssetKey(keys.METRICS), "daily_refresh")):
        subset = own_job.get_subset(asset_selection={key})
        run = instance.create_run_for_job(subset, status=dg.DagsterRunStatus.STARTED, tags=part_of([key]))
        passed = tick(settings, name, instance)
        assert not passed.run_requests
        assert run.run_id in passed.skip_message
        instance.report_run_failed(run)
        assert tick(settings, name, instance).run_requests


@pytest.mark.parametrize("name", [*NEEDS_INDEX, "weekly_drift"])
def test_on_a_fresh_home_it_says_what_to_do_first(name: str, settings: Settings, instance: dg.DagsterInstance) -> None:
    passed = tick(settings, name, instance)
    assert not passed.run_requests
    assert "`thaw run` first" in passed.skip_message


def test_the_night_retrains_the_quantizer_and_builds_nothing(settings: Settings, instance: dg.DagsterInstance) -> None:
    serve(settings)
    (request,) = tick(settings, "daily_quantizer", instance).run_requests
    assert request.run_config == index_config(build=False, retrain=True)


def test_the_month_retrains_the_champions_own_model(settings: Settings, instance: dg.DagsterInstance) -> None:
    serve(settings, model="two_tower")
    (request,) = tick(settings, "monthly_retrain", instance).run_requests
    assert request.partition_key == "two_tower"
    assert request.asset_selection is None
    assert request.run_key == "monthly-2026-03-01-two_tower"


def test_several_challengers_are_trained_before_the_contest(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    settings = load_settings({}, home=tmp_path, retraining={"models": ["two_tower", "sasrec"]})
    serve(settings)
    first, last = tick(settings, "monthly_retrain", instance).run_requests
    assert (first.partition_key, last.partition_key) == ("two_tower", "sasrec")
    assert [key.to_user_string() for key in first.asset_selection] == ["champion/challenger"]
    assert last.asset_selection is None
    assert int(first.tags["dagster/priority"]) > int(last.tags["dagster/priority"])
