"""The decay sensor: judges the champion when new quality was measured, and asks for one retrain where it has decayed.

It looks every minute; ranks are read and judged only where they are others than at the last judgement
(``assets/champion/quality/alert.py``), which stays in ``champion/alert.json``. An alert asks for a retrain unless one
is at work, the cool-down after the last contest has not passed, or the same recent days have asked already. It also
tells people: of an alert once per champion, and of every line of the champion's record (won, lost, rolled back),
wherever it was written.

On by default. A retrain takes minutes of every core, but it is asked for on evidence only, at most once per cool-down,
and its challenger serves only if it wins; who wants to decide by hand switches the sensor off in the UI.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from assets.champion.record import RecordEntry, read_record
from assets.config import ConfigError, Settings
from assets.serving.live.generation import GenerationError, NoIndexError, current, require_current
from assets.serving.store.meta import WATERMARK, get_meta
from assets.storage import Storage
from orchestration.jobs import RETRAIN, AssetJob
from orchestration.notify import Message, tell
from orchestration.run_requests import retrain_requests, why_not
from orchestration.schedules import TRIGGER_TAG

SECONDS: Final = 60
EVIDENCE: Final = "thaw/decay_"
"""Prefix of the tags that carry the evidence of an alert."""

Judgement = Mapping[str, Any]
"""What ``champion/alert.json`` holds."""


@dataclass(frozen=True)
class Seen:
    """The sensor's cursor.

    Attributes:
        told: generation whose alert people were told of.
        lines: of the champion's record that people were told of; None before the first look.
    """

    told: str | None = None
    lines: int | None = None

    @classmethod
    def from_json(cls, text: str | None) -> "Seen":
        """A cursor as Dagster kept it; a fresh one where there is none or it is of another version."""
        try:
            return cls(**json.loads(text)) if text else cls()
        except (ValueError, TypeError):
            return cls()

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Means:
    """What the sensor asks others for: tests put answers of their own in its place.

    Attributes:
        judge: the champion's judgement, as ``champion/alert.json`` holds it; None where nothing was measured.
        cooling_until: event clock, microseconds; None where nothing cools down.
    """

    judge: Callable[[Storage, Settings], Judgement | None]
    cooling_until: Callable[[Storage, Settings], int | None]


def real_means() -> Means:
    """The means of a running home."""
    from assets.champion.quality.alert import look_for_decay  # noqa: PLC0415 - numpy and pyarrow wait for a tick
    from assets.champion.record import cooling_until  # noqa: PLC0415

    def judge(storage: Storage, settings: Settings) -> Judgement | None:
        alert = look_for_decay(storage, settings)
        return None if alert is None else alert.to_json()

    return Means(judge, cooling_until)


def decay_sensor(job: AssetJob, settings: Settings) -> dg.SensorDefinition:
    """The sensor that requests ``retrain``; on by default."""

    @dg.sensor(
        name="decay",
        job=job,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Judges the model that serves when new quality was measured; where it has decayed beyond tolerance, asks"
            " for a retrain with the evidence in the run's tags. Tells people of alerts, promotions and rollbacks."
        ),
    )
    def decay(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return look(context, settings, real_means())

    return decay


def look(context: dg.SensorEvaluationContext, settings: Settings, means: Means) -> dg.SensorResult:
    """One tick."""
    seen = tell_record(Seen.from_json(context.cursor), settings, context.log)
    generation = current(settings.storage)
    if generation is None:
        return dg.SensorResult(skip_reason="nothing serves yet: run `thaw run` first", cursor=seen.to_json())
    try:
        alert = means.judge(settings.storage, settings)
        if alert is None or not alert["alerted"]:
            reason = "no quality was measured yet" if alert is None else f"no alert: {alert['reason']}"
            return dg.SensorResult(skip_reason=reason, cursor=replace(seen, told=None).to_json())
        # The generation's name tells apart replays of the same data: Dagster remembers a run key for ever.
        run_key = f"decay-{generation.name}-{alert['recent']['ends_at']}"
        requests = retrain_requests(settings, run_key, evidence(alert))
        held = why_not(context.instance, RETRAIN) or cooling(settings.storage, settings, means)
    except (ConfigError, NoIndexError, GenerationError) as error:
        # A tick that fails keeps no cursor: people would be told of the same lines every minute.
        return dg.SensorResult(skip_reason=str(error), cursor=seen.to_json())
    if seen.told != generation.name:
        tell(settings.notifier, context.log, alert_message(alert, settings.dataset))
        seen = replace(seen, told=generation.name)
    if held:
        return dg.SensorResult(skip_reason=f"{alert['reason']}; {held}", cursor=seen.to_json())
    context.log.info(alert["reason"])
    return dg.SensorResult(run_requests=requests, cursor=seen.to_json())


def cooling(storage: Storage, settings: Settings, means: Means) -> str | None:
    """Why the cool-down forbids a retrain; None where it does not. The clock is that of the events."""
    until = means.cooling_until(storage, settings)
    if until is None:
        return None
    return f"cooling down until {instant(until)} of event time" if watermark(storage) < until else None


def watermark(storage: Storage) -> int:
    """Event time of the latest engagement that was applied, microseconds."""
    with require_current(storage).open_store() as store, store.read() as reader:
        return int(get_meta(reader, WATERMARK))


def evidence(alert: Judgement) -> dict[str, str]:
    """Tags that say why: the reason, the loss with its interval, both spans and the difference to the floor."""
    recent, reference = alert["recent"], alert["reference"]
    return {
        TRIGGER_TAG: "decay",
        f"{EVIDENCE}reason": alert["reason"],
        f"{EVIDENCE}ratio": f"{number(alert['ratio'])} [{number(alert['ci_low'])}, {number(alert['ci_high'])}]",
        f"{EVIDENCE}tolerance": f"{alert['tolerance']:g}",
        f"{EVIDENCE}recent": _span(recent),
        f"{EVIDENCE}reference": _span(reference),
        f"{EVIDENCE}checkpoint": str(alert["checkpoint"]),
        f"{EVIDENCE}against_floor": json.dumps(alert["against_floor"]),
    }


def _span(side: Mapping[str, Any]) -> str:
    days = f"{instant(side['starts_at'])} to {instant(side['ends_at'])}"
    return f"NDCG@10 {number(side['value'])} on {side['cases']} cases, {days}"


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def alert_message(alert: Judgement, dataset: str) -> Message:
    """What people are told of an alert."""
    title = f"{dataset}: quality alert for the model that serves"
    return Message("alert", dataset, title, alert["reason"], dict(alert))


def tell_record(seen: Seen, settings: Settings, log: logging.Logger) -> Seen:
    """Tell people of new lines of the champion's record; what stood there before the first look is not news."""
    lines = read_record(settings.storage)
    # A record with fewer lines than were told of is a new one: a replay began.
    start = len(lines) if seen.lines is None else seen.lines if seen.lines <= len(lines) else 0
    for line in lines[start:]:
        if line.kind in WORDS:
            tell(settings.notifier, log, record_message(line, settings.dataset))
    return replace(seen, lines=len(lines))


WORDS: Final = {
    "won": "the challenger won and serves",
    "lost": "the challenger did not win, the champion serves on",
    "rollback": "rolled back to the former generation",
}


def record_message(line: RecordEntry, dataset: str) -> Message:
    """What people are told of a line of the record."""
    text = f"{line.model} in generation {line.generation} serves as of {instant(line.at)}"
    return Message(line.kind, dataset, f"{dataset}: {WORDS[line.kind]}", text, line.model_dump(mode="json"))


def instant(micros: int) -> str:
    """Microseconds as text, to the second."""
    return f"{datetime.fromtimestamp(micros / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
