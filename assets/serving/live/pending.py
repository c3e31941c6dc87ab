"""Items that wait: touched ones to be embedded (PENDING), those of a later day to become available (UPCOMING)."""

import numpy as np

from assets.config import TriggerConfig
from assets.serving.live.triggers import due_at
from assets.serving.store.interface import Table, Writer
from assets.serving.store.records import (
    NEVER,
    PENDING,
    Records,
    instant_key,
    new_items,
    number_keys,
    numbers_of,
    pack,
    unpack,
)
from assets.stream import Int

_UNTOUCHED = np.array([(NEVER, NEVER, 0)], PENDING)


def touch(writer: Writer, numbers: Int, items: Records, trigger: TriggerConfig, now: int) -> None:
    """Make items pending, or due sooner where they are already.

    Args:
        numbers: [n] distinct.
        items: [n] ITEM records as they are now.
        now: wall clock, microseconds.
    """
    keys = number_keys(numbers)
    pending = unpack(writer.get_many(Table.PENDING, keys), _UNTOUCHED)
    first = pending["touched_at"] == NEVER
    pending["touched_at"][first] = now
    due = due_at(pending["touched_at"], items["total"], items["embedded_total"], items["embedded_at"], trigger)
    pending["due_at"] = np.where(first, due, np.minimum(due, pending["due_at"]))
    pending["trend_stale"] = 1
    writer.put_many(Table.PENDING, zip(keys, pack(pending), strict=True))


def upcoming_keys(available_at: Int, numbers: Int) -> list[bytes]:
    """Keys of UPCOMING: [n] instants (event clock) at which the items ``numbers`` [n] become available."""
    instants = [instant_key(instant) for instant in available_at.tolist()]
    return [instant + number for instant, number in zip(instants, number_keys(numbers), strict=True)]


def add_upcoming(writer: Writer, available_at: Int, numbers: Int) -> None:
    """Let items wait until the watermark reaches their instant; see :func:`upcoming_keys`."""
    writer.put_many(Table.UPCOMING, [(key, b"") for key in upcoming_keys(available_at, numbers)])


def touch_available(writer: Writer, watermark: int, trigger: TriggerConfig, now: int) -> Int:
    """Make pending what became available by the watermark: [n] numbers, which wait in UPCOMING no longer."""
    keys = [key for key, _ in writer.scan(Table.UPCOMING, stop=instant_key(watermark + 1))]
    numbers = numbers_of(key[-4:] for key in keys)
    if not keys:
        return numbers
    items = unpack(writer.get_many(Table.ITEMS, number_keys(numbers)), new_items(1))
    touch(writer, numbers, items, trigger, now)
    writer.delete_many(Table.UPCOMING, keys)
    return numbers
