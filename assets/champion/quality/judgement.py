"""Has the champion decayed: its NDCG@10 of late over that of its first days, with an interval over users.

Both sides are frozen weights under the same protocol, so the ratio is decay as the evaluation's figures show it. Users
are drawn again with replacement, all of both sides together, so a user who occurs in both counts in both of a draw.

The ratio alone cannot tell a model that forgot from days whose cases are harder for everyone: more new items, more
users with short histories, a larger catalog, a burst on few items. On MovieTweetings-100K the floor itself, a count of
the last days that never forgets, is at 0.53 [0.47, 0.59] three months after the cutoff. So the ratio is also taken over
the floor's, on the same cases in the same draws. Alerted is only when both 95 % intervals lie wholly beyond what is
tolerated: the champion lost, and it lost more than the days explain. Where the floor has nothing to lose, the first
decides.

A champion that was promoted among days that had just changed holds itself to a poor start. So it is alerted of too when
the floor beats it on the recent days, outside the 95 % interval of their difference, however it compares to its first
days: a count of the last days would serve better.

The rate of engagements changes how wide the interval is; it moves the ratio only where more engagements per day mean
more to recommend by, or where a day beyond ``quality.max_cases`` counts for less than its share.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.config import AlertConfig
from assets.metrics import Floats, bootstrap_means, ndcg, percentile_interval
from assets.schema import Columns

K: Final = 10
CHAMPION: Final = "champion"
SIDES: Final = ("reference", "recent")
CASE_KEY: Final = [Columns.SOURCE_ROW, Columns.USER, Columns.ITEM]
COLUMNS: Final = (*CASE_KEY, Columns.TIMESTAMP, "contender", "has_history", "above", "tied")
"""Of the ranks, what is judged by."""

BEYOND_ONE_END: Final = 0.025
"""Share of the draws beyond one end of a 95 % interval."""


@dataclass(frozen=True)
class Side:
    """Reference or recent days.

    Attributes:
        cases: of users with some history.
        value: the champion's mean NDCG@10 on them; ``None`` without any.
        starts_at, ends_at: event time, microseconds.
    """

    cases: int
    value: float | None
    starts_at: int = 0
    ends_at: int = 0


@dataclass(frozen=True)
class Alert:
    """A judgement.

    Attributes:
        alerted: whether the champion decayed beyond tolerance, outside the interval.
        reason: why or why not, in a sentence.
        reference, recent: the two sides.
        ratio, ci_low, ci_high: recent over reference; ``None`` where nothing can be said.
        tolerance: relative loss that is borne.
        against_floor: champion minus floor in mean NDCG@10, per side; ``None`` without cases.
        floor_ratio: the floor's own recent over reference; ``None`` where it has none.
        relative, relative_low, relative_high: ``ratio`` over ``floor_ratio``, likewise.
        behind_floor: whether the floor beats the champion on the recent days, outside the interval.
        at: wall clock, microseconds.
        checkpoint: of the champion, the beginning of its digest.
        model: its name.
        basis: names what was judged: equal ones give equal judgements.
    """

    alerted: bool
    reason: str
    reference: Side
    recent: Side
    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    tolerance: float
    against_floor: dict[str, float | None]
    floor_ratio: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    behind_floor: bool = False
    at: int = 0
    checkpoint: str = ""
    model: str = ""
    basis: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Alert":
        """The judgement that was written.

        Raises:
            TypeError: when another version wrote it.
            KeyError: likewise.
        """
        sides = {name: Side(**values[name]) for name in ("reference", "recent")}
        return cls(**{**values, **sides})


def judge(
    reference_ranks: pd.DataFrame, recent_ranks: pd.DataFrame, config: AlertConfig, samples: int, seed: int
) -> Alert:
    """Hold the recent ranks to the reference's.

    Args:
        reference_ranks: columns :data:`COLUMNS`, both contenders; cases of users without history are left out.
        recent_ranks: likewise.
        samples: draws of users.
        seed: of the draws.
    """
    sides = {"reference": _known(reference_ranks), "recent": _known(recent_ranks)}
    champion = _Contender.of(sides, lambda names: names == CHAMPION)
    floor = _Contender.of(sides, lambda names: names != CHAMPION)
    reference, recent = (Side(len(champion.scores[name]), champion.mean(name)) for name in SIDES)
    against = {name: _minus(champion.mean(name), floor.mean(name)) for name in SIDES}
    if silent := _silence(reference, recent, config):
        return Alert(False, silent, reference, recent, None, None, None, config.tolerance, against)
    draws = _draws(champion, floor, samples, seed)
    own, others = _divided(draws[1], draws[0]), _divided(draws[3], draws[2])
    low, high = _ratio_interval(own, draws[0])
    relative_low, relative_high = _ratio_interval(_divided(own, others), draws[2][~np.isnan(own)])
    beyond = 1 - config.tolerance
    lost = high is not None and high < beyond
    forgot = lost and (relative_high is None or relative_high < beyond)
    _, ahead = _interval(draws[1] - draws[3])
    behind = ahead is not None and ahead < 0
    ratio, floor_ratio = champion.ratio, floor.ratio
    return Alert(
        forgot or behind,
        _reason(ratio, low, high, beyond) + _of_floor(floor_ratio, lost and not forgot, behind),
        reference,
        recent,
        ratio,
        low,
        high,
        config.tolerance,
        against,
        floor_ratio,
        None if ratio is None or not floor_ratio else ratio / floor_ratio,
        relative_low,
        relative_high,
        behind,
    )


@dataclass(frozen=True)
class _Contender:
    """One contender's users and NDCG@10 per case, by side."""

    users: dict[str, "pd.Series[str]"]
    scores: dict[str, Floats]

    @classmethod
    def of(cls, sides: dict[str, pd.DataFrame], chosen: Callable[[pd.Series], pd.Series]) -> "_Contender":
        frames = {name: frame[chosen(frame["contender"])] for name, frame in sides.items()}
        users = {name: frame[Columns.USER] for name, frame in frames.items()}
        return cls(users, {name: _ndcg(frame) for name, frame in frames.items()})

    def mean(self, name: str) -> float | None:
        """``None`` without cases."""
        return float(self.scores[name].mean()) if len(self.scores[name]) else None

    @property
    def ratio(self) -> float | None:
        """Recent over reference; ``None`` where there is none."""
        reference, recent = (self.mean(name) for name in SIDES)
        return None if recent is None or not reference else recent / reference


