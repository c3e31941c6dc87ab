"""The days of a simulated world, one after another."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from assets.ingestion.simulation.draws import Float, Int, cumulated, drawn, whole
from assets.ingestion.simulation.seen import Claims, Seen, hashed
from assets.ingestion.simulation.tastes import Tastes, TopicDraw
from assets.ingestion.simulation.world import SECONDS_PER_DAY, Scale, World, shifted

DRAWS_PER_ENGAGEMENT = 8
AGE_SHAPE = 1.8  # of the gamma profile; above 1 popularity rises before it fades
PROFILE_BITS = 14
STEPS_PER_LIFETIME, LIFETIMES = 64, 40  # of the tabulated age profile; at its end it is 0 to PROFILE_BITS
HOURS = np.array([2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 5, 5, 6, 6, 5, 5, 5, 6, 8, 10, 12, 12, 9, 5])
LOGITS_AT_ONCE = 1 << 21
"""Users' logits that are held at once, so that a day of a hundred million engagements needs no more memory."""


@dataclass(frozen=True)
class Day:
    """Engagements of one day in order of time: rows of users and items, and seconds since the first midnight."""

    users: Int
    items: Int
    seconds: Int


@dataclass(frozen=True)
class Sessions:
    """Sessions of one day in order of their users: [m] users, and where each begins among the day's engagements.

    Args:
        users: [m], ascending.
        edges: [m + 1].
        seconds: [edges[-1]] of each engagement, since the first midnight.
    """

    users: Int
    edges: Int
    seconds: Int


def simulate(scale: Scale, world: World) -> Iterator[Day]:
    """Yield ``scale.days`` days. Where a user finds no item left, an engagement is dropped, so a few may be missing;
    a day before anybody has joined has none.

    A day depends on the seed, its number and the days before it alone. Memory holds the items, the users (a row of
    tastes each), one day, and 16 to 32 bits per engagement that is remembered.
    """
    counts = daily_counts(scale)
    most = int(counts.max())
    choice, tastes = _Choice(scale, world), Tastes(scale)
    first = int(world.joined.min())
    seen, claims = Seen(scale.days, scale.repeat_memory_days, most), Claims(most)
    for day, asked in enumerate(counts.tolist()):
        rng = np.random.default_rng([scale.seed, 1, day])
        if day == scale.shift_day:
            choice = _Choice(scale, shifted(scale, world))
        seen.begin(day)
        tastes.begin(rng)
        choice.begin(day)
        count = asked if day >= first else 0
        sessions = _sessions(rng, scale, choice.world, day, count)
        users = np.repeat(sessions.users, np.diff(sessions.edges))
        items = np.full(count, -1, np.int64)
        for rows, known, topics in _blocks(rng, sessions, tastes, choice.world, day):
            items[rows] = _choose(rng, choice, topics, known, users[rows], sessions.seconds[rows], seen, claims)
        order = _by_time(sessions.seconds, items >= 0)
        yield Day(users[order], items[order], sessions.seconds[order])


def daily_counts(scale: Scale) -> Int:
    """[days] engagements: a weekly rhythm and slow growth, summing to the whole exactly."""
    day = np.arange(scale.days)
    weight = whole((1 + 0.2 * np.sin(2 * np.pi * day / 7)) * (0.8 + 0.4 * day / scale.days), 20)
    sums = cumulated(weight)
    return np.diff(np.rint(sums / sums[-1] * scale.engagements)).astype(np.int64)


