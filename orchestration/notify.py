"""Telling people: of failed runs, decay alerts, promotions and rollbacks.

A :class:`Notifier` takes a :class:`Message`. The log is always told; a webhook or Slack besides, where the settings
name one. Their address is a secret: it comes from the environment alone and is in no message, log line or error.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

import requests

from assets.config import ConfigError, NotifierConfig

ATTEMPTS: Final = 3
FIRST_PAUSE_SECONDS: Final = 1.0
MAX_TEXT: Final = 2_000
"""Characters of a message's text: an error may hold a whole table."""


class NotifyError(RuntimeError):
    """Nobody could be told; the message says why, without the address."""


@dataclass(frozen=True)
class Message:
    """What there is to tell.

    Attributes:
        kind: ``failure``, ``alert``, ``won``, ``lost`` or ``rollback``.
        dataset: whose.
        title: one line.
        text: what happened and where to look.
        details: evidence, JSON values.
    """

    kind: str
    dataset: str
    title: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Notifier(Protocol):
    """Somebody who can be told."""

    def tell(self, message: Message) -> None:
        """Deliver ``message``.

        Raises:
            NotifyError: when that failed.
        """


@dataclass(frozen=True)
class LogNotifier:
    """Writes to a log: what has to be acted on as an error, the rest as information."""

    log: logging.Logger

    def tell(self, message: Message) -> None:
        urgent = message.kind in {"failure", "alert"}
        self.log.log(logging.ERROR if urgent else logging.INFO, "%s: %s", message.title, message.text)


@dataclass(frozen=True)
class Webhook:
    """Posts JSON to an address, three times at most; 2xx counts as told.

    Attributes:
        address: secret, so absent from the representation.
        body: what is posted for a message.
        sleep: called between attempts with seconds.
    """

    address: str = field(repr=False)
    timeout_seconds: float
    body: Callable[[Message], Mapping[str, Any]]
    sleep: Callable[[float], None] = time.sleep

    def tell(self, message: Message) -> None:
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            problem, final = self._post(message)
            if not problem:
                return
            if final:
                break
        raise NotifyError(f"{message.title}: not delivered, {problem}")

    def _post(self, message: Message) -> tuple[str, bool]:
        """What went wrong (nothing: empty), and whether trying again is of no use."""
        try:
            # A redirect would carry the message to an address that nobody configured.
            answer = requests.post(
                self.address, json=self.body(message), timeout=self.timeout_seconds, allow_redirects=False
            )
        except requests.RequestException as error:
            return type(error).__name__, False  # its text holds the address
        if 200 <= answer.status_code < 300:
            return "", False
        return f"answered {answer.status_code}", answer.status_code < 500 and answer.status_code != 429


@dataclass(frozen=True)
class Several:
    """Tells each in turn, all of them even where one fails."""

    notifiers: tuple[Notifier, ...]

    def tell(self, message: Message) -> None:
        problems = []
        for notifier in self.notifiers:
            try:
                notifier.tell(message)
            except NotifyError as error:
                problems.append(str(error))
        if problems:
            raise NotifyError("; ".join(problems))


def json_body(message: Message) -> Mapping[str, Any]:
    """Every field of the message, for a webhook."""
    return {**asdict(message), "text": message.text[:MAX_TEXT]}


def slack_body(message: Message) -> Mapping[str, Any]:
    """What a Slack-compatible incoming webhook takes."""
    return {"text": f"*{message.title}* ({message.dataset})\n{message.text[:MAX_TEXT]}"}


BODIES: Final = {"webhook": json_body, "slack": slack_body}


def notifier(config: NotifierConfig, log: logging.Logger, environment: Mapping[str, str] | None = None) -> Notifier:
    """Who is told under ``config``: the log, and with it the webhook or Slack.

    Raises:
        ConfigError: when an address is wanted and the environment has none.
    """
    plain = LogNotifier(log)
    if config.kind == "log":
        return plain
    address = (os.environ if environment is None else environment).get(config.address_variable, "")
    if not address.startswith(("http://", "https://")):
        raise ConfigError(
            f"notifier.kind is {config.kind}: set {config.address_variable} to an http(s) address in the environment"
        )
    return Several((plain, Webhook(address, config.timeout_seconds, BODIES[config.kind])))


def tell(config: NotifierConfig, log: logging.Logger, message: Message) -> bool:
    """Tell whoever the settings name; a failure to is logged, never raised: a sensor has other things to do.

    Returns:
        Whether everyone was told.
    """
    try:
        notifier(config, log).tell(message)
    except ConfigError as error:
        LogNotifier(log).tell(message)
        log.error("nobody was told: %s", error)
        return False
    except NotifyError as error:
        log.error("nobody was told: %s", error)
        return False
    return True