def _known(ranks: pd.DataFrame) -> pd.DataFrame:
    """Cases with history, each once: a day and its hours may both have been measured."""
    known = ranks[ranks["has_history"].to_numpy(dtype=bool)]
    return known.drop_duplicates([*CASE_KEY, "contender"])


def _ndcg(ranks: pd.DataFrame) -> Floats:
    return ndcg(ranks["above"].to_numpy(np.int64), ranks["tied"].to_numpy(np.int64), K)


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _silence(reference: Side, recent: Side, config: AlertConfig) -> str | None:
    """Why nothing can be said, if so."""
    for name, side in (("reference", reference), ("recent", recent)):
        if side.cases < config.min_cases:
            return f"not judged: {side.cases} cases on the {name} days, {config.min_cases} are needed"
    if not reference.value:
        return f"not judged: NDCG@{K} was 0 on the reference days, there is nothing to lose"
    return None


def _draws(champion: _Contender, floor: _Contender, samples: int, seed: int) -> Floats:
    """[4, S] means in every draw of users: the champion's reference and recent days, then the floor's."""
    parts = [(each.users[name], each.scores[name]) for each in (champion, floor) for name in SIDES]
    users = pd.factorize(pd.concat([who for who, _ in parts]), sort=True)[0].astype(np.int64)
    scores = np.concatenate([held for _, held in parts])
    ends = np.cumsum([0, *(len(held) for _, held in parts)])
    groups = [np.arange(start, end) for start, end in pairwise(ends.tolist())]
    return bootstrap_means(scores[:, None], users, groups, samples, seed)[:, :, 0]


def _divided(left: Floats, right: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    return np.divide(left, right, out=np.full_like(left, np.nan), where=right > 0)


def _ratio_interval(ratios: Floats, divisors: Floats) -> tuple[float | None, float | None]:
    """95 % interval of [S] ratios; ``None`` twice where more draws have a divisor of 0 than may lie beyond one end."""
    return (None, None) if np.mean(divisors == 0) > BEYOND_ONE_END else _interval(ratios)


def _interval(ratios: Floats) -> tuple[float | None, float | None]:
    """95 % interval of [S] draws of a ratio or difference; ``None`` twice where none holds both sides."""
    low, high = percentile_interval(ratios[None, :, None])
    return (None, None) if np.isnan(low[0, 0]) else (float(low[0, 0]), float(high[0, 0]))


def _reason(ratio: float | None, low: float | None, high: float | None, beyond: float) -> str:
    if ratio is None or low is None or high is None:
        return "not judged: too few draws of users hold a hit on the reference days and the recent ones for an interval"
    said = f"NDCG@{K} is {ratio:.2f} [{low:.2f}, {high:.2f}] of what it was on the first days"
    if high < beyond:
        return f"{said}: lower, the whole interval lies below {beyond:.2f}"
    return f"{said}: {'lower, within the interval' if ratio < beyond else 'not below'} of {beyond:.2f}"


def _of_floor(ratio: float | None, as_hard: bool, behind: bool) -> str:
    said = "" if ratio is None else f"; the floor, which does not forget, is at {ratio:.2f}"
    if as_hard:
        said += ", so the days became as hard for it"
    return said + ("; on the recent days the floor beats it" if behind else "")
