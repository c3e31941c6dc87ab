"""When a touched item is embedded again (IHM paper, section 4). Pure: state in, instants out, no clock.

An item is *triggered* when it has no embedding yet, when every engagement triggers, or when it has gathered ``every``
engagements since its last embedding. A triggered item is due at once, another one after the maximum wait; neither
before the minimum interval since the last embedding is over. None of this depends on when it is asked, and more
engagements only ever make an item due sooner: a touched item stays pending, with an instant that does not move back,
until it is embedded.
"""

import numpy as np
from numpy.typing import NDArray

from assets.config import TriggerConfig
from assets.instants import SECOND
from assets.serving.store.records import NEVER
from assets.stream import Int


def triggered(totals: Int, embedded_totals: Int, embedded_at: Int, config: TriggerConfig) -> NDArray[np.bool_]:
    """[n] whether an item is triggered; see :func:`due_at` for the arguments."""
    if config.on_engagement:
        return np.ones(len(totals), np.bool_)
    return (embedded_at == NEVER) | (totals - embedded_totals >= config.every)


def due_at(touched_at: Int, totals: Int, embedded_totals: Int, embedded_at: Int, config: TriggerConfig) -> Int:
    """[n] wall instants from which on touched items are to be embedded.

    Args:
        touched_at: [n] wall instant of each item's first touch since its last embedding.
        totals: [n] engagements.
        embedded_totals: [n] engagements at the last embedding.
        embedded_at: [n] wall instant of the last embedding, ``NEVER`` where there is none.
    """
    wait = round(config.maximum_wait_seconds * SECOND)
    interval = round(config.minimum_interval_seconds * SECOND)
    wanted = touched_at + np.where(triggered(totals, embedded_totals, embedded_at, config), 0, wait)
    allowed = np.where(embedded_at == NEVER, NEVER, embedded_at + interval)
    return np.maximum(wanted, allowed)
