"""Files as users drop them, and a served dataset that takes them run by run."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from assets.config import EngagementRule, Settings
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.places import Kind, drop_zone
from assets.serving.live.build import build_generation
from assets.serving.live.generation import open_generation
from assets.serving.live.process import Processed, process_waiting
from assets.serving.live.state import Differences, batch_state, differences
from assets.storage import Storage
from assets.stream import load_tables
from tests.assets.serving.live.conftest import MODEL, SECOND, START, tiny_settings
from tests.assets.serving.live.logical import Logical, logical_state

NOW = 1_720_000_000 * SECOND
"""Wall clock, some months behind the last engagement: rows from the future are not valid."""

USERS = ["u00", "u03", "u07", "u11", "new0", "new1"]
ITEMS = ["i00", "i02", "i05", "i17", "i29", "fresh0", "fresh1", "fresh2"]
ASKING = [*USERS, "u01", "u14", "nobody"]
EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "value", "event_type")
ITEM_COLUMNS = ("item_id", "title", "created_at", "genre")
RULE = EngagementRule(minimum_value=1.0, event_types=("engagement", "view", "unheard of"))


class Event(NamedTuple):
    """One landed row."""

    user: str
    item: str
    at: str
    value: float | None = 1.0
    event_type: str = "engagement"


class Item(NamedTuple):
    """One landed row of an item file."""

    item: str
    title: str | None
    created_at: str | None
    genre: str


@dataclass(frozen=True)
class Dropped:
    """One file: of events or of items."""

    kind: Kind
    rows: tuple[Event, ...] | tuple[Item, ...]


def event_file(*rows: Event) -> Dropped:
    return Dropped(Kind.ENGAGEMENTS, rows)


def item_file(*rows: Item) -> Dropped:
    return Dropped(Kind.ITEMS, rows)


def at(day: float) -> str:
    """The instant so many days after the start of the dataset, to the half hour."""
    return (START + pd.Timedelta(round(day * 48) / 2, "h")).isoformat()


def text(file: Dropped) -> str:
    """As CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(EVENT_COLUMNS if file.kind == Kind.ENGAGEMENTS else ITEM_COLUMNS)
    writer.writerows([["" if value is None else value for value in row] for row in file.rows])
    return out.getvalue()


def put(storage: Storage, name: str, kind: Kind, content: str | bytes, written_at: int = NOW - 3600 * SECOND) -> Path:
    """Drop a file, written long enough ago (microseconds) to be taken at once."""
    path = drop_zone(storage, kind) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, ns=(written_at * 1000, written_at * 1000))
    return path


def stream_settings(home: Path, **freshness: object) -> Settings:
    """Rows count when their value is known and at least 1, and compaction is frequent, but not at every run."""
    settings = tiny_settings(home, compact_share=0.15, **freshness)
    return settings.model_copy(update={"engagement": RULE})


@dataclass
class Served:
    """A dataset that ``model`` serves, into which files are dropped; its clock moves a second per run."""

    storage: Storage
    settings: Settings
    model: str = MODEL
    now: int = NOW
    dropped: int = 0

    def clock(self) -> int:
        return self.now

    def drop(self, files: Sequence[Dropped]) -> None:
        for file in files:
            self.dropped += 1
            written_at = NOW - (3600 - self.dropped) * SECOND
            put(self.storage, f"{file.kind}-{self.dropped:03}.csv", file.kind, text(file), written_at)

    def run(self) -> Processed:
        """One look of the sensor, and the run that it starts."""
        self.now += SECOND
        claim(self.storage, self.settings.freshness, self.now, 60)
        return process_waiting(self.storage, self.settings, self.clock)

    def state(self) -> Logical:
        return logical_state(self.storage, ASKING)

    def rebuilt(self) -> Logical:
        """The state of a generation built anew now, aside; it stays there, unused."""
        self.now += SECOND
        tables = load_tables(self.storage)
        generation = build_generation(self.storage, self.settings, tables, self.model, 0, self.now)
        return logical_state(self.storage, ASKING, generation)

    def compare(self) -> Differences:
        """The store against batch code."""
        with open_generation(self.storage) as opened:
            return differences(opened, batch_state(opened))
