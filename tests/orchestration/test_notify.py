"""Telling people: what is posted, tried again, given up; the address is a secret wherever something goes wrong."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from assets.config import ConfigError, NotifierConfig, load_settings
from orchestration.definitions import build_definitions
from orchestration.failure_sensor import failure_message
from orchestration.notify import (
    LogNotifier,
    Message,
    NotifyError,
    Several,
    Webhook,
    json_body,
    notifier,
    slack_body,
    tell,
)

SECRET = "hooks/T0P-S3CRET"
MESSAGE = Message("alert", "ml-100k", "it decayed", "by a third", {"ratio": 0.67})
LOG = logging.getLogger("assets.test")


@dataclass
class Receiver:
    """An HTTP server that answers as told, the last answer for ever."""

    answers: list[int] = field(default_factory=lambda: [200])
    bodies: list[Any] = field(default_factory=list)
    address: str = ""

    def next_answer(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    held = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            held.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = held.next_answer()
            self.send_response(answer)
            if answer == 302:
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    held.address = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield held
    server.shutdown()
    thread.join()
    server.server_close()


def webhook(receiver: Receiver, pauses: list[float] | None = None) -> Webhook:
    return Webhook(receiver.address, 60.0, json_body, (pauses if pauses is not None else []).append)


def test_a_webhook_posts_every_field(receiver: Receiver) -> None:
    webhook(receiver).tell(MESSAGE)
    assert receiver.bodies == [
        {
            "kind": "alert",
            "dataset": "ml-100k",
            "title": "it decayed",
            "text": "by a third",
            "details": {"ratio": 0.67},
        }
    ]


def test_slack_is_posted_one_text(receiver: Receiver) -> None:
    Webhook(receiver.address, 60.0, slack_body).tell(MESSAGE)
    assert receiver.bodies == [{"text": "*it decayed* (ml-100k)\nby a third"}]


def test_a_server_in_trouble_is_asked_three_times_with_growing_pauses(receiver: Receiver) -> None:
    receiver.answers, pauses = [503, 429, 200], []
    webhook(receiver, pauses).tell(MESSAGE)
    assert (len(receiver.bodies), pauses) == (3, [1.0, 2.0])
    receiver.answers = [500]
    with pytest.raises(NotifyError, match="answered 500"):
        webhook(receiver).tell(MESSAGE)
    assert len(receiver.bodies) == 6


@pytest.mark.parametrize("answer", [404, 302])
def test_a_refusal_or_a_redirect_is_not_tried_again_nor_followed(receiver: Receiver, answer: int) -> None:
    receiver.answers = [answer]
    with pytest.raises(NotifyError, match=f"answered {answer}"):
        webhook(receiver).tell(MESSAGE)
    assert len(receiver.bodies) == 1


def test_the_address_is_in_no_error_log_or_representation(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed = f"http://127.0.0.1:1/{SECRET}"
    hook = Webhook(closed, 0.5, json_body, lambda _: None)
    with pytest.raises(NotifyError) as raised:
        hook.tell(MESSAGE)
    monkeypatch.setenv("THAW_WEBHOOK", closed)
    monkeypatch.setattr("orchestration.notify.FIRST_PAUSE_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        assert not tell(NotifierConfig(kind="webhook", timeout_seconds=0.5), LOG, MESSAGE)
    assert "nobody was told" in caplog.text
    assert SECRET not in caplog.text + str(raised.value) + repr(hook)


def test_the_log_is_told_too_and_urgent_things_as_errors(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LogNotifier(LOG).tell(MESSAGE)
        LogNotifier(LOG).tell(Message("won", "d", "won", "serves"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.INFO]


def test_one_that_fails_does_not_keep_the_others_from_being_told(receiver: Receiver) -> None:
    broken = Webhook("http://127.0.0.1:1/", 0.5, json_body, lambda _: None)
    with pytest.raises(NotifyError):
        Several((broken, webhook(receiver))).tell(MESSAGE)
    assert len(receiver.bodies) == 1


def test_the_address_comes_from_the_environment_alone(receiver: Receiver) -> None:
    config = NotifierConfig(kind="slack", address_variable="MY_HOOK")
    with pytest.raises(ConfigError, match="set MY_HOOK"):
        notifier(config, LOG, {})
    notifier(config, LOG, {"MY_HOOK": receiver.address}).tell(MESSAGE)
    assert receiver.bodies[0]["text"].startswith("*it decayed*")
    with pytest.raises(ValueError, match="address"):
        NotifierConfig.model_validate({"address": "https://example.org"})


def test_a_failed_run_is_told_with_its_step_and_cause() -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError("row 7 of ratings.csv is empty")

    @dg.job
    def broken() -> None:
        breaks()

    with dg.DagsterInstance.ephemeral() as instance:
        result = broken.execute_in_process(instance=instance, raise_on_error=False)
        failure = next(event for event in result.all_events if event.is_run_failure)
        context = dg.build_run_status_sensor_context("run_failures", failure, instance, result.dagster_run)
        message = failure_message(context.for_run_failure(), load_settings({}, dataset="ml-100k"))
    assert message.title == "ml-100k: run of broken failed"
    assert "breaks: " in message.text
    assert "row 7 of ratings.csv is empty" in message.text
    assert result.run_id in message.text
    assert "thaw ui --dataset ml-100k" in message.text


def test_the_failure_sensor_is_on_by_default() -> None:
    sensor = build_definitions(load_settings({})).resolve_sensor_def("run_failures")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
