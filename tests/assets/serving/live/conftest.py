"""A tiny dataset, a checkpoint of it and the generation that serves it."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from assets.config import FreshnessConfig, IndexConfig, Settings
from assets.ingestion.landing.batches import Arrival, Landed, LandedBatch, landed_batches, write_batch
from assets.ingestion.landing.digests import landed_source_rows, row_digests
from assets.ingestion.landing.places import Kind
from assets.ingestion.tables import QUARANTINE_SCHEMA, interactions_table, items_table
from assets.schema import Columns
from assets.serving.live.apply import apply_batches, feature_config
from assets.serving.live.build import renew
from assets.serving.live.generation import OpenGeneration, open_generation, require_current, writer_lock
from assets.serving.live.ledger import LedgerEntry
from assets.serving.live.maintain import Maintained, maintain_index
from assets.serving.live.refresh import Refreshed, refresh_embeddings
from assets.serving.live.removal import reconcile
from assets.serving.live.state import Differences, batch_state, differences
from assets.storage import Storage, locked
from assets.stream import DatasetTables, load_tables
from assets.training.saving import save_checkpoint
from assets.training.train import train
from tests.support import Row, interactions_frame, write_tables

MODEL = "ihm_sasrec"
RECURRENT_MODELS = ("gru", "hrnn_meta")
"""Trained too, in no roster: one that reads items alone, one that reads the time, value and type of every event."""

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
"""Wall clock at which the generation is made."""

START = pd.Timestamp("2024-03-01")
CUTOFF = "2024-03-04"
TINY = {
    "dim": 8,
    "max_epochs": 2,
    "items.history_length": 4,
    "items.hidden": 8,
    "items.feature_dim": 4,
    "users.history_length": 6,
    "trend.weight": 1.0,
}
RECURRENT = {
    "dim": 8,
    "max_epochs": 2,
    "users.hidden": 8,
    "users.history_length": 6,
    "users.bptt": 4,
}
HRNN_META = RECURRENT | {"items.hidden": 8, "items.feature_dim": 4}
COUNTS = {"counts.half_life_days": 1.5}
GENRES = ("drama", "comedy", "crime", "war")

Engagement = tuple[str, str, str, float | None, str]
"""(user_id, item_id, ISO timestamp, value, event type)."""


@dataclass
class Live:
    """A served dataset whose wall clock moves when a test says so.

    Attributes:
        storage: its data; the current generation is made of everything before the cutoff and after.
        settings: that every step is called with.
        tables: what the checkpoint was trained on.
        now: wall clock, microseconds.
    """

    storage: Storage
    settings: Settings
    tables: DatasetTables
    now: int = NOW

    def later(self, seconds: float = 1.0) -> int:
        """Move the clock on and tell it."""
        self.now += round(seconds * SECOND)
        return self.now

    def land(self, rows: Sequence[Row], value: float | None = 1.0, event_type: str = "engagement") -> LandedBatch:
        """A landed batch of engagements, not applied yet."""
        return self.land_each([(*row, value, event_type) for row in rows])

    def land_each(self, rows: Sequence[Engagement]) -> LandedBatch:
        """The same of rows with values and types of their own."""
        users, items, instants, values, event_types = zip(*rows, strict=True) if rows else [()] * 5
        columns = {
            Columns.USER: pa.array(users, pa.string()),
            Columns.ITEM: pa.array(items, pa.string()),
            Columns.TIMESTAMP: pa.array(map(pd.Timestamp, instants), pa.timestamp("us")),
            Columns.EVENT_TYPE: pa.array(event_types, pa.string()),
            Columns.VALUE: pa.array(values, pa.float64()),
            Columns.SOURCE_ROW: pa.array(range(len(rows)), pa.int64()),
        }
        table = interactions_table(columns)
        source_rows = pa.array(landed_source_rows(row_digests(table)))
        table = table.set_column(table.column_names.index(Columns.SOURCE_ROW), Columns.SOURCE_ROW, source_rows)
        return self._write(Kind.ENGAGEMENTS, table, str(list(rows)))

    def land_items(self, items: Mapping[str, tuple[str | None, str | None, Sequence[str]]]) -> LandedBatch:
        """A landed batch of items, not applied yet: id -> title, created_at, genres."""
        created = [None if one[1] is None else pd.Timestamp(one[1]) for one in items.values()]
        table = items_table(
            pa.array(items, pa.string()),
            pa.array([one[0] for one in items.values()], pa.string()),
            pa.array(created, pa.timestamp("us")),
            {"genre": pa.array([list(one[2]) for one in items.values()], pa.list_(pa.string()))},
        )
        return self._write(Kind.ITEMS, table, f"{self.now} {items}")

    def _write(self, kind: Kind, table: pa.Table, content: str) -> LandedBatch:
        digest = sha256(content.encode()).hexdigest()
        landed = Landed(kind, table, QUARANTINE_SCHEMA.empty_table(), digest)
        stamp = self.later(0.001)
        return write_batch(self.storage, "2024-03-07", landed, Arrival(f"{digest[:8]}.csv", stamp, stamp, digest))

    @contextmanager
    def opened(self) -> Iterator[OpenGeneration]:
        """The current generation under the writer's lock."""
        with locked(writer_lock(self.storage)), open_generation(self.storage) as opened:
            yield opened

    def apply(self, batches: Sequence[LandedBatch] | None = None) -> list[LedgerEntry]:
        """Apply ``batches``, or all that landed."""
        chosen = [one for kind in Kind for one in landed_batches(self.storage, kind)] if batches is None else batches
        with self.opened() as opened:
            reconcile(opened, self.settings, self.later())
            return apply_batches(opened, chosen, feature_config(opened.model, self.settings.freshness), self.later())

    def refresh(self) -> Refreshed:
        """Embed what is due."""
        with self.opened() as opened:
            now = self.later()
            return refresh_embeddings(opened.store, opened.model, self.settings.freshness, now, lambda: now)

    def maintain(self, force: bool = False) -> Maintained:
        """Make a snapshot if one is due."""
        with self.opened() as opened:
            return maintain_index(opened, self.settings, self.later(), force)

    def process(self) -> None:
        """Everything that a run does with what landed."""
        self.apply()
        self.refresh()
        self.maintain()

    def compare(self) -> Differences:
        """The store against batch code."""
        with self.opened() as opened:
            return differences(opened, batch_state(opened))