def _sessions(rng: Generator, scale: Scale, world: World, day: int, count: int) -> Sessions:
    """``count`` engagements: sessions of geometric length by users who joined, active as they are.

    Where nobody has, only a ``count`` of 0 means anything.
    """
    ends = np.cumsum(rng.geometric(1 / scale.session_length, size=count))
    sessions = int(np.searchsorted(ends, count)) + 1 if count else 0
    edges = np.concatenate([[0], np.minimum(ends[:sessions], count)])
    sums = cumulated(world.activity * (world.joined <= day))
    users = drawn(sums, sums[0], sums[-1], np.sort(rng.random(sessions)))
    hours = cumulated(HOURS)
    hour = drawn(hours, hours[0], hours[-1], rng.random(sessions))
    start = hour * (SECONDS_PER_DAY // len(HOURS)) + rng.integers(SECONDS_PER_DAY // len(HOURS), size=sessions)
    elapsed = np.cumsum((rng.exponential(1000 * scale.session_pause_seconds, count)).astype(np.int64))  # milliseconds
    lengths = np.diff(edges)
    within = (elapsed - np.repeat(elapsed[edges[:-1]], lengths)) // 1000
    seconds = np.minimum(np.repeat(start, lengths) + within, SECONDS_PER_DAY - 1)
    return Sessions(users, edges, day * SECONDS_PER_DAY + seconds)


def _blocks(
    rng: Generator, sessions: Sessions, tastes: Tastes, world: World, day: int
) -> Iterator[tuple[slice, Int, TopicDraw]]:
    """Parts of a day: its engagements, for each the row of its user's logits, and the draw of topics by them."""
    step = max(1, LOGITS_AT_ONCE // world.home.shape[1])
    for first in range(0, len(sessions.users), step):
        users = sessions.users[first : first + step]
        edges = sessions.edges[first : first + step + 1]
        new = np.concatenate([[True], users[1:] != users[:-1]])
        row = np.repeat(np.cumsum(new) - 1, np.diff(edges))
        yield slice(edges[0], edges[-1]), row, TopicDraw(tastes.of(rng, users[new], world.home, day))


class _Choice:
    """How items are chosen on one day: by topic from a user's taste, or by favourite author."""

    def __init__(self, scale: Scale, world: World) -> None:
        self.world = world
        self._author_share = scale.author_share
        self._members = np.argsort(world.author, kind="stable")  # authors are in order of topic, so topics are too
        authors = world.author[self._members]
        self._author_edges = np.searchsorted(authors, np.arange(scale.authors + 1))
        self._topic_edges = np.searchsorted(world.author_topic[authors], np.arange(scale.topics + 1))
        self._born = world.birth[self._members]
        self._pace = STEPS_PER_LIFETIME / (world.lifetime[self._members] * SECONDS_PER_DAY)
        self._appeal = world.appeal[self._members]
        self._evergreen = (self._born < 0) * round(scale.evergreen * (1 << PROFILE_BITS))
        self._sums = np.zeros(1, np.int64)

    def begin(self, day: int) -> None:
        """A new day: items are weighed as old as they are at its end; those not born by then weigh nothing."""
        age = (day + 1) * SECONDS_PER_DAY - self._born
        step = np.minimum(age * self._pace, len(PROFILE) - 1).astype(np.int64)
        popularity = np.where(age > 0, PROFILE[np.maximum(step, 0)] + self._evergreen, 0)
        self._sums = cumulated(self._appeal * popularity)

    def draw(self, rng: Generator, topics: TopicDraw, rows: Int, users: Int) -> Int:
        """[n] items for [n] users and their rows of the logits, -1 where the chosen topic or author has none."""
        topic = topics.at(rows, rng.random(len(rows)))
        author = self.world.favourite[users]
        by_author = rng.random(len(rows)) < self._author_share
        low = self._sums[np.where(by_author, self._author_edges[author], self._topic_edges[topic])]
        high = self._sums[np.where(by_author, self._author_edges[author + 1], self._topic_edges[topic + 1])]
        found = drawn(self._sums, low, high, rng.random(len(rows)))
        return np.where(high > low, self._members[np.minimum(found, len(self._members) - 1)], -1)


def _profile() -> Int:
    """Popularity by age in steps of a lifetime's 64th: a gamma density, its peak scaled to 2^PROFILE_BITS."""
    relative: Float = (np.arange(STEPS_PER_LIFETIME * LIFETIMES) + 0.5) / STEPS_PER_LIFETIME
    peak = AGE_SHAPE - 1
    density = (relative / peak) ** peak * np.exp(peak - relative)
    return np.rint(np.ldexp(density, PROFILE_BITS)).astype(np.int64)


PROFILE = _profile()


def _choose(
    rng: Generator,
    choice: _Choice,
    topics: TopicDraw,
    known: Int,
    users: Int,
    seconds: Int,
    seen: Seen,
    claims: Claims,
) -> Int:
    """[n] items: drawn again where born later or had by the user before; -1 where no draw fits."""
    birth = choice.world.birth
    items = np.full(len(users), -1, np.int64)
    waiting = np.arange(len(users))
    for _ in range(DRAWS_PER_ENGAGEMENT):
        if len(waiting) == 0:
            break
        found = choice.draw(rng, topics, known[waiting], users[waiting])
        hashes = hashed(users[waiting] * len(birth) + found)
        fits = (found >= 0) & (birth[found] <= seconds[waiting]) & ~seen.holds(hashes)
        rows = np.flatnonzero(fits)
        rows = rows[claims.unique(hashes[rows])]
        seen.add(hashes[rows])
        items[waiting[rows]] = found[rows]
        waiting = waiting[items[waiting] < 0]
    return items


def _by_time(seconds: Int, kept: NDArray[np.bool_]) -> Int:
    """Rows that are ``kept``, in order of their seconds and then of their numbers: one sort of both in one number."""
    rows = np.flatnonzero(kept)
    return np.sort(((seconds[rows] % SECONDS_PER_DAY) << 32) | rows) & 0xFFFFFFFF
