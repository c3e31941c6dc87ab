"""The default dataset: simulated, offline, the same for the same options everywhere. Never evidence about real data.

Features: genre (topic) and author of items; of users an age bucket and a region that tell their taste group most of
the time. See :mod:`assets.ingestion.simulator` for how engagements come about.
"""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator
from tqdm import tqdm

from assets.ingestion import features
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.errors import IngestionError
from assets.ingestion.origins import Generated
from assets.ingestion.simulator import GROUPS, Scale, World, make_world, simulate
from assets.ingestion.tables import INSTANT, RawTables, interactions_table, items_table, users_table
from assets.schema import Columns

AGES = ("18-24", "25-34", "35-49", "50+")
REGIONS = ("north", "south")
TELLING = 0.8  # share of users whose features are those of their taste group
MICROSECONDS = 1_000_000


class SimulatedOptions(AdapterOptions):
    """Size and shape of the simulated world."""

    users: int = Field(3_000, ge=2, le=10_000_000)
    items: int = Field(2_500, ge=2, le=10_000_000)
    days: int = Field(120, ge=2, le=3_650)
    engagements: int = Field(60_000, ge=1, description="in all; a few fewer come where users run out of items")
    seed: int = Field(0, ge=0)
    start: date = Field(date(2024, 1, 1), description="first day (UTC)")
    topics: int = Field(12, ge=1, le=1_000)
    authors: int = Field(200, ge=1)
    zipf_exponent: float = Field(0.9, ge=0, description="of items' appeal by rank; 0 makes all equal")
    catalog_share: float = Field(0.7, ge=0, le=1, description="share of items that exist before the first day")
    lifetime_days: float = Field(25.0, gt=0, description="scale of the age profile of an item's popularity")
    drift: float = Field(0.05, ge=0, description="a day's standard deviation of tastes and of topics' fashion")
    repeat_memory_days: int = Field(120, ge=1, description="no user repeats an item within so many days")
    joined_share: float = Field(0.5, ge=0, le=1, description="share of users who are there from the first day")
    shift_day: int | None = Field(None, ge=0, description="day on which tastes and the appeal of items change at once")
    shift_size: float = Field(0.5, ge=0, le=1, description="share of users and of items that the shift changes")

    @model_validator(mode="after")
    def _shift_happens(self) -> Self:
        if self.shift_day is not None and self.shift_day >= self.days:
            raise ValueError(f"shift_day {self.shift_day} is not among the {self.days} days, which count from 0")
        return self


def read(folder: Path, options: SimulatedOptions, now: datetime) -> RawTables:
    """Simulate; ``folder`` is not read.

    Raises:
        IngestionError: when the last day would end after ``now``.
    """
    del folder
    start = datetime.combine(options.start, time(), UTC)
    end = start + timedelta(days=options.days)
    if end > (now if now.tzinfo else now.replace(tzinfo=UTC)):
        raise IngestionError(f"simulated: the last day ends on {end:%Y-%m-%d}, in the future; set an earlier start")
    scale = Scale(**options.model_dump(exclude={"start", "max_quarantine_share"}))
    world = make_world(scale)
    days = list(tqdm(simulate(scale, world), total=scale.days, desc="simulated days", unit="day"))
    items, users = _names("item", scale.items), _names("user", scale.users)
    seconds = np.concatenate([day.seconds for day in days])
    interactions = interactions_table(
        {
            Columns.USER: users.take(pa.array(np.concatenate([day.users for day in days]))),
            Columns.ITEM: items.take(pa.array(np.concatenate([day.items for day in days]))),
            Columns.TIMESTAMP: _instants(start, seconds),
            Columns.EVENT_TYPE: pa.array(np.full(len(seconds), "engagement")),
            Columns.VALUE: pa.array(np.ones(len(seconds))),
            Columns.SOURCE_ROW: pa.array(np.arange(1, len(seconds) + 1)),
        }
    )
    return RawTables(interactions, _items(items, world, start), users_table(users, _user_features(scale, world)))


def _items(ids: pa.Array, world: World, start: datetime) -> pa.Table:
    topics, authors = _names("topic", world.home.shape[1]), _names("author", int(world.author.max()) + 1)
    topic, author = topics.take(pa.array(world.topic)), authors.take(pa.array(world.author))
    title = pa.array([f"{one} by {other}" for one, other in zip(ids.to_pylist(), author.to_pylist(), strict=True)])
    kinds = {"genre": features.single(topic), "author": features.single(author)}
    return items_table(ids, title, _instants(start, world.birth), kinds)


def _user_features(scale: Scale, world: World) -> dict[str, pa.Array]:
    """Age and region of the taste group for most users, of a random group for the others."""
    rng = np.random.default_rng([scale.seed, 2])
    shown = np.where(rng.random(scale.users) < TELLING, world.group, rng.integers(GROUPS, size=scale.users))
    age, region = pa.array(AGES).take(pa.array(shown % len(AGES))), pa.array(REGIONS).take(pa.array(shown // len(AGES)))
    return {"age": features.single(age), "region": features.single(region)}


def _names(kind: str, count: int) -> pa.Array:
    width = len(str(count))
    return pa.array([f"{kind}-{number:0{width}d}" for number in range(1, count + 1)])


def _instants(start: datetime, seconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(int(start.timestamp()) * MICROSECONDS + seconds * MICROSECONDS, pa.int64()).cast(INSTANT)


DATASET = Adapter(
    name="simulated",
    licence="Apache-2.0, as Thaw itself",
    citation="none: simulated data, never evidence about real data",
    origin=Generated(),
    options=SimulatedOptions,
    read=read,
)