def tiny_settings(home: Path, **freshness: object) -> Settings:
    """For the ``toy`` dataset under ``home``."""
    return Settings(
        dataset="toy",
        home=home,
        models=(MODEL, "decayed_popularity", "popularity"),
        training={
            "hyper_parameters": {
                MODEL: TINY | COUNTS,
                "gru": RECURRENT | COUNTS,
                "hrnn_meta": HRNN_META | COUNTS,
            }
        },
        split={"qualified_user_min": 4},
        index=IndexConfig(queries=6),
        freshness=FreshnessConfig(**freshness),
    )


def engagements_of(rows: Sequence[Row]) -> list[Engagement]:
    """Rows with values and types: some are views, and every third has no value."""
    return [
        (*row, None if place % 3 == 2 else 1 + place % 5 % 4 / 2, "view" if place % 5 == 4 else "engagement")
        for place, row in enumerate(rows)
    ]


def tiny_rows() -> list[Row]:
    """360 engagements of 15 users with 30 items over six days; items are born over time; some timestamps are equal."""
    rows = []
    for place in range(360):
        hour = place * 24 * 6 / 360
        born = min(30, 8 + place // 14)
        user, item = (place * 7) % 15, (place * place + 3 * place) % born
        at = START + pd.Timedelta(int(hour * 2) / 2, "h")  # half hours: several rows each
        rows.append((f"u{user:02d}", f"i{item:02d}", at.isoformat()))
    return list(dict.fromkeys(rows))


def make_dataset(root: Path, rows: Sequence[Row]) -> Storage:
    """Exported tables of :func:`engagements_of`, with features, some of them missing."""
    engagements = interactions_frame(rows)
    engagements["value"], engagements["event_type"] = zip(*(each[3:] for each in engagements_of(rows)), strict=True)
    engagements["value"] = engagements["value"].astype(float)
    items, users = sorted({row[1] for row in rows}), sorted({row[0] for row in rows})
    return write_tables(
        root,
        engagements,
        cutoff=CUTOFF,
        validation_start="2024-03-03",
        item_features={"genre": {item: GENRES[: at % 4] for at, item in enumerate(items)}},
        user_features={"city": {user: ["oslo", "rome"][at % 2 :] for at, user in enumerate(users)}},
    )


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with its checkpoints; copy it before anything is written."""
    home = tmp_path_factory.mktemp("trained")
    settings = tiny_settings(home)
    storage = make_dataset(home, tiny_rows())
    for model in (*settings.models, *RECURRENT_MODELS):
        save_checkpoint(storage, train(model, load_tables(storage), settings))
    return home


@pytest.fixture(scope="session")
def served_home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a generation that serves; copy it likewise."""
    home = tmp_path_factory.mktemp("served")
    shutil.copytree(trained_home / "data", home / "data")
    settings = tiny_settings(home)
    renew(settings.storage, settings, load_tables(settings.storage), MODEL, 0, NOW)
    require_current(settings.storage)
    return home


@pytest.fixture
def unbuilt(trained_home: Path, tmp_path: Path) -> Live:
    """Trained, and nothing serves yet."""
    return _live(trained_home, tmp_path)


@pytest.fixture
def live(served_home: Path, tmp_path: Path) -> Live:
    """Trained and served."""
    return _live(served_home, tmp_path)


def _live(home: Path, tmp_path: Path) -> Live:
    shutil.copytree(home / "data", tmp_path / "data")
    settings = tiny_settings(tmp_path)
    return Live(settings.storage, settings, load_tables(settings.storage))
