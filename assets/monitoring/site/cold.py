"""How young items fare: shares of recommended lists and hit rates by age, and the time to a new item's first hit. Pure.

An item's age is the time since it was available. A new item is one that became available at the cutoff or later; it is
found when a user who engages with it had it in the top 10. Items are followed to the end of what was ranked, the young
ones shorter: shares found are Kaplan and Meier's, which let every item count for as long as it was followed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.metrics import Floats, bootstrap, hit_rate
from assets.stream import PADDING, Int

K: Final = 10
DAY: Final = np.timedelta64(1, "D")
EDGES: Final = (1.0, 7.0, 30.0, 90.0)
AGES: Final = ("under 1 day", "1 to 7 days", "7 to 30 days", "30 to 90 days", "over 90 days")
"""Buckets of age, between :data:`EDGES` in days; an age on an edge belongs to the older bucket."""
DAYS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 30.0, 60.0, 90.0)
"""Days of the curve of items found."""
ENGAGEMENTS: Final = "engagements"
"""Line of the ages of what users engaged with."""

Instants = NDArray[np.datetime64]


@dataclass(frozen=True)
class Ranked:
    """One model's ranked cases.

    Attributes:
        model: its name.
        users: [C] any integers.
        items: [C] rows of the targets among the items.
        instants: [C] of the cases.
        above, tied: [C] items ranked above and beside the target.
        listed: [C, L] rows of the recommended lists, ``PADDING`` where there is none.
    """

    model: str
    users: Int
    items: Int
    instants: Instants
    above: Int
    tied: Int
    listed: Int


def age_buckets(days: Floats) -> Int:
    """[n] places in :data:`AGES` for [n] ages; NaN (not available yet, or unknown) is -1, below 0 counts as 0."""
    places = np.searchsorted(np.array(EDGES), days, side="right")
    return np.where(np.isnan(days), -1, places).astype(np.int64)


def ages_of(at: Instants, items: Int, available: Instants) -> Floats:
    """Days since the items were available; NaN where that is not known. Shapes of ``at`` and ``items`` broadcast."""
    return (at - available[items]) / DAY


def by_age(ranked: Ranked, available: Instants, samples: int, seed: int) -> pd.DataFrame:
    """Impressions and hit rate per age of one model.

    Args:
        ranked: its cases.
        available: [I] instants from which the items were available.
        samples: bootstrap draws of users, for the hit rate's interval.
        seed: of the draws.

    Returns:
        line, age, what (``impressions``, ``hit_rate``), value, low, high; ages without a case have no hit rate.
    """
    buckets = age_buckets(ages_of(ranked.instants, ranked.items, available))
    hits = hit_rate(ranked.above, ranked.tied, K)
    groups = [np.flatnonzero(buckets == place) for place in range(len(AGES))]
    low, high = bootstrap(hits[:, None], ranked.users, groups, samples, seed)
    rates = [
        (age, "hit_rate", float(hits[group].mean()), float(low[place, 0]), float(high[place, 0]))
        for place, (age, group) in enumerate(zip(AGES, groups, strict=True))
        if len(group)
    ]
    shares = impressions(ranked, available)
    shown = [(age, "impressions", share, np.nan, np.nan) for age, share in zip(AGES, shares, strict=True)]
    frame = pd.DataFrame([*shown, *rates], columns=["age", "what", "value", "low", "high"])
    return frame[frame["value"].notna()].assign(line=ranked.model)


def impressions(ranked: Ranked, available: Instants) -> Floats:
    """Share of filled list slots per place of :data:`AGES`; NaN where no list was kept."""
    filled = ranked.listed != PADDING
    at = np.broadcast_to(ranked.instants[:, None], ranked.listed.shape)[filled]
    return _shares(age_buckets(ages_of(at, ranked.listed[filled], available)))


def engaged(ranked: Ranked, available: Instants) -> pd.DataFrame:
    """Shares of the cases themselves per age, in the form of :func:`by_age`."""
    shares = _shares(age_buckets(ages_of(ranked.instants, ranked.items, available)))
    rows = [(ENGAGEMENTS, age, "impressions", share) for age, share in zip(AGES, shares, strict=True)]
    frame = pd.DataFrame(rows, columns=["line", "age", "what", "value"]).assign(low=np.nan, high=np.nan)
    return frame[frame["value"].notna()]


def _shares(buckets: Int) -> Floats:
    counts = np.bincount(buckets[buckets >= 0], minlength=len(AGES)).astype(np.float64)
    return counts / counts.sum() if counts.sum() else np.full(len(AGES), np.nan)


@dataclass(frozen=True)
class FirstHits:
    """How soon new items were found: ``days`` [n] to the first hit or the end, ``found`` [n] which of both it was."""

    days: Floats
    found: NDArray[np.bool_]

    def shares(self, days: Floats) -> Floats:
        """[d] Kaplan and Meier's share of items found within ``days`` [d]."""
        order = np.lexsort((~self.found, self.days))  # of equal times the hits first
        followed = len(order) - np.arange(len(order))
        missed = np.cumprod(1.0 - self.found[order] / followed)
        at = np.searchsorted(self.days[order], days, side="right")
        return 1.0 - np.append(1.0, missed)[at]

    @property
    def median(self) -> float:
        """Days within which half of the items are found; NaN where that never happens."""
        times = np.unique(self.days[self.found])
        reached = times[self.shares(times) >= 0.5]
        return float(reached[0]) if len(reached) else float("nan")


def first_hits(ranked: Ranked, available: Instants, cutoff: np.datetime64) -> FirstHits:
    """Time to the first hit of every new item that some user engaged with.

    A case is a hit when its target is in the top 10, or more likely so than not where scores tie.
    """
    fresh = np.flatnonzero(available[ranked.items] >= cutoff)
    if not len(fresh):
        return FirstHits(np.empty(0), np.empty(0, np.bool_))
    items, code = np.unique(ranked.items[fresh], return_inverse=True)
    end = (ranked.instants.max() - available[items]) / DAY
    hit = hit_rate(ranked.above[fresh], ranked.tied[fresh], K) >= 0.5
    first = np.full(len(items), np.inf)
    np.minimum.at(first, code[hit], ages_of(ranked.instants[fresh][hit], ranked.items[fresh][hit], available))
    return FirstHits(np.maximum(np.minimum(first, end), 0.0), np.isfinite(first))


def first_table(hits: dict[str, FirstHits]) -> pd.DataFrame:
    """A row per model: model, items, found, within_1, within_7, within_30 (shares), median_days."""
    rows = [
        (model, len(one.days), int(one.found.sum()), *one.shares(np.array([1.0, 7.0, 30.0])), one.median)
        for model, one in hits.items()
        if len(one.days)
    ]
    return pd.DataFrame(rows, columns=["model", "items", "found", "within_1", "within_7", "within_30", "median_days"])


def found_curve(hits: dict[str, FirstHits]) -> pd.DataFrame:
    """model, day, found: the share found within each of :data:`DAYS` that some item was followed for."""
    frames = [
        pd.DataFrame({"model": model, "day": days, "found": one.shares(days)})
        for model, one in hits.items()
        if len(one.days)
        for days in [np.array([day for day in DAYS if day <= one.days.max()] or [DAYS[0]])]
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["model", "day", "found"])
