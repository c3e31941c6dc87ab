"""Requests as of a moment after each user's last engagement."""

from dataclasses import replace
from typing import Final

import numpy as np

from assets.stream import EngagementStream, Int, Queries

AT_ONCE: Final = np.timedelta64(0, "us")
_TICK: Final = np.timedelta64(1, "us")


def after_last(known: EngagementStream, users: Int, length: int, delay: np.timedelta64 = AT_ONCE) -> Queries:
    """A request of each user, ``delay`` after the last of what is ``known``, with all of that as history.

    Args:
        users: [B] universe rows, each with an engagement in ``known``.
        length: entries kept per history, at least 1.

    Raises:
        ValueError: naming a user without any.
    """
    begins, ends = known.user_offsets[users], known.user_offsets[users + 1]
    if (none := np.flatnonzero(ends == begins)).size:
        raise ValueError(f"user row {int(users[none[0]])} has no engagement, so there is no moment after the last one")
    last = known.timestamps[known.by_user[ends - 1]]
    queries = known.queries(users, last + _TICK, length)  # what is strictly before that holds the last
    return replace(queries, instants=last + delay)
