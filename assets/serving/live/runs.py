"""Sorted runs one after another in one array, such as the histories of many items, searched and merged all at once.

A merge costs what the runs hold, copied once, and sorts only what is new; no loop over runs.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from assets.serving.store.records import Records
from assets.stream import Int


def starts_of(lengths: Int) -> Int:
    """[n] where each run starts."""
    return np.cumsum(lengths) - lengths


def bisect_runs(lengths: Int, runs: Int, precedes: Callable[[Int, Int], NDArray[np.bool_]]) -> Int:
    """[K] where each of K new values belongs among the old ones of its run: before the first that does not precede it.

    Args:
        lengths: [n] of the sorted runs.
        runs: [K] run of each new value.
        precedes: of old positions [m] and new values [m], given by number: [m] whether the old one comes first.
    """
    low = starts_of(lengths)[runs]
    high = low + lengths[runs]
    open_ = np.flatnonzero(low < high)
    behind = precedes(high[open_] - 1, open_)  # what is new is mostly the latest: no search then
    low[open_[behind]] = high[open_[behind]]
    open_ = open_[~behind]
    while len(open_):
        middle = (low[open_] + high[open_]) // 2
        earlier = precedes(middle, open_)
        low[open_[earlier]] = middle[earlier] + 1
        high[open_[~earlier]] = middle[~earlier]
        open_ = open_[low[open_] < high[open_]]
    return low


def merge_entries(old: Records, lengths: Int, new: Records, runs: Int) -> tuple[Records, Int]:
    """Runs of ENTRY or USER_ENTRY in order of (timestamp, row), each with its new entries put in their places.

    Args:
        old: [E] entries.
        lengths: [n] of the runs in ``old``.
        new: [K] entries, by run, within a run in order.
        runs: [K] ascending.

    Returns:
        [E + K] entries and [n] lengths.
    """
    instants, rows = old["timestamp"], old["row"]
    new_instants, new_rows = np.ascontiguousarray(new["timestamp"]), np.ascontiguousarray(new["row"])

    def precedes(at: Int, which: Int) -> NDArray[np.bool_]:
        instant = instants[at]
        earlier = instant < new_instants[which]
        return earlier | ((instant == new_instants[which]) & (rows[at] < new_rows[which]))

    places = bisect_runs(lengths, runs, precedes)
    return np.insert(old, places, new), lengths + np.bincount(runs, minlength=len(lengths))


def merge_values(old: Records, lengths: Int, new: Records, runs: Int) -> tuple[Records, Int, NDArray[np.bool_]]:
    """Runs of ascending distinct values, each with those new ones that it lacks.

    Args:
        old: [E] values.
        lengths: [n] of the runs in ``old``.
        new: [K] values, by run, ascending and distinct within a run.
        runs: [K] ascending.

    Returns:
        The values, [n] lengths, and [K] whether each new value was lacking.
    """
    places = bisect_runs(lengths, runs, lambda at, which: old[at] < new[which])
    ends = (starts_of(lengths) + lengths)[runs]
    inside = np.flatnonzero(places < ends)
    lacking = np.ones(len(new), np.bool_)
    lacking[inside] = old[places[inside]] != new[inside]
    merged = np.insert(old, places[lacking], new[lacking])
    return merged, lengths + np.bincount(runs[lacking], minlength=len(lengths)), lacking
