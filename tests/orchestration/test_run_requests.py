"""What counts as a run of a job that has not ended, however it was started."""

from collections.abc import Iterator

import dagster as dg
import pytest

from assets import keys
from assets.config import load_settings
from orchestration.definitions import build_definitions
from orchestration.jobs import DRIFT_REPORT, REFRESH_ALL, RETRAIN
from orchestration.run_requests import PART_OF, at_work, part_of, why_not

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as held:
        yield held


@pytest.fixture(scope="module")
def own_job() -> dg.JobDefinition:
    """Dagster's own job, under which the command line and the UI make what is chosen."""
    return build_definitions(load_settings({})).resolve_implicit_global_asset_job_def()


def start(
    instance: dg.DagsterInstance, job: dg.JobDefinition, *chosen: keys.Key, tags: dict[str, str] | None = None
) -> dg.DagsterRun:
    selection = frozenset(map(dg.AssetKey, chosen))
    subset = job.get_subset(asset_selection=selection)
    return instance.create_run_for_job(subset, status=STARTED, asset_selection=selection, tags=tags)


@pytest.mark.parametrize("made", [keys.CHALLENGER, keys.CONTEST, keys.PROMOTION])
def test_whatever_retrains_is_a_retrain(
    instance: dg.DagsterInstance, own_job: dg.JobDefinition, made: keys.Key
) -> None:
    run = start(instance, own_job, made)
    assert why_not(instance, RETRAIN) == f"run {run.run_id} of {'/'.join(made)} has not ended (started)"
    assert at_work(instance, DRIFT_REPORT, REFRESH_ALL) is None
    instance.report_run_failed(run)
    assert why_not(instance, RETRAIN) is None


def test_one_that_names_its_steps_alone_is_known_by_them(
    instance: dg.DagsterInstance, own_job: dg.JobDefinition
) -> None:
    subset = own_job.get_subset(asset_selection={dg.AssetKey(keys.CONTEST)})
    run = instance.create_run_for_job(subset, status=STARTED)
    assert run.asset_selection is None
    assert at_work(instance, RETRAIN) == run
    assert "of champion/contest, " in str(why_not(instance, RETRAIN))


def test_a_part_of_thaw_run_counts_as_it_and_a_click_on_an_asset_does_not(
    instance: dg.DagsterInstance, own_job: dg.JobDefinition
) -> None:
    start(instance, own_job, keys.METRICS)
    assert at_work(instance, REFRESH_ALL, RETRAIN) is None
    run = start(instance, own_job, keys.METRICS, tags=part_of([dg.AssetKey(keys.METRICS)]))
    assert at_work(instance, REFRESH_ALL) == run
    assert at_work(instance, RETRAIN) is None


def test_a_run_of_the_command_line_says_what_it_is_a_part_of() -> None:
    retrained = [dg.AssetKey(keys.CONTEST), dg.AssetKey(keys.PROMOTION)]
    assert part_of(retrained) == {PART_OF: RETRAIN}
    assert part_of([*retrained, dg.AssetKey(keys.METRICS)]) == {PART_OF: REFRESH_ALL}
