"""What stays fixed in a simulated world: its items and users."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from assets.ingestion.simulation.draws import Float, Int, whole

SECONDS_PER_DAY = 86_400
GROUPS = 8
GROUP_SPREAD, USER_SPREAD = 1.3, 0.8  # standard deviations of logits: between groups, within one
CATALOG_AGE_DAYS = 60.0  # mean age, on the first day, of the items that were there before it
WEIGHT_BITS = 44  # of all items' appeal together: their sum times the age profile stays below 2^63
ACTIVITY_BITS = 16


@dataclass(frozen=True)
class Scale:
    """Size and shape of the simulated world; see ``datasets/simulated.py`` for what each means to a user."""

    users: int
    items: int
    days: int
    engagements: int
    seed: int
    topics: int
    authors: int
    zipf_exponent: float
    catalog_share: float
    lifetime_days: float
    drift: float
    repeat_memory_days: int
    joined_share: float
    shift_day: int | None
    shift_size: float
    births_per_day: float | None = None
    evergreen: float = 0.3
    author_share: float = 0.2
    activity_spread: float = 1.0
    session_length: float = 3.0
    session_pause_seconds: float = 240.0

    @property
    def old_share(self) -> float:
        """Share of the items that exist before the first day."""
        if self.births_per_day is None:
            return self.catalog_share
        return max(0.0, 1 - self.births_per_day * self.days / self.items)


@dataclass(frozen=True)
class World:
    """What stays fixed. I items, A authors, U users, T topics.

    Args:
        author_topic: [A], ascending, so that a topic's authors lie beside each other.
        author: [I] of each item.
        birth: [I] seconds since the first day's midnight; negative for the catalog that was there before.
        appeal: [I] weight at the peak of popularity, at least 1.
        lifetime: [I] days, scale of the age profile.
        group, favourite: [U] taste group and favourite author.
        home: [U, T] logits that a user's taste wanders around.
        activity: [U] weight of a user among those who joined, at least 1.
        joined: [U] day.
    """

    author_topic: Int
    author: Int
    birth: Int
    appeal: Int
    lifetime: Float
    group: Int
    favourite: Int
    home: NDArray[np.float32]
    activity: Int
    joined: Int

    @property
    def topic(self) -> Int:
        """[I] of each item."""
        return self.author_topic[self.author]


def make_world(scale: Scale) -> World:
    """Draw items and users."""
    rng = np.random.default_rng([scale.seed, 0])
    author_topic = np.sort(rng.integers(scale.topics, size=scale.authors))
    author = rng.integers(scale.authors, size=scale.items)
    existed = rng.random(scale.items) < scale.old_share
    before = -rng.exponential(CATALOG_AGE_DAYS, scale.items)
    born = np.where(existed, before, rng.uniform(0, scale.days, scale.items))
    rank = rng.permutation(scale.items) + 1.0
    appeal = rng.lognormal(0, 0.5, scale.authors)[author] * rank**-scale.zipf_exponent
    group = rng.integers(GROUPS, size=scale.users)
    early = rng.random(scale.users) < scale.joined_share
    return World(
        author_topic=author_topic,
        author=author,
        birth=np.floor(born * SECONDS_PER_DAY).astype(np.int64),
        appeal=whole(appeal, WEIGHT_BITS - math.ceil(math.log2(appeal.sum()))),
        lifetime=scale.lifetime_days * rng.lognormal(0, 0.5, scale.items),
        group=group,
        favourite=rng.integers(scale.authors, size=scale.users),
        home=_homes(rng, group, scale.topics),
        activity=whole(rng.lognormal(0, scale.activity_spread, scale.users), ACTIVITY_BITS),
        joined=np.where(early, 0, rng.integers(scale.days, size=scale.users)),
    )


def shifted(scale: Scale, world: World) -> World:
    """``world`` as it is from the shift on: new homes for some users, and appeal traded among some items."""
    rng = np.random.default_rng([scale.seed, 3])
    moved = np.flatnonzero(rng.random(scale.users) < scale.shift_size)
    home = world.home.copy()
    home[moved] = _homes(rng, rng.integers(GROUPS, size=len(moved)), scale.topics)
    traded = np.flatnonzero(rng.random(scale.items) < scale.shift_size)
    appeal = world.appeal.copy()
    appeal[traded] = appeal[rng.permutation(traded)]
    return replace(world, home=home, appeal=appeal)


def _homes(rng: Generator, group: Int, topics: int) -> NDArray[np.float32]:
    """[n, topics] logits around those of new groups' centres; a topic at a time, for the memory of a million users."""
    centres = rng.normal(0, GROUP_SPREAD, (GROUPS, topics))
    home = np.empty((len(group), topics), np.float32)
    for topic in range(topics):
        home[:, topic] = centres[group, topic] + rng.normal(0, USER_SPREAD, len(group))
    return home
