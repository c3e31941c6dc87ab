"""An engagement stream with a known truth, made day by day in bounded memory. Never evidence about real data.

Items belong to an author, and an author to a topic. They are born over time; their appeal is Zipf-distributed and their
popularity rises and fades with age like a gamma density, above a small floor for the older part of the catalog. Users
have a taste over topics that wanders around that of their group, favour one author, and come in sessions with a daily
and a weekly rhythm. Topics come into and go out of fashion. A user does not engage with an item twice within
``repeat_memory_days``, and nobody engages with an item before its birth.

On ``shift_day`` the world may change at once: a share ``shift_size`` of the users gets tastes of new groups, and the
same share of the items trade their appeal, so that what a model learned of both is out of date from then on.

Memory holds the items, the users (a row of tastes each) and the pairs of the last ``repeat_memory_days`` days,
whatever the number of engagements; a day depends on the seed, its number and the days before it alone.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]

SECONDS_PER_DAY = 86_400
GROUPS = 8
DRAWS_PER_ENGAGEMENT = 8
AUTHOR_CHANNEL = 0.2  # share of engagements chosen by favourite author, not by topic
SESSION_LENGTH = 3.0  # mean engagements
SESSION_GAP_SECONDS = 240.0  # mean pause within a session
AGE_SHAPE = 1.8  # of the gamma profile; above 1 popularity rises before it fades
EVERGREEN_FLOOR = 0.3  # of items born before the first day, relative to the profile's peak
TASTE_REVERSION = 0.02  # a day's pull of a user's taste towards home
HOURS = np.array([2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 5, 5, 6, 6, 5, 5, 5, 6, 8, 10, 12, 12, 9, 5], dtype=np.float64)


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


@dataclass(frozen=True)
class World:
    """What stays fixed. I items, U users, T topics.

    Args:
        topic, author: [I] of each item.
        birth: [I] seconds since the first day's midnight; negative for the catalog that was there before.
        appeal: [I] weight at the peak of popularity.
        lifetime: [I] days, scale of the age profile.
        group, favourite: [U] taste group and favourite author.
        home: [U, T] logits that a user's taste wanders around.
        activity: [U] weight of a user among those who joined.
        joined: [U] day.
    """

    topic: Int
    author: Int
    birth: Int
    appeal: Float
    lifetime: Float
    group: Int
    favourite: Int
    home: Float
    activity: Float
    joined: Int


@dataclass(frozen=True)
class Day:
    """Engagements of one day in order of time: rows of users and items, and seconds since the first midnight."""

    users: Int
    items: Int
    seconds: Int


def make_world(scale: Scale) -> World:
    """Draw items and users."""
    rng = np.random.default_rng([scale.seed, 0])
    author_topic = rng.integers(scale.topics, size=scale.authors)
    author = rng.integers(scale.authors, size=scale.items)
    existed = rng.random(scale.items) < scale.catalog_share
    born = np.where(existed, -rng.exponential(60, scale.items), rng.uniform(0, scale.days, scale.items))
    rank = rng.permutation(scale.items) + 1.0
    quality = rng.lognormal(0, 0.5, scale.authors)
    group = rng.integers(GROUPS, size=scale.users)
    centres = rng.normal(0, 1.3, (GROUPS, scale.topics))
    early = rng.random(scale.users) < scale.joined_share
    return World(
        topic=author_topic[author],
        author=author,
        birth=np.floor(born * SECONDS_PER_DAY).astype(np.int64),
        appeal=quality[author] * rank**-scale.zipf_exponent,
        lifetime=scale.lifetime_days * rng.lognormal(0, 0.5, scale.items),
        group=group,
        favourite=rng.integers(scale.authors, size=scale.users),
        home=centres[group] + rng.normal(0, 0.8, (scale.users, scale.topics)),
        activity=rng.lognormal(0, 1.0, scale.users),
        joined=np.where(early, 0, rng.integers(scale.days, size=scale.users)),
    )


def simulate(scale: Scale, world: World) -> Iterator[Day]:
    """Yield ``scale.days`` days. Where a user finds no item left, an engagement is dropped, so a few may be missing."""
    taste, fashion = world.home.copy(), np.zeros(scale.topics)
    remembered: deque[Int] = deque(maxlen=scale.repeat_memory_days)
    for day, count in enumerate(_daily_counts(scale)):
        rng = np.random.default_rng([scale.seed, 1, day])
        if day == scale.shift_day:
            changed = shifted(scale, world)
            taste += changed.home - world.home
            world = changed
        taste += TASTE_REVERSION * (world.home - taste) + rng.normal(0, scale.drift, taste.shape)
        fashion += rng.normal(0, scale.drift, scale.topics) - TASTE_REVERSION * fashion
        users, seconds = _sessions(rng, world, day, count)
        choice = _Choice(world, taste, fashion, day)
        seen = np.concatenate(remembered) if remembered else np.empty(0, np.int64)
        items = _choose(rng, choice, users, seconds, np.sort(seen))
        kept = np.flatnonzero(items >= 0)
        remembered.append(users[kept] * scale.items + items[kept])
        order = kept[np.argsort(seconds[kept], kind="stable")]
        yield Day(users[order], items[order], seconds[order])


def shifted(scale: Scale, world: World) -> World:
    """``world`` as it is from the shift on: new homes for some users, and appeal traded among some items."""
    rng = np.random.default_rng([scale.seed, 3])
    moved = rng.random(scale.users) < scale.shift_size
    centres = rng.normal(0, 1.3, (GROUPS, scale.topics))
    fresh = centres[rng.integers(GROUPS, size=scale.users)] + rng.normal(0, 0.8, world.home.shape)
    traded = np.flatnonzero(rng.random(scale.items) < scale.shift_size)
    appeal = world.appeal.copy()
    appeal[traded] = appeal[rng.permutation(traded)]
    return replace(world, home=np.where(moved[:, None], fresh, world.home), appeal=appeal)


def _daily_counts(scale: Scale) -> Int:
    """[days] engagements: a weekly rhythm and slow growth, summing to the whole exactly."""
    day = np.arange(scale.days)
    weight = (1 + 0.2 * np.sin(2 * np.pi * day / 7)) * (0.8 + 0.4 * day / scale.days)
    edges = np.round(np.concatenate([[0], np.cumsum(weight)]) / weight.sum() * scale.engagements)
    return np.diff(edges).astype(np.int64)


def _sessions(rng: Generator, world: World, day: int, count: int) -> tuple[Int, Int]:
    """[count] users and seconds: sessions of geometric length by users who joined, active as they are."""
    lengths = rng.geometric(1 / SESSION_LENGTH, size=count)
    session = np.repeat(np.arange(count), lengths)[:count]
    weight = np.cumsum(world.activity * (world.joined <= day))
    user = np.searchsorted(weight, rng.random(count) * weight[-1], side="right")
    hour = np.searchsorted(np.cumsum(HOURS), rng.random(count) * HOURS.sum(), side="right")
    start = (hour + rng.random(count)) * SECONDS_PER_DAY / len(HOURS)
    elapsed = np.cumsum(rng.exponential(SESSION_GAP_SECONDS, count))
    first = np.searchsorted(session, np.arange(count))
    within = elapsed - elapsed[first[session]] if count else elapsed
    seconds = np.minimum(start[session] + within, SECONDS_PER_DAY - 1)
    return user[session], day * SECONDS_PER_DAY + seconds.astype(np.int64)


class _Choice:
    """How items are chosen on one day: by topic from a user's taste, or by favourite author."""

    def __init__(self, world: World, taste: Float, fashion: Float, day: int) -> None:
        self.world = world
        self._logits = taste + fashion  # [U, T]
        weights = world.appeal * _popularity(world, day)
        self._by_topic = _GroupedDraw(world.topic, weights, self._logits.shape[1])
        self._by_author = _GroupedDraw(world.author, weights, int(world.author.max()) + 1)

    def draw(self, rng: Generator, users: Int) -> Int:
        """[n] items for [n] users, -1 where the chosen topic or author has none."""
        gumbel = rng.gumbel(size=(len(users), self._logits.shape[1]))
        topics = (self._logits[users] + gumbel).argmax(axis=1)  # Gumbel-max: a sample of the softmax
        by_author = rng.random(len(users)) < AUTHOR_CHANNEL
        position = rng.random(len(users))
        authors = np.minimum(self.world.favourite[users], self._by_author.groups - 1)
        return np.where(by_author, self._by_author.at(authors, position), self._by_topic.at(topics, position))


