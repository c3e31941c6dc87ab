"""What may be known before the cutoff, as tables of their own.

Training sees nothing but :func:`before_cutoff`'s result: no row, item or user of the future is in it, not even in the
number of rows of a matrix, so no mistake further on can look ahead.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.stream import PADDING, Catalog, DatasetTables, EngagementStream, Int, rows_in


def before_cutoff(tables: DatasetTables) -> DatasetTables:
    """The tables without engagements from the cutoff on, items not available before it and users not seen before it.

    Universe rows are numbered anew.

    Raises:
        ValueError: when nobody engaged with anything before the cutoff.
    """
    stream = tables.stream.before(tables.cutoff)
    if not len(stream):
        raise ValueError(f"no engagement before the cutoff {tables.cutoff}: there is nothing to train on")
    items = _kept(tables.catalog.frame, tables.catalog.available_at < tables.cutoff)  # NaT is never before anything
    users = _kept(tables.users, np.bincount(stream.users, minlength=stream.n_users) > 0)
    return DatasetTables(
        stream=_renumbered(stream, users.index.to_numpy(), items.index.to_numpy()),
        catalog=Catalog.from_table(items.reset_index(drop=True)),
        users=users.reset_index(drop=True),
        interactions=tables.interactions.iloc[: len(stream)],
        cutoff=np.datetime64(tables.cutoff),
        validation_start=np.datetime64(tables.validation_start),
    )


def _kept(frame: pd.DataFrame, mask: NDArray[np.bool_]) -> pd.DataFrame:
    """The rows of ``mask`` in the order of their ids, each under its row of before."""
    kept = frame.reset_index(drop=True)[mask]
    ids = kept[kept.columns[0]]
    return kept if ids.is_monotonic_increasing else kept.sort_values(kept.columns[0], kind="stable")


def _renumbered(stream: EngagementStream, users: Int, items: Int) -> EngagementStream:
    """The stream over the universes that hold the given rows of its own, in that order, and its own types of events.

    Raises:
        ValueError: when an engagement is on an item that is not among ``items``.
    """
    user_row = np.full(stream.n_users, PADDING, np.int64)
    item_row = np.full(stream.n_items, PADDING, np.int64)
    user_row[users], item_row[items] = np.arange(len(users)), np.arange(len(items))
    if (lost := np.flatnonzero(item_row[stream.items] == PADDING)).size:
        raise ValueError(
            f"item row {stream.items[lost[0]]} was engaged with before it was available: rebuild the tables"
        )
    events = rows_in(stream.events, len(stream.event_types))
    return replace(
        stream,
        users=user_row[stream.users],
        items=item_row[stream.items],
        events=np.searchsorted(events, stream.events),
        n_users=len(users),
        n_items=len(items),
        event_types=tuple(np.array(stream.event_types, dtype=object)[events]),
    )
