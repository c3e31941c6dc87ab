"""The decay sensor: asks for one retrain per alert, waits where it has to, says why, and tells people once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.champion.quality.judgement import Alert, Side
from assets.config import Settings, load_settings
from assets.instants import DAY
from assets.serving.live.generation import Generation
from assets.serving.store.meta import WATERMARK, put_meta
from orchestration import decay_sensor
from orchestration.decay_sensor import Means, look
from orchestration.definitions import build_definitions
from orchestration.jobs import RETRAIN
from orchestration.notify import Message
from orchestration.run_requests import MAX_TAG
from tests.orchestration.test_schedules import serve

EPOCH_DAYS = 20_000 * DAY


def judgement(alerted: bool, ends_at: int = EPOCH_DAYS, reason: str = "NDCG@10 fell to 0.7 of what it was") -> Any:
    side = Side(400, 0.12, ends_at - 7 * DAY, ends_at)
    return Alert(
        alerted, reason, side, side, 0.7, 0.6, 0.8, 0.1, {"reference": 0.05, "recent": None}, checkpoint="c" * 12
    ).to_json()


@dataclass
class Sensor:
    """The sensor on an instance of its own, its means and whoever is told under the test's hand."""

    settings: Settings
    instance: dg.DagsterInstance
    alert: dict[str, Any] | None = None
    cooling: int | None = None
    cursor: str | None = None
    told: list[Message] = field(default_factory=list)

    def look(self) -> dg.SensorResult:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        found = look(context, self.settings, Means(lambda *_: self.alert, lambda *_: self.cooling))
        self.cursor = found.cursor
        return found

    def record(self, *kinds: str) -> None:
        line = {"at": 1, "event_at": 1, "generation": "g", "previous": None, "model": "sasrec"}
        path = self.settings.storage.champion / "record.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({**line, "kind": kind}) + "\n" for kind in kinds))


@pytest.fixture
def sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sensor]:
    settings = load_settings({}, home=tmp_path)
    serve(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        held = Sensor(settings, instance)
        monkeypatch.setattr(decay_sensor, "tell", lambda config, log, message: held.told.append(message))
        yield held


def test_it_is_on_by_default_and_asks_for_the_retrain_job() -> None:
    found = build_definitions(load_settings({})).resolve_sensor_def("decay")
    assert (found.default_status, found.job_name) == (dg.DefaultSensorStatus.RUNNING, RETRAIN)


def test_an_alert_asks_for_one_retrain_with_its_evidence(sensor: Sensor) -> None:
    sensor.alert = judgement(True)
    (request,) = sensor.look().run_requests
    assert request.partition_key == "sasrec"
    assert request.tags["thaw/trigger"] == "decay"
    assert request.tags["thaw/decay_ratio"] == "0.700 [0.600, 0.800]"
    assert "NDCG@10 0.120 on 400 cases" in request.tags["thaw/decay_recent"]
    assert json.loads(request.tags["thaw/decay_against_floor"]) == {"reference": 0.05, "recent": None}
    assert all(len(value) <= MAX_TAG for value in request.tags.values())


def test_a_long_reason_is_cut_to_what_a_tag_takes(sensor: Sensor) -> None:
    sensor.alert = judgement(True, reason="x" * 1000)
    (request,) = sensor.look().run_requests
    assert len(request.tags["thaw/decay_reason"]) == MAX_TAG


def test_the_same_days_have_one_key_and_new_days_another(sensor: Sensor) -> None:
    sensor.alert = judgement(True)
    (first,), (again,) = sensor.look().run_requests, sensor.look().run_requests
    sensor.alert = judgement(True, EPOCH_DAYS + DAY)
    (later,) = sensor.look().run_requests
    assert first.run_key == again.run_key != later.run_key


def test_another_generation_of_the_same_data_may_ask_again(sensor: Sensor) -> None:
    sensor.alert = judgement(True)
    (first,) = sensor.look().run_requests
    serve(sensor.settings, name="other")
    (second,) = sensor.look().run_requests
    assert first.run_key != second.run_key


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_while_a_retrain_is_at_work_none_is_requested(sensor: Sensor, status: dg.DagsterRunStatus) -> None:
    sensor.alert = judgement(True)
    run = sensor.instance.create_run_for_job(dg.job(name=RETRAIN)(lambda: None), status=status)
    found = sensor.look()
    assert not found.run_requests
    assert run.run_id in found.skip_reason.skip_message
    sensor.instance.report_run_failed(run)
    assert sensor.look().run_requests


def test_the_cool_down_is_kept_on_the_clock_of_the_events(sensor: Sensor) -> None:
    sensor.alert, sensor.cooling = judgement(True), EPOCH_DAYS + DAY
    store = Generation(sensor.settings.storage.live / "generations" / "g").open_store()
    with store, store.write() as writer:
        put_meta(writer, WATERMARK, EPOCH_DAYS)
    found = sensor.look()
    assert not found.run_requests
    assert "cooling down until 2024-10-05 00:00:00 UTC of event time" in found.skip_reason.skip_message
    with Generation(sensor.settings.storage.live / "generations" / "g").open_store() as again, again.write() as writer:
        put_meta(writer, WATERMARK, EPOCH_DAYS + DAY)
    assert sensor.look().run_requests


def test_without_an_alert_it_says_what_was_found(sensor: Sensor) -> None:
    assert "no quality was measured yet" in sensor.look().skip_reason.skip_message
    sensor.alert = judgement(False, reason="within tolerance")
    found = sensor.look()
    assert not found.run_requests
    assert found.skip_reason.skip_message == "no alert: within tolerance"


def test_without_an_index_there_is_nothing_to_judge(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        bare = Sensor(load_settings({}, home=tmp_path / "bare"), instance, alert=judgement(True))
        assert "`thaw run` first" in bare.look().skip_reason.skip_message


def test_people_are_told_of_an_alert_once_and_of_the_next_one_again(sensor: Sensor) -> None:
    sensor.alert = judgement(True)
    sensor.look()
    sensor.look()
    assert [message.kind for message in sensor.told] == ["alert"]
    sensor.alert = judgement(False)
    sensor.look()
    sensor.alert = judgement(True, EPOCH_DAYS + DAY)
    sensor.look()
    assert [message.kind for message in sensor.told] == ["alert", "alert"]


def test_people_are_told_of_new_lines_of_the_record_only(sensor: Sensor) -> None:
    sensor.record("first", "won")
    sensor.look()
    assert sensor.told == []
    sensor.record("first", "won", "run", "lost", "rollback")
    sensor.look()
    sensor.look()
    assert [message.kind for message in sensor.told] == ["lost", "rollback"]
    sensor.record("first", "won")  # a replay began a new record
    sensor.look()
    assert [message.kind for message in sensor.told] == ["lost", "rollback", "won"]


def test_a_cursor_of_another_version_is_begun_anew(sensor: Sensor) -> None:
    sensor.cursor = json.dumps({"unknown": 1})
    assert sensor.look().cursor == json.dumps({"told": None, "lines": 0})


def test_settings_that_name_no_net_are_said_and_nobody_is_told_every_minute(sensor: Sensor) -> None:
    retraining = sensor.settings.retraining.model_copy(update={"models": ("popularity",)})
    sensor.settings = sensor.settings.model_copy(update={"retraining": retraining})
    sensor.alert = judgement(True)
    sensor.record("first")
    sensor.look()
    sensor.record("first", "won")
    for _ in range(2):
        assert "no net that can serve" in sensor.look().skip_reason.skip_message
    assert [message.kind for message in sensor.told] == ["won"]
