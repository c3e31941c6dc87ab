"""Simulated worlds and days as tables: canonical types, names in place of numbers."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.ingestion import features
from assets.ingestion.simulation.days import Day
from assets.ingestion.simulation.world import GROUPS, Scale, World
from assets.ingestion.tables import INSTANT, interactions_table, items_table, users_table
from assets.schema import Columns

AGES = ("18-24", "25-34", "35-49", "50+")
REGIONS = ("north", "south")
TELLING = 0.8  # share of users whose features are those of their taste group
MICROSECONDS = 1_000_000
EVENT_TYPE = "engagement"


def names(kind: str, count: int) -> pa.Array:
    """[count] texts like ``item-0001``, numbered from 1, all of one length."""
    numbers = pc.utf8_lpad(pa.array(np.arange(1, count + 1)).cast(pa.string()), width=len(str(count)), padding="0")
    return pc.binary_join_element_wise(kind, numbers, "-")


def instants(start: datetime, seconds: NDArray[np.int64]) -> pa.Array:
    """[n] instants so many seconds after ``start``."""
    return pa.array((int(start.timestamp()) + seconds) * MICROSECONDS).cast(INSTANT)


def items_of(scale: Scale, world: World, start: datetime) -> pa.Table:
    """Items with genre (topic) and author."""
    ids = names("item", scale.items)
    author = names("author", scale.authors).take(pa.array(world.author))
    genre = names("topic", scale.topics).take(pa.array(world.topic))
    title = pc.binary_join_element_wise(ids, author, " by ")
    kinds = {"genre": features.single(genre), "author": features.single(author)}
    return items_table(ids, title, instants(start, world.birth), kinds)


def users_of(scale: Scale, world: World) -> pa.Table:
    """Users with age and region of their taste group, or for some of a random group."""
    rng = np.random.default_rng([scale.seed, 2])
    shown = np.where(rng.random(scale.users) < TELLING, world.group, rng.integers(GROUPS, size=scale.users))
    age, region = pa.array(AGES).take(pa.array(shown % len(AGES))), pa.array(REGIONS).take(pa.array(shown // len(AGES)))
    kinds = {"age": features.single(age), "region": features.single(region)}
    return users_table(names("user", scale.users), kinds)


def interactions_of(days: Iterable[Day], scale: Scale, start: datetime, rows: int) -> Iterator[pa.Table]:
    """Interactions in order of time, in tables of whole days that have ``rows`` rows or more, but for the last.

    There is one table at least, which may be empty.
    """
    users, items, first = names("user", scale.users), names("item", scale.items), 1
    for batch in _batches(days, rows):
        user, item, seconds = (
            np.concatenate(one) for one in zip(*((d.users, d.items, d.seconds) for d in batch), strict=True)
        )
        yield interactions_table(
            {
                Columns.USER: users.take(pa.array(user)),
                Columns.ITEM: items.take(pa.array(item)),
                Columns.TIMESTAMP: instants(start, seconds),
                Columns.EVENT_TYPE: pa.repeat(EVENT_TYPE, len(user)),
                Columns.VALUE: pa.repeat(1.0, len(user)),
                Columns.SOURCE_ROW: pa.array(np.arange(first, first + len(user))),
            }
        )
        first += len(user)


def _batches(days: Iterable[Day], rows: int) -> Iterator[list[Day]]:
    batch: list[Day] = []
    held = 0
    for day in days:
        batch.append(day)
        held += len(day.users)
        if held >= rows:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
