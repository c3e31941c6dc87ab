"""The engagement stream and the catalog as arrays, with views that cannot look past an instant.

Rows: users and items are numbered by their row in the ``users`` and ``items`` tables of the warehouse's export
("universe rows"). They are not a model's dense ids: a checkpoint has its own :class:`assets.idmap.IdMap`, under which
everything it was not trained on is OOV.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.runs import spans
from assets.schema import Columns
from assets.storage import Storage, read_compact

Int = NDArray[np.int64]
Time = NDArray[np.datetime64]

PADDING = -1
"""Fills a history row after its last entry."""


@dataclass(frozen=True)
class Catalog:
    """Every item of the dataset, in the order of the exported ``items`` table.

    Attributes:
        item_ids: [N] source ids.
        available_at: [N] datetime64[us]; NaT for an item that nobody engaged with and that has no creation time.
        train_count: [N] engagements before the cutoff.
        slices: [N] :class:`assets.schema.ItemSlice` values.
        frame: the exported table; ``content``, where items have any, is a dense vector each, and further columns are
            lists of categorical features.
    """

    item_ids: NDArray[np.object_]
    available_at: Time
    train_count: Int
    slices: NDArray[np.object_]
    frame: pd.DataFrame

    @classmethod
    def from_table(cls, items: pd.DataFrame) -> Self:
        return cls(
            item_ids=items[Columns.ITEM].to_numpy(dtype=object),
            available_at=items[Columns.AVAILABLE_AT].to_numpy(dtype="datetime64[us]"),
            train_count=items[Columns.TRAIN_COUNT].to_numpy(dtype=np.int64),
            slices=items[Columns.SLICE].to_numpy(dtype=object),
            frame=items,
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def rows_at(self, instant: np.datetime64) -> Int:
        """Rows of the items available at ``instant``: ``available_at`` not later than it (NaT never is)."""
        return np.flatnonzero(self.available_at <= instant)


@dataclass(frozen=True)
class Queries:
    """Requests to rank the catalog for, and what may be known at them.

    Attributes:
        users: [B] universe rows of users.
        instants: [B] datetime64[us], when the request is made.
        history_items: [B, L] universe rows, oldest first, left-aligned, :data:`PADDING` behind.
        history_timestamps: [B, L] datetime64[us], NaT behind.
        history_values: [B, L] float32 engagement values, NaN where unknown or behind.
        history_events: [B, L] codes of event types, :data:`PADDING` behind.
        lengths: [B] entries of each history; 0 for a user without any.
    """

    users: Int
    instants: Time
    history_items: Int
    history_timestamps: Time
    history_values: NDArray[np.float32]
    history_events: Int
    lengths: Int

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Int) -> "Queries":
        """The queries at ``rows``, in that order."""
        return Queries(*(getattr(self, field)[rows] for field in self.__dataclass_fields__))


@dataclass(frozen=True)
class EngagementStream:
    """Engagements in order of (timestamp, source_row); arrays of equal length E.

    Attributes:
        users: [E] universe rows.
        items: [E] universe rows.
        timestamps: [E] datetime64[us], ascending.
        values: [E] float32, NaN where the source has none.
        events: [E] codes of event types: positions in ``event_types``.
        n_users: size of the user universe.
        n_items: size of the item universe.
        event_types: names of event types, sorted.
    """

    users: Int
    items: Int
    timestamps: Time
    values: NDArray[np.float32]
    events: Int
    n_users: int
    n_items: int
    event_types: tuple[str, ...]

    @classmethod
    def from_tables(cls, interactions: pd.DataFrame, users: pd.DataFrame, items: pd.DataFrame) -> Self:
        """Build from the exported tables.

        Raises:
            KeyError: naming an id that ``interactions`` has and ``users`` or ``items`` lacks.
        """
        ordered = in_order(interactions)
        events, event_types = pd.factorize(ordered[Columns.EVENT_TYPE], sort=True)
        return cls(
            users=rows_of(ordered[Columns.USER], users[Columns.USER], "interactions"),
            items=rows_of(ordered[Columns.ITEM], items[Columns.ITEM], "interactions"),
            timestamps=ordered[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]"),
            values=ordered[Columns.VALUE].to_numpy(dtype=np.float32),
            events=events.astype(np.int64),
            n_users=len(users),
            n_items=len(items),
            event_types=tuple(event_types),
        )

    def __len__(self) -> int:
        return len(self.users)

    def before(self, instant: np.datetime64) -> "EngagementStream":
        """The engagements strictly before ``instant``, as a view: what a refresh at that instant may use."""
        return self._part(slice(None, int(np.searchsorted(self.timestamps, instant, side="left"))))

    def since(self, instant: np.datetime64 | None) -> "EngagementStream":
        """The engagements from ``instant`` on, as a view; all of them for none."""
        if instant is None:
            return self
        return self._part(slice(int(np.searchsorted(self.timestamps, instant, side="left")), None))

    def where(self, kept: NDArray[np.bool_]) -> "EngagementStream":
        """The engagements for which ``kept`` [E] is true; users, items and event types keep their numbers."""
        return self._part(kept)

    def _part(self, part: slice | NDArray[np.bool_]) -> "EngagementStream":
        return replace(
            self,
            users=self.users[part],
            items=self.items[part],
            timestamps=self.timestamps[part],
            values=self.values[part],
            events=self.events[part],
        )

    @cached_property
    def by_user(self) -> Int:
        """[E] positions in the stream, grouped by user, in time order within a user."""
        return np.argsort(self.users, kind="stable").astype(np.int64)

    @cached_property
    def user_offsets(self) -> Int:
        """[U + 1] where each user's group starts in :attr:`by_user`."""
        counts = np.bincount(self.users, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def _distinct_timestamps(self) -> Time:
        return self.timestamps[self._begins]

    @cached_property
    def _begins(self) -> NDArray[np.bool_]:
        """[E] whether an engagement is the first of its timestamp."""
        begins = np.ones(len(self), np.bool_)
        begins[1:] = self.timestamps[1:] != self.timestamps[:-1]
        return begins

    @cached_property
    def _user_time_keys(self) -> Int:
        """[E] ascending keys (user, rank of timestamp) along :attr:`by_user`, so one search finds a history's end."""
        rank = np.cumsum(self._begins) - 1
        return self.users[self.by_user] * (len(self._distinct_timestamps) + 1) + rank[self.by_user]

    def history_bounds(self, users: Int, instants: Time) -> tuple[Int, Int]:
        """[B] starts and [B] ends, in :attr:`by_user`, of what each user did strictly before each instant."""
        rank = np.searchsorted(self._distinct_timestamps, instants.astype("datetime64[us]"), side="left")
        keys = users * (len(self._distinct_timestamps) + 1) + rank
        return self.user_offsets[users], np.searchsorted(self._user_time_keys, keys, side="left").astype(np.int64)

    def queries(self, users: Int, instants: Time, length: int, as_of: np.datetime64 | None = None) -> Queries:
        """Queries with each user's latest ``length`` engagements strictly before the request, or ``as_of`` if earlier.

        Args:
            users: [B] universe rows.
            instants: [B] datetime64[us].
            length: entries kept per history, at least 1.
            as_of: the cutoff, to freeze histories there.
        """
        known_until = instants if as_of is None else np.minimum(instants, as_of)
        starts, ends = self.history_bounds(users, known_until)
        lengths = np.minimum(ends - starts, length)
        slot = np.arange(length)
        filled = slot[None, :] < lengths[:, None]  # [B, L]
        inside = np.where(filled, (ends - lengths)[:, None] + slot, 0)
        position = self.by_user[inside] if len(self) else inside  # [B, L] positions in the stream
        if not len(self):
            return _empty_queries(users, instants, length)
        return Queries(
            users=users,
            instants=instants,
            history_items=np.where(filled, self.items[position], PADDING),
            history_timestamps=np.where(filled, self.timestamps[position], np.datetime64("NaT", "us")),
            history_values=np.where(filled, self.values[position], np.float32("nan")).astype(np.float32),
            history_events=np.where(filled, self.events[position], PADDING),
            lengths=lengths,
        )

    def seen_pairs(self, users: Int, instants: Time) -> tuple[Int, Int]:
        """(query row, item row) pairs, flat, of everything each user engaged with strictly before each instant."""
        starts, ends = self.history_bounds(users, instants)
        counts = ends - starts
        rows = np.repeat(np.arange(len(users)), counts)
        return rows, self.items[self.by_user[spans(starts, counts)]]

    def repeats(self, rows: Int) -> Int:
        """Places among ``rows`` [B], positions in the stream, of engagements on what their user had strictly before."""
        case, seen = self.seen_pairs(self.users[rows], self.timestamps[rows])
        return np.unique(case[seen == self.items[rows[case]]])


def rows_in(rows: Int, size: int) -> Int:
    """The distinct ``rows`` [E] of a universe of ``size``, ascending: numpy's unique hashes, 1 s for a million."""
    return np.flatnonzero(np.bincount(rows, minlength=size))


def start_of_day(instants: Time) -> Time:
    """[B] the starts of the UTC days of instants [B]: the refreshes that they are served from."""
    return instants.astype("datetime64[D]").astype("datetime64[us]")


def with_requests(timestamps: Int, lengths: Int, asked: Int) -> Int:
    """[B, L + 1] instants of entries [B, L], whose rows have ``lengths`` [B] each, and behind the last the request's.

    Args:
        asked: [B] the requests' instants. All are numbers of one unit.
    """
    times = np.zeros((len(timestamps), timestamps.shape[1] + 1), np.int64)
    times[:, :-1] = timestamps
    times[np.arange(len(times)), lengths] = asked
    return times


def _empty_queries(users: Int, instants: Time, length: int) -> Queries:
    shape = (len(users), length)
    return Queries(
        users=users,
        instants=instants,
        history_items=np.full(shape, PADDING, dtype=np.int64),
        history_timestamps=np.full(shape, np.datetime64("NaT", "us")),
        history_values=np.full(shape, np.nan, dtype=np.float32),
        history_events=np.full(shape, PADDING, dtype=np.int64),
        lengths=np.zeros(len(users), dtype=np.int64),
    )


def in_order(interactions: pd.DataFrame) -> pd.DataFrame:
    """Rows by (timestamp, source_row), equal ones as they came; what is in order already is only looked at."""
    if follows(interactions).all():
        return interactions
    return interactions.sort_values([Columns.TIMESTAMP, Columns.SOURCE_ROW], kind="stable")


def follows(interactions: pd.DataFrame) -> NDArray[np.bool_]:
    """[E] whether a row is not before the one above it, by (timestamp, source_row); the first always."""
    times = interactions[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]")
    rows = interactions[Columns.SOURCE_ROW].to_numpy()
    follow = np.ones(len(rows), np.bool_)
    follow[1:] = (times[1:] > times[:-1]) | ((times[1:] == times[:-1]) & (rows[1:] >= rows[:-1]))
    return follow


def rows_of(values: pd.Series, universe: pd.Series, table: str) -> Int:
    """[E] rows of ids [E] in a universe of ids; Arrow looks up ten million of a million in 2 s.

    Raises:
        KeyError: naming an id of ``table`` that the universe lacks.
    """
    known = pa.array(universe, pa.string(), from_pandas=True)
    ids = pa.array(values, pa.string(), from_pandas=True)
    rows = pc.fill_null(pc.index_in(ids, known), -1).to_numpy(zero_copy_only=False)
    if (rows < 0).any():
        missing = values.iloc[int(np.flatnonzero(rows < 0)[0])]
        raise KeyError(f"{universe.name}: {missing!r} is in {table} but not in its own table; rebuild the tables")
    return rows.astype(np.int64)


@dataclass(frozen=True)
class DatasetTables:
    """The exported tables of one dataset as arrays: all that training, evaluation and serving read.

    Attributes:
        stream: every engagement, test windows included; use :meth:`EngagementStream.before`.
        catalog: every item.
        users: exported ``users`` table; row i is universe row i.
        interactions: exported ``interactions`` table in stream order (with split and window), texts as Arrow's.
        cutoff: start of the first test window: nothing trained may know anything from it on.
        validation_start: start of the validation tail of train time.
    """

    stream: EngagementStream
    catalog: Catalog
    users: pd.DataFrame
    interactions: pd.DataFrame
    cutoff: np.datetime64
    validation_start: np.datetime64


def load_tables(storage: Storage) -> DatasetTables:
    """Load what ``transforms/tables`` exported."""
    items, users = storage.read_table("items"), storage.read_table("users")
    interactions = in_order(read_compact(storage.table("interactions"))).reset_index(drop=True)
    bounds = storage.read_table("split_bounds").set_index(Columns.SPLIT)[Columns.STARTS_AT]
    return DatasetTables(
        stream=EngagementStream.from_tables(interactions, users, items),
        catalog=Catalog.from_table(items),
        users=users,
        interactions=interactions,
        cutoff=np.datetime64(bounds.loc[["test"]].min(), "us"),
        validation_start=np.datetime64(bounds.loc["validation"], "us"),
    )


def batches(total: int, size: int) -> Iterator[slice]:
    """Slices that cover ``range(total)`` in steps of ``size``."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
