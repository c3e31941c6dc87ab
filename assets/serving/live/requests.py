"""As of when users ask.

A net that reads time reads how long a user's last engagement is ago when the request comes. On data that goes on
arriving that is now. A store whose data ended long ago would be asked as of years after its last engagement, which no
example of training was like and which says nothing of the users: it is asked as of a day after that one instead.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from assets.instants import DAY
from assets.serving.store.interface import Reader
from assets.serving.store.meta import WATERMARK, get_meta

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class InstantError(ValueError):
    """Nobody can be answered as of this instant; the message says why."""


def request_instant(reader: Reader, now: int) -> int:
    """When a user asks who asks now: min(``now``, watermark + 1 day), on the clock of the engagements.

    The watermark is the store's latest engagement. A machine whose clock is behind the data gives instants before it;
    who computes vectors sees to it that nobody asks before the last of the own engagements.

    Args:
        now: wall clock, microseconds.
    """
    watermark = get_meta(reader, WATERMARK)
    return now if watermark is None else min(now, int(watermark) + DAY)


def chosen_instant(reader: Reader, at: datetime) -> int:
    """The instant that somebody chose to ask as of, in microseconds.

    Raises:
        InstantError: when ``at`` has no time zone, or is before the watermark: histories hold what came until then, and
            what they were before is not kept.
    """
    if at.utcoffset() is None:
        raise InstantError(f"{at.isoformat()} has no time zone: write UTC as {at.isoformat()}Z")
    instant = (at - EPOCH) // timedelta(microseconds=1)
    watermark = get_meta(reader, WATERMARK)
    if watermark is not None and instant < watermark:
        latest = (EPOCH + timedelta(microseconds=int(watermark))).isoformat()
        raise InstantError(
            f"{at.isoformat()} is before the latest engagement, of {latest}: histories are kept as of now only; "
            "ask as of that instant or a later one"
        )
    return instant
