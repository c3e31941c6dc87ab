"""What most rows are, told by numbers at once, so that the leakage rules look at the others alone."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.quality.ordering import Int, are_in, grouped
from assets.schema import Columns


def inside_bounds(rows: pd.DataFrame, bounds: pd.DataFrame) -> NDArray[np.bool_]:
    """[E] whether each engagement surely lies in the half-open interval of its own split and window.

    Of bounds that name a split and window twice, or a window that is no count, nothing is sure.
    """
    if bounds.duplicated([Columns.SPLIT, Columns.WINDOW]).any():
        return np.zeros(len(rows), np.bool_)
    labels = sorted({*bounds[Columns.SPLIT].dropna()})
    last = bounds[Columns.WINDOW].max()
    width = 2 if pd.isna(last) else int(last) + 2  # of a split: no window, 0, 1, ... up to the last
    known = _keys(bounds, labels, width)
    if (known < 0).any():
        return np.zeros(len(rows), np.bool_)
    starts = np.full(len(labels) * width + 1, np.iinfo(np.int64).max)  # an empty interval, for keys without bounds
    ends = np.full(len(starts), np.iinfo(np.int64).min)
    starts[known], ends[known] = _microseconds(bounds[Columns.STARTS_AT]), _microseconds(bounds[Columns.ENDS_AT])
    keys, times = _keys(rows, labels, width), _microseconds(rows[Columns.TIMESTAMP])
    return (starts[keys] <= times) & (times < ends[keys])


def _keys(rows: pd.DataFrame, labels: list[str], width: int) -> Int:
    """[N] a number for each split and window; -1 for what is not among them."""
    split = pd.Categorical(rows[Columns.SPLIT], labels).codes.astype(np.int64)
    window = rows[Columns.WINDOW].to_numpy(np.float64, na_value=np.nan)
    place = np.where(np.isnan(window), -1, window) + 1
    known = (split >= 0) & (place >= 0) & (place < width) & (place == np.floor(place)) & (window != -1)
    return np.where(known, split * width + place.astype(np.int64), -1)


def are_latest(entries: pd.DataFrame, lengths: Int, past: pd.DataFrame) -> NDArray[np.bool_]:
    """[N] whether each history entry is the engagement that stands at its place among its owner's latest ones.

    Those are engagements of the past; of the others nothing is known. Nor is it where ids are texts.

    Args:
        entries: owner, member and timestamp of every entry, history after history.
        lengths: [H] entries of each history.
        past: engagements, by time.
    """
    owner, member, _ = entries.columns
    if not all(pd.api.types.is_integer_dtype(frame[key]) for frame in (entries, past) for key in (owner, member)):
        return np.zeros(len(entries), np.bool_)
    # Histories of items keep qualified users only. Who is in none of the histories is none of those.
    past = past[are_in(past[member], entries[member])]
    of_past, owners = past[owner].to_numpy(np.int64), entries[owner].to_numpy(np.int64)
    size = max(of_past.max(initial=-1), owners.max(initial=-1)) + 2
    offsets = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(of_past + 1, minlength=size), out=offsets[1:])
    order = grouped(of_past)
    behind = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(entries))  # 1 for the last of a history
    place = offsets[owners + 2] - behind
    known = place >= offsets[owners + 1]
    if not len(order):
        return known
    at = order[np.where(known, place, 0)]
    known &= past[member].to_numpy()[at] == entries[member].to_numpy()
    return known & (_microseconds(past[Columns.TIMESTAMP])[at] == _microseconds(entries[Columns.TIMESTAMP]))


def _microseconds(times: pd.Series) -> Int:
    return times.to_numpy("datetime64[us]").view(np.int64)
