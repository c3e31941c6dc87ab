"""The champion's record: what served when and why, and how long no alert may ask for another contest."""

from itertools import takewhile
from typing import Final

from assets.config import Settings
from assets.instants import DAY
from assets.serving.record import (
    RecordEntry,
    RecordError,
    append,
    event_clock,
    note_serving,
    read_record,
    record_path,
)
from assets.storage import Storage

__all__ = [
    "RecordEntry",
    "RecordError",
    "append",
    "cooling_until",
    "decided",
    "event_clock",
    "note_serving",
    "read_record",
    "record_path",
]

COOLS: Final = ("won", "lost", "rollback")
"""Kinds after which the champion is left alone for a while."""

LONGEST: Final = 4
"""Times ``retraining.cooldown_days``: four weeks by default, the paper's cadence of retraining."""


def cooling_until(storage: Storage, settings: Settings) -> int | None:
    """Until when (event clock, microseconds) no alert asks for a contest; ``None`` where nothing cools.

    ``retraining.cooldown_days`` after a contest or a rollback, and twice as long after each further contest in a row
    that was lost, at most :data:`LONGEST` times: where new data do not make a better model, the next try can wait.

    What was before the latest ``thaw run`` or replay does not count: another model serves, and the event clock may have
    been put back.
    """
    entries = read_record(storage)
    if not entries or entries[-1].kind not in COOLS:
        return None
    lost = len(list(takewhile(lambda entry: entry.kind == "lost", reversed(entries))))
    times = min(LONGEST, 2 ** max(0, lost - 1))
    return entries[-1].event_at + round(times * settings.retraining.cooldown_days * DAY)


def decided(storage: Storage, contest: str) -> RecordEntry | None:
    """What came of a contest, if it was decided."""
    found = [entry for entry in read_record(storage) if entry.contest == contest]
    return found[-1] if found else None
