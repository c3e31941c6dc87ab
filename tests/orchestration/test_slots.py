"""A run that was killed while it held a pool slot does not stop the next one."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.config import PROJECT_ROOT
from orchestration import slots
from orchestration.slots import BIRTH_TAG, HOST_TAG, PID_TAG, free_dead_slots, is_dead, process_birth, process_tags

HOST = socket.gethostname()
CONFIG = "concurrency: {pools: {default_limit: 1, granularity: op}}\ntelemetry: {enabled: false}\n"
POOL = "warehouse"

HOLD = """
import sys, time
import dagster as dg
from assets.config import PROJECT_ROOT
from orchestration import slots
from orchestration.slots import process_tags

@dg.op(pool="warehouse")
def hold():
    print("holding", flush=True)
    time.sleep(60)

@dg.job
def held():
    hold()

held.execute_in_process(instance=dg.DagsterInstance.get(), tags=process_tags())
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@dg.op(pool=POOL)
def take() -> None:
    pass


@dg.job
def taking() -> None:
    take()


def test_own_process_is_alive() -> None:
    assert not is_dead(process_tags(), HOST)


def test_a_process_that_ended_is_dead_on_its_own_host_only(dead_pid: int) -> None:
    tags = {PID_TAG: str(dead_pid), HOST_TAG: HOST}
    assert is_dead(tags, HOST)
    assert not is_dead(tags, "elsewhere")


@pytest.mark.parametrize("tags", [{}, {HOST_TAG: HOST}, {PID_TAG: "", HOST_TAG: HOST}, {PID_TAG: "x", HOST_TAG: HOST}])
def test_without_a_process_id_nothing_is_known(tags: dict[str, str]) -> None:
    assert not is_dead(tags, HOST)


def test_a_process_id_used_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "process_birth", lambda pid: "this boot/7")
    assert not is_dead(process_tags(), HOST)
    assert is_dead({**process_tags(), BIRTH_TAG: "this boot/3"}, HOST)


def test_where_the_system_tells_no_birth_the_process_id_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "process_birth", lambda pid: None)
    assert BIRTH_TAG not in process_tags()
    assert not is_dead(process_tags(), HOST)


def test_a_process_that_does_not_exist_has_no_birth(dead_pid: int) -> None:
    assert process_birth(dead_pid) is None


def _claimed(instance: dg.DagsterInstance) -> set[str]:
    return instance.event_log_storage.get_concurrency_run_ids()


def _hold_slot(instance: dg.DagsterInstance, tags: dict[str, str], status: dg.DagsterRunStatus) -> str:
    run = instance.create_run_for_job(taking, tags=tags, status=status)
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "take")
    return run.run_id


def test_only_dead_tagged_runs_are_freed(home: Path, dead_pid: int) -> None:
    dead = {PID_TAG: str(dead_pid), HOST_TAG: HOST}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        kept = [
            _hold_slot(instance, tags, dg.DagsterRunStatus.STARTED)
            for tags in ({}, process_tags(), {**dead, HOST_TAG: "elsewhere"})
        ]
        started = _hold_slot(instance, dead, dg.DagsterRunStatus.STARTED)
        finished = _hold_slot(instance, dead, dg.DagsterRunStatus.FAILURE)
        assert free_dead_slots(instance) == [started]
        assert _claimed(instance) == set(kept)
        assert finished not in _claimed(instance)
        run = instance.get_run_by_id(started)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert free_dead_slots(instance) == []


def test_a_killed_process_does_not_stop_the_next_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert any(b"holding" in line for line in process.stdout)
    with dg.DagsterInstance.get() as instance:
        assert free_dead_slots(instance) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(_claimed(instance)) == 1
        assert len(free_dead_slots(instance)) == 1
        assert taking.execute_in_process(instance=instance).success
        assert _claimed(instance) == set()
