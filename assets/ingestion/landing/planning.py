"""Which waiting partitions to request a run for: pure, so that every situation can be tested.

One run at a time takes many partitions, so waiting batches fold into few runs. What a run did not apply is tried again
later and in smaller groups, between runs for what is new, so that a bad batch never stands before good ones; after some
attempts it waits for a person, or for another file in its partition.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Final

from assets.config import FreshnessConfig
from assets.ingestion.landing.places import ClaimedFile
from assets.instants import SECOND

MAX_PAUSE_SECONDS: Final = 600.0


class RunState(StrEnum):
    """Of the run that was requested last."""

    NONE = "none"
    IN_FLIGHT = "in_flight"
    ENDED = "ended"


@dataclass(frozen=True)
class Attempts:
    """Requests of a partition that did not get it done.

    Attributes:
        oldest, newest: stamps of its first and last file then.
        count: requests with the same oldest file.
        next_at: not to be requested earlier, wall clock, microseconds.
    """

    oldest: int
    newest: int
    count: int
    next_at: int


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers between two looks."""

    run_key: str | None = None
    requested: tuple[str, ...] = ()
    was_retry: bool = False
    attempts: Mapping[str, Attempts] = field(default_factory=dict)

    def to_json(self) -> str:
        """Text for the sensor's cursor."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        """Inverse of :meth:`to_json`; a text that it did not write is forgotten: what waits is requested again."""
        try:
            values = json.loads(text or "{}")
            attempts = {name: Attempts(**one) for name, one in values.get("attempts", {}).items()}
            return cls(
                values.get("run_key"), tuple(values.get("requested", ())), bool(values.get("was_retry")), attempts
            )
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Plan:
    """What to do now.

    Attributes:
        partitions: to request in one run; empty: none.
        run_key: of that request; the same request has the same key, so it is never launched twice.
        cursor: to remember.
        reason: why nothing is requested, or what is.
        given_up: partitions that wait for a person.
    """

    partitions: tuple[str, ...]
    run_key: str | None
    cursor: Cursor
    reason: str
    given_up: tuple[str, ...] = ()


def plan(
    claimed: Mapping[str, Sequence[ClaimedFile]], cursor: Cursor, state: RunState, config: FreshnessConfig, now: int
) -> Plan:
    """Choose the partitions of the next run.

    Args:
        claimed: waiting files per partition, as seen (:func:`assets.ingestion.landing.claims.claimed`).
        state: of the run that ``cursor`` names.
        now: wall clock, microseconds.
    """
    waiting = sum(map(len, claimed.values()))
    if state is RunState.IN_FLIGHT:
        return Plan((), None, cursor, f"a run is at work; {waiting} files wait")
    attempts = {name: one for name, files in claimed.items() if (one := _still(cursor.attempts.get(name), files))}
    given_up = tuple(name for name, one in attempts.items() if _is_given_up(one, claimed[name], config))
    chosen, is_retry = _choose(claimed, attempts, given_up, cursor, config, now)
    if not chosen:
        kept = replace(cursor, attempts=attempts)
        return Plan((), None, kept, _why_nothing(waiting, attempts, given_up, now), given_up)
    tried = {name: _next(attempts.get(name), claimed[name], config, now) for name in chosen}
    key = _run_key(tried)
    following = Cursor(key, tuple(chosen), is_retry, attempts | tried)
    files = sum(len(claimed[name]) for name in chosen)
    reason = f"{files} files of {len(chosen)} partitions, {chosen[0]} to {chosen[-1]}"
    return Plan(tuple(chosen), key, following, reason, given_up)


def _still(attempts: Attempts | None, files: Sequence[ClaimedFile]) -> Attempts | None:
    """Attempts count as long as the same file is the oldest: another one means that the run got on."""
    return attempts if attempts is not None and attempts.oldest == files[0].seen_at else None


def _is_given_up(attempts: Attempts, files: Sequence[ClaimedFile], config: FreshnessConfig) -> bool:
    return attempts.count >= config.attempts and attempts.newest == files[-1].seen_at


def _choose(
    claimed: Mapping[str, Sequence[ClaimedFile]],
    attempts: Mapping[str, Attempts],
    given_up: Sequence[str],
    cursor: Cursor,
    config: FreshnessConfig,
    now: int,
) -> tuple[list[str], bool]:
    """Partitions in order, and whether they were tried before. New and old ones take turns, where there are both."""
    fresh = [name for name in sorted(claimed) if name not in attempts]
    due = [name for name, one in attempts.items() if name not in given_up and now >= one.next_at]
    if due and (cursor.was_retry is False or not fresh):
        least = min(attempts[name].count for name in due)
        group = sorted(name for name in due if attempts[name].count == least)
        return _within(group, claimed, max(1, config.partitions_per_run >> 2 * least), config), True
    return _within(fresh, claimed, config.partitions_per_run, config), False


def _within(
    names: Sequence[str], claimed: Mapping[str, Sequence[ClaimedFile]], partitions: int, config: FreshnessConfig
) -> list[str]:
    """The first of ``names`` that fit into one run; one at least."""
    chosen: list[str] = []
    files = 0
    for name in names[:partitions]:
        files += len(claimed[name])
        if chosen and files > config.files_per_run:
            break
        chosen.append(name)
    return chosen


def _next(attempts: Attempts | None, files: Sequence[ClaimedFile], config: FreshnessConfig, now: int) -> Attempts:
    count = (attempts.count if attempts else 0) + 1
    pause = min(MAX_PAUSE_SECONDS, config.sensor_seconds * 2.0**count)
    return Attempts(files[0].seen_at, files[-1].seen_at, count, now + int(pause * SECOND))


def _run_key(tried: Mapping[str, Attempts]) -> str:
    content = json.dumps({name: [one.oldest, one.newest, one.count] for name, one in tried.items()}, sort_keys=True)
    return "landed-" + hashlib.sha256(content.encode()).hexdigest()[:16]


def _why_nothing(waiting: int, attempts: Mapping[str, Attempts], given_up: Sequence[str], now: int) -> str:
    if not waiting:
        return "no new files"
    parts = []
    if given_up:
        parts.append(
            f"{', '.join(given_up)}: given up after {max(attempts[name].count for name in given_up)} runs; see what "
            "failed, then launch the partition by hand or land another file in it"
        )
    if paused := [one.next_at - now for name, one in attempts.items() if name not in given_up]:
        parts.append(f"{len(paused)} partitions are tried again in {max(0, min(paused)) / SECOND:.0f} s")
    return "; ".join(parts)
