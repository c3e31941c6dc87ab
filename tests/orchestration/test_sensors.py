"""The landing sensor: claims, adds partitions, requests one run at a time, flushes what is due, says why it waits."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets import keys
from assets.config import Settings, load_settings
from assets.ingestion.landing.claims import claimed, finish
from assets.ingestion.landing.planning import Cursor
from assets.serving.live.generation import Generation
from assets.serving.store.interface import Table
from assets.serving.store.records import PENDING, number_keys, pack
from assets.storage import write_json
from orchestration.definitions import build_definitions
from orchestration.jobs import FRESHEN, index_config
from orchestration.sensors import FLUSH_TAG, FLUSHED, look
from orchestration.slots import PID_TAG, process_tags

MICROS = 1_000_000
START = "dagster/asset_partition_range_start"
END = "dagster/asset_partition_range_end"


@dataclass
class Landing:
    """A drop zone and a sensor on an instance of its own; ``now`` moves when told."""

    settings: Settings
    instance: dg.DagsterInstance
    cursor: str | None = None
    now: int = 0

    def drop(self, name: str, *days: str, content: str | None = None) -> None:
        folder = self.settings.storage.landing / "engagements"
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["user_id,item_id,timestamp", *(f"u,i,{day}T10:00:00Z" for day in days)]
        path = folder / name
        path.write_text("\n".join(lines) + "\n" if content is None else content)
        os.utime(path, (time.time() - 60, time.time() - 60))  # written long enough ago to be finished

    def look(self) -> dg.SensorResult:
        """One tick, its partitions added and its cursor kept, as the daemon does."""
        self.now = max(self.now, time.time_ns() // 1000)
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        found = look(context, self.settings, self.now)
        if isinstance(found, dg.SkipReason):
            return dg.SensorResult(skip_reason=found.skip_message)
        for request in found.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        self.cursor = found.cursor or self.cursor
        return found

    def run(self, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
        """What the request would have launched, in this status."""
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        job = dg.job(name=FRESHEN)(lambda: None)
        return self.instance.create_run_for_job(job, status=status, tags={**request.tags, **key, **tags})

    def apply(self) -> None:
        """What a run does with the claimed files."""
        for files in claimed(self.settings.storage).values():
            for file in files:
                finish(self.settings.storage, file)


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[Landing]:
    settings = load_settings({}, home=tmp_path, freshness={"attempts": 2, "sensor_seconds": 5})
    with dg.DagsterInstance.ephemeral() as instance:
        yield Landing(settings, instance)


@pytest.fixture
def indexed(landing: Landing) -> Landing:
    """The same, with an index that serves."""
    storage = landing.settings.storage
    generation = Generation(storage.live / "generations" / "g")
    with generation.open_store():
        pass
    write_json(storage.live / "current.json", {"generation": "g"})
    return landing


def only(result: dg.SensorResult) -> dg.RunRequest:
    assert result.run_requests is not None
    (request,) = result.run_requests
    return request


def put_off(landing: Landing, *due_in_seconds: int) -> None:
    """Let items wait for an embedding."""
    records = np.zeros(len(due_in_seconds), PENDING)
    records["due_at"] = time.time_ns() // 1000 + np.array(due_in_seconds) * MICROS
    with Generation(landing.settings.storage.live / "generations" / "g").open_store() as store, store.write() as writer:
        writer.put_many(Table.PENDING, zip(number_keys(range(len(records))), pack(records), strict=True))


def test_it_is_on_by_default_and_looks_at_every_turn_of_the_daemon() -> None:
    sensor = build_definitions(load_settings({})).resolve_sensor_def("landing")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == FRESHEN
    # The daemon turns every 5 seconds, and passes over a sensor whose last tick began 4.99 seconds ago.
    assert sensor.minimum_interval_seconds == load_settings({}).freshness.sensor_seconds - 1


def test_without_files_it_says_so(indexed: Landing) -> None:
    found = indexed.look()
    assert found.run_requests == []
    assert found.skip_reason.skip_message == "no new files"


def test_without_an_index_files_wait_and_it_says_what_to_do(landing: Landing) -> None:
    landing.drop("a.csv", "2020-01-01")
    found = landing.look()
    assert not found.run_requests
    assert "`thaw run` first; 1 files wait" in found.skip_reason.skip_message
    assert list(claimed(landing.settings.storage)) == ["2020-01-01"]


def test_one_day_is_one_partition(indexed: Landing) -> None:
    indexed.drop("a.csv", "2020-01-02")
    request = only(indexed.look())
    assert request.partition_key == "2020-01-02"
    assert request.run_key
    assert request.run_config == index_config(build=False, retrain=False)
    assert indexed.instance.get_dynamic_partitions(keys.LANDED_PARTITIONS) == ["2020-01-02"]


def test_many_files_of_many_days_are_folded_into_one_run(indexed: Landing) -> None:
    for number, day in enumerate(["2020-01-03", "2020-01-01", "2020-01-02", "2020-01-01"]):
        indexed.drop(f"{number}.csv", day)
    request = only(indexed.look())
    assert (request.tags[START], request.tags[END]) == ("2020-01-01", "2020-01-03")
    assert request.partition_key is None
    assert request.run_config == index_config(build=False, retrain=False)
    days = ["2020-01-01", "2020-01-02", "2020-01-03"]
    assert indexed.instance.get_dynamic_partitions(keys.LANDED_PARTITIONS) == days


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_while_a_run_is_at_work_no_other_is_requested(indexed: Landing, status: dg.DagsterRunStatus) -> None:
    indexed.drop("a.csv", "2020-01-01")
    indexed.run(only(indexed.look()), status)
    indexed.drop("b.csv", "2020-01-01")
    found = indexed.look()
    assert not found.run_requests
    assert "is at work; 2 files wait" in found.skip_reason.skip_message


def test_what_waited_meanwhile_is_requested_when_the_run_has_ended(indexed: Landing) -> None:
    indexed.drop("a.csv", "2020-01-01")
    first = only(indexed.look())
    indexed.run(first, dg.DagsterRunStatus.SUCCESS)
    indexed.apply()
    indexed.drop("b.csv", "2020-01-01")
    second = only(indexed.look())
    assert second.partition_key == "2020-01-01"
    assert second.run_key != first.run_key


def test_a_run_whose_process_is_gone_is_not_waited_for(indexed: Landing) -> None:
    indexed.drop("a.csv", "2020-01-01")
    request = only(indexed.look())
    assert request.tags[PID_TAG] == str(os.getpid())
    run = indexed.run(request, dg.DagsterRunStatus.STARTED, **(process_tags() | {PID_TAG: str(2**22 + 1)}))
    indexed.drop("b.csv", "2020-01-02")
    assert only(indexed.look()).partition_key == "2020-01-02"
    assert indexed.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_failing_partition_pauses_then_is_given_up(indexed: Landing) -> None:
    indexed.drop("a.csv", "2020-01-01")
    requests = []
    for _ in range(2):
        requests.append(only(indexed.look()))
        indexed.run(requests[-1], dg.DagsterRunStatus.FAILURE)
        assert "tried again in" in indexed.look().skip_reason.skip_message or len(requests) == 2
        indexed.now += 3600 * MICROS
    assert requests[0].run_key != requests[1].run_key
    assert "given up after 2 runs" in indexed.look().skip_reason.skip_message
    indexed.drop("b.csv", "2020-01-01")
    assert only(indexed.look()).partition_key == "2020-01-01"


def test_a_poisoned_file_is_quarantined_and_blocks_nothing(indexed: Landing) -> None:
    indexed.drop("bad.csv", content="what,is,this\n1,2,3\n")
    indexed.drop("good.csv", "2020-01-01")
    assert only(indexed.look()).partition_key == "2020-01-01"
    reasons = list((indexed.settings.storage.landing / "quarantine").glob("*bad.csv.reason.txt"))
    assert len(reasons) == 1
    assert "bad.csv" in reasons[0].read_text()


def test_late_days_far_apart_take_a_run_each(indexed: Landing) -> None:
    stored = [str(day) for day in np.arange("2020-01-01", "2020-04-10", dtype="datetime64[D]")]
    indexed.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, stored)
    indexed.drop("a.csv", stored[0])
    indexed.drop("b.csv", stored[-1])
    indexed.run(only(indexed.look()), dg.DagsterRunStatus.SUCCESS)
    (first,) = Cursor.from_json(indexed.cursor).requested
    for file in claimed(indexed.settings.storage)[first]:
        finish(indexed.settings.storage, file)
    indexed.run(only(indexed.look()), dg.DagsterRunStatus.SUCCESS)
    (second,) = Cursor.from_json(indexed.cursor).requested
    assert {first, second} == {stored[0], stored[-1]}


def test_items_whose_embedding_is_due_are_flushed(indexed: Landing) -> None:
    indexed.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, ["2020-01-05", "2020-01-02"])
    put_off(indexed, 3600)
    assert "1 items wait for their embedding" in indexed.look().skip_reason.skip_message
    put_off(indexed, -1, 3600)
    request = only(indexed.look())
    assert request.partition_key == "2020-01-05"
    assert request.asset_selection == [dg.AssetKey(key) for key in FLUSHED]
    assert request.tags[FLUSH_TAG] == "yes"
    indexed.run(request, dg.DagsterRunStatus.STARTED)
    assert not indexed.look().run_requests


def test_nothing_is_flushed_while_a_run_is_at_work(indexed: Landing) -> None:
    indexed.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, ["2020-01-05"])
    put_off(indexed, -1)
    launched = indexed.run(dg.RunRequest(), dg.DagsterRunStatus.STARTED)
    assert not indexed.look().run_requests
    indexed.instance.report_run_failed(launched)
    assert only(indexed.look()).tags[FLUSH_TAG] == "yes"


def test_a_failing_flush_is_not_repeated_at_every_look(indexed: Landing) -> None:
    indexed.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, ["2020-01-02"])
    put_off(indexed, -1)
    indexed.run(only(indexed.look()), dg.DagsterRunStatus.FAILURE)
    assert "failed, tried again in" in indexed.look().skip_reason.skip_message
    indexed.now += 3600 * MICROS
    assert only(indexed.look()).tags[FLUSH_TAG] == "yes"


def test_new_files_come_before_a_flush(indexed: Landing) -> None:
    indexed.instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, ["2020-01-02"])
    put_off(indexed, -1)
    indexed.drop("a.csv", "2020-01-09")
    request = only(indexed.look())
    assert request.partition_key == "2020-01-09"
    assert request.asset_selection is None


def test_ten_thousand_files_in_a_tick_or_two(indexed: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10_000):
        indexed.drop(f"{number:05}.csv", f"2020-01-{1 + number % 31:02}")
    started = time.monotonic()
    request: Any = only(indexed.look())
    assert time.monotonic() - started < 30
    assert request.tags[START] == "2020-01-01" if START in request.tags else request.partition_key == "2020-01-01"
    assert sum(map(len, claimed(indexed.settings.storage).values())) == 10_000
