"""Random tables, and slow readings of them: one engagement after another, no index, no array arithmetic."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assets.schema import ItemSlice
from assets.stream import Catalog, DatasetTables, EngagementStream
from tests.support import interactions_frame

START = np.datetime64("2024-03-01T00:00:00", "us")
HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
NEVER, LATE, EARLY = "a-never", "i01", "i02"
"""An item that nobody ever takes, one that joins the catalog a day after its first engagement, one created long ago."""
GENRES = ("drama", "comedy", "war")


def random_tables(seed: int = 0, events: int = 240, users: int = 12, items: int = 30, days: int = 5) -> DatasetTables:
    """Equal timestamps, also within a user; repeats; items born over time; features with gaps."""
    generator = np.random.default_rng(seed)
    hours = np.sort(generator.integers(0, 24 * days, events))
    born = generator.integers(0, 12 * days, items)
    rows = []
    for hour in hours:
        item = int(generator.choice(np.flatnonzero(born <= max(hour, born.min()))))
        user = int(generator.integers(users) ** 2 // users)
        rows.append((f"u{user:02d}", f"i{item:02d}", str(START + int(hour) * HOUR)))
    return tables_of(rows)


def tables_of(rows: list[tuple[str, str, str]]) -> DatasetTables:
    """Tables of (user, item, time) rows in time order, all before the cutoff."""
    frame = interactions_frame(rows)
    first = frame.groupby("item_id")["timestamp"].min()
    names = sorted({*first.index, NEVER})
    available = {**first.to_dict(), EARLY: pd.Timestamp("2000-01-01")}
    if LATE in available:
        available[LATE] += pd.Timedelta(1, "D")
    catalog = pd.DataFrame(
        {
            "item_id": names,
            "title": names,
            "created_at": pd.NaT,
            "available_at": pd.to_datetime([available.get(name) for name in names]).astype("datetime64[us]"),
            "first_engaged_at": pd.NaT,
            "train_count": 0,
            "slice": ItemSlice.TAIL.value,
            "genre": [list(GENRES[: index % 4]) for index in range(len(names))],
        }
    )
    people = sorted(set(frame["user_id"]))
    users = pd.DataFrame(
        {"user_id": people, "train_count": 0, "city": [["oslo", "rome"][i % 2 :] for i in range(len(people))]}
    )
    end = np.datetime64(frame["timestamp"].max(), "us") + HOUR
    stream = EngagementStream.from_tables(frame, users, catalog)
    return DatasetTables(stream, Catalog.from_table(catalog), users, frame, end, end)


def with_feedback(tables: DatasetTables) -> DatasetTables:
    """The same engagements with a value each, every fourth unknown, and of three types."""
    number = np.arange(len(tables.stream))
    values = np.where(number % 4 == 1, np.nan, number / 7).astype(np.float32)
    stream = replace(tables.stream, values=values, events=number % 3, event_types=("buy", "rating", "view"))
    return replace(tables, stream=stream)


@dataclass(frozen=True)
class Engagement:
    """One row of a stream, by universe rows."""

    user: int
    item: int
    at: np.datetime64

    @property
    def refresh(self) -> np.datetime64:
        return self.at.astype("datetime64[D]").astype("datetime64[us]")


def engagements(stream: EngagementStream) -> list[Engagement]:
    rows = zip(stream.users.tolist(), stream.items.tolist(), stream.timestamps, strict=True)
    return [Engagement(user, item, at) for user, item, at in rows]


def user_history(stream: EngagementStream, user: int, instant: np.datetime64) -> list[int]:
    """Items, oldest first, strictly before ``instant``."""
    return [one.item for one in engagements(stream) if one.user == user and one.at < instant]


def window(history: list[int], length: int) -> list[int]:
    """What a target reads of its history: step by step half a window on, until the rest fits."""
    while len(history) > length:
        history = history[max(1, length // 2) :]
    return history


def targets(tables: DatasetTables) -> list[tuple[int, Engagement]]:
    """(position, engagement) of what can be trained on: no repeats, nothing that is not on the catalog yet."""
    stream, available = tables.stream, tables.catalog.available_at
    return [
        (position, one)
        for position, one in enumerate(engagements(stream))
        if available[one.item] <= one.refresh and one.item not in user_history(stream, one.user, one.at)
    ]


def item_history(
    stream: EngagementStream, item: int, instant: np.datetime64, qualified: dict[int, int], length: int
) -> list[int]:
    """Dense ids of the latest ``length`` qualified users, oldest first, strictly before ``instant``."""
    found = [one.user for one in engagements(stream) if one.item == item and one.at < instant]
    return [qualified[user] for user in found if user in qualified][-length:]


def count(stream: EngagementStream, item: int, instant: np.datetime64) -> int:
    return sum(one.item == item and one.at < instant for one in engagements(stream))


def log_trend(stream: EngagementStream, item: int, instant: np.datetime64, half_life: float, smoothing: float) -> float:
    ages = [(instant - one.at) / DAY for one in engagements(stream) if one.item == item and one.at < instant]
    return float(np.log(sum(0.5 ** (age / half_life) for age in ages) + smoothing))