def _popularity(world: World, day: int) -> Float:
    """[I] age profile at the end of ``day``, 0 for items not born by then."""
    age = (day + 1) - world.birth / SECONDS_PER_DAY
    peak = AGE_SHAPE - 1
    relative = np.maximum(age, 0) / world.lifetime
    profile = (relative / peak) ** peak * np.exp(peak - relative)
    return np.where(age > 0, profile + EVERGREEN_FLOOR * (world.birth < 0), 0.0)


class _GroupedDraw:
    """Draws a member of a given group in proportion to weights: one search over cumulated weights for all draws."""

    def __init__(self, group: Int, weights: Float, groups: int) -> None:
        self.groups = groups
        self._members = np.argsort(group, kind="stable")
        self._edges = np.searchsorted(group[self._members], np.arange(groups + 1))
        self._sums = np.concatenate([[0.0], np.cumsum(weights[self._members])])

    def at(self, groups: Int, position: Float) -> Int:
        """[n] members at ``position`` (0 to 1) of their group's weight; -1 where the group has no weight."""
        low, high = self._sums[self._edges[groups]], self._sums[self._edges[groups + 1]]
        found = np.searchsorted(self._sums, low + position * (high - low), side="right") - 1
        inside = np.clip(found, self._edges[groups], np.maximum(self._edges[groups + 1] - 1, 0))
        return np.where(high > low, self._members[np.minimum(inside, len(self._members) - 1)], -1)


def _choose(rng: Generator, choice: _Choice, users: Int, seconds: Int, seen: Int) -> Int:
    """[n] items: drawn again where born later, remembered as engaged, or taken by the same user today; else -1."""
    birth = choice.world.birth
    items = np.full(len(users), -1, np.int64)
    for _ in range(DRAWS_PER_ENGAGEMENT):
        open_rows = np.flatnonzero(items < 0)
        if len(open_rows) == 0:
            break
        drawn = choice.draw(rng, users[open_rows])
        fits = (drawn >= 0) & (birth[drawn] <= seconds[open_rows])
        fits &= ~_contains(seen, users[open_rows] * len(birth) + drawn)
        items[open_rows[fits]] = drawn[fits]
        items[_repeats(users * len(birth) + items, items >= 0)] = -1
    return items


def _contains(ordered: Int, keys: Int) -> NDArray[np.bool_]:
    if len(ordered) == 0:
        return np.zeros(len(keys), np.bool_)
    at = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return ordered[at] == keys


def _repeats(keys: Int, chosen: NDArray[np.bool_]) -> Int:
    """Rows among ``chosen`` whose key an earlier chosen row has."""
    rows = np.flatnonzero(chosen)
    first = np.unique(keys[rows], return_index=True)[1]
    return np.delete(rows, first)
