"""Small batches of engagements, and what they should become: computed row by row from everything that was accepted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from assets.idmap import OOV, IdMap
from assets.ingestion.landing.digests import landed_source_rows, row_digests
from assets.ingestion.tables import INTERACTIONS_SCHEMA
from assets.schema import Columns
from assets.serving.live.features import FeatureConfig
from assets.serving.live.ledger import BatchInfo, BatchKind
from assets.serving.live.rows import BatchRows, Rows
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.meta import WATERMARK, get_meta
from assets.serving.store.records import (
    ENTRY,
    NEVER,
    USER_ENTRY,
    id_keys,
    new_items,
    number_keys,
    numbers_of,
    unpack,
    unpack_runs,
)

HOUR = 3_600_000_000
DAY = 24 * HOUR
EVENT_TYPES = {"rating": 1, "view": 2}
"""Dense ids of the known ones."""


class Row(NamedTuple):
    user: str
    item: str
    timestamp: int
    value: float | None = None
    event_type: str = "view"


ROWS = st.builds(
    Row,
    user=st.sampled_from(["u1", "u2", "u3", "ü4"]),
    item=st.sampled_from(["a", "b", "c", "d"]),
    timestamp=st.builds(
        lambda days, minutes: days * DAY + minutes * HOUR // 60,
        st.sampled_from([0, 1, 2, 40]),
        st.sampled_from([0, 1, 59, 60, 61, 600]),
    ),
    value=st.sampled_from([None, 1.0, 4.5]),
    event_type=st.sampled_from(["view", "rating", "unheard of"]),
)
BATCHES = st.lists(st.lists(ROWS, max_size=8), max_size=5)


def landed_rows(rows: Sequence[Row]) -> Rows:
    """As a landed batch holds them."""
    table = pa.table(
        [
            pa.array([row.user for row in rows], pa.string()),
            pa.array([row.item for row in rows], pa.string()),
            pa.array([row.timestamp for row in rows], pa.timestamp("us")),
            pa.array([row.event_type for row in rows], pa.string()),
            pa.array([row.value for row in rows], pa.float64()),
            pa.array([0] * len(rows), pa.int64()),
        ],
        INTERACTIONS_SCHEMA,
    )
    place = table.column_names.index(Columns.SOURCE_ROW)
    return Rows.from_table(
        table.set_column(place, Columns.SOURCE_ROW, pa.array(landed_source_rows(row_digests(table))))
    )


def batch(digest: str, rows: Sequence[Row], kind: BatchKind = "engagements", removed: int = 0) -> BatchRows:
    info = BatchInfo(
        digest=digest,
        kind=kind,
        partition="1970-01-01",
        source=f"{digest}.csv",
        rows=len(rows) + removed,
        removed=removed,
        landed_at=1,
        seen_at=2,
    )
    return BatchRows(info, landed_rows(rows))


@dataclass
class State:
    """What a store says, by ids; ``items``: available, first, last, total, decayed count at an instant."""

    watermark: int | None
    items: dict[str, tuple[int, int, int, int, float]]
    item_histories: dict[str, list[tuple[int, int, int]]]
    user_histories: dict[str, list[tuple[int, int, str, int, float | None]]]
    seen: dict[str, set[str]]
    pending: set[str]


@dataclass
class Reference:
    """Batches one after another, every row looked at by itself."""

    config: FeatureConfig
    qualified: IdMap
    rows: list[tuple[int, int, Row]] = field(default_factory=list)  # (timestamp, source row, row)
    watermark: int | None = None
    counts: list[tuple[int, int, int, int]] = field(default_factory=list)  # applied, duplicates, too old, items

    def apply(self, rows: Sequence[Row], base: bool = False) -> None:
        oldest = None
        if self.config.retention_us is not None and self.watermark is not None and not base:
            oldest = self.watermark - self.config.retention_us
        known, applied, duplicates, beyond = {row for _, _, row in self.rows}, [], 0, 0
        sources = landed_rows(rows).source_rows.tolist()
        for source, row in zip(sources, rows, strict=True):
            if oldest is not None and row.timestamp < oldest:
                beyond += 1
            elif row in known:
                duplicates += 1
            else:
                known.add(row)
                applied.append((row.timestamp, source, row))
        self.rows += applied
        if applied:
            self.watermark = max(timestamp for timestamp, _, _ in self.rows)
        self.counts.append((len(applied), duplicates, beyond, len({row.item for _, _, row in applied})))

    def state(self, instant: int) -> State:
        ordered = sorted(self.rows, key=lambda each: each[:2])
        state = State(self.watermark, {}, {}, {}, {}, set())
        for timestamp, source, row in ordered:
            state.pending.add(row.item)
            state.seen.setdefault(row.user, set()).add(row.item)
            state.user_histories.setdefault(row.user, []).append(
                (timestamp, source, row.item, EVENT_TYPES.get(row.event_type, OOV), row.value)
            )
            dense = int(self.qualified.encode([row.user])[0])
            if dense != OOV:
                state.item_histories.setdefault(row.item, []).append((timestamp, source, dense))
        for item in state.pending:
            times = [timestamp for timestamp, _, row in ordered if row.item == item]
            decayed = sum(2.0 ** (-(instant - time) / (self.config.half_life_days * DAY)) for time in times)
            state.items[item] = (min(times), min(times), max(times), len(times), decayed)
        for histories, length in (
            (state.item_histories, self.config.item_history_length),
            (state.user_histories, self.config.user_history_length),
        ):
            for key in list(histories):
                histories[key] = histories[key][-length:]
                if length == 0:
                    del histories[key]
        return state


def read_state(store: KeyValueStore, config: FeatureConfig, users: Sequence[str], instant: int) -> State:
    """What ``store`` holds, as of ``instant`` for the decayed counts."""
    with store.read() as reader:
        ids = {int(numbers_of([number])[0]): key.decode() for key, number in reader.scan(Table.NUMBERS)}
        keys = number_keys(list(ids))
        records = unpack(reader.get_many(Table.ITEMS, keys), new_items(1))
        state = State(get_meta(reader, WATERMARK), {}, {}, {}, {}, set())
        for item, record in zip(ids.values(), records, strict=True):
            age = (instant - int(record["decayed_at"])) / (config.half_life_days * DAY)
            fields = ("available_at", "first_engaged_at", "last_engaged_at", "total")
            available, first, last, total = (int(record[name]) for name in fields)
            state.items[item] = (available, first, last, total, float(record["decayed"]) * 2.0**-age)
            assert record["embedded_at"] == NEVER
        for key, value in reader.scan(Table.ITEM_HISTORIES):
            entries, _ = unpack_runs([value], ENTRY)
            state.item_histories[ids[int(numbers_of([key])[0])]] = entries.tolist()
        for user, key in zip(users, id_keys(users), strict=True):
            if (value := reader.get(Table.USER_HISTORIES, key)) is not None:
                entries, _ = unpack_runs([value], USER_ENTRY)
                state.user_histories[user] = [
                    (time, row, ids[number], event, None if np.isnan(value) else value)
                    for time, row, number, event, value in entries.tolist()
                ]
            if (value := reader.get(Table.SEEN, key)) is not None:
                numbers = np.frombuffer(value, "<i4").tolist()
                assert numbers == sorted(set(numbers))
                state.seen[user] = {ids[number] for number in numbers}
        assert reader.size(Table.SEEN) == len(state.seen)
        state.pending = {ids[int(numbers_of([key])[0])] for key, _ in reader.scan(Table.PENDING)}
    return state
