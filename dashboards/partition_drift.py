"""How far a partition's engagements lie from the reference, and how far they may by chance.

Distances are those of the windows' reports: Wasserstein in standard deviations of the reference for numbers,
Jensen-Shannon (natural logarithms) for categories. A day of a few hundred engagements lies at a distance of everything,
so the threshold of a column is the larger of :data:`THRESHOLD` and what chance and the reference's own partitions show:

    threshold = max(0.1, 1.25 * (chance + unrest))

chance: the largest of 200 distances between as many rows as the partition has and a reference, both drawn anew from the
reference by units (a user's rows of one partition stay together: sessions make the rows of a day alike).
unrest: by how much the reference's own partitions, each against the whole of it, exceed what chance explains at their
size: weekdays differ, and trends within the reference are no news.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from dashboards.partition_features import CATEGORICAL, NUMERICAL, PARTITION, UNIT

THRESHOLD: Final = 0.1
MARGIN: Final = 1.25
DRAWS: Final = 200
LEVELS: Final = 256
"""Distinct numbers that calibration tells apart; more are put into as many bins of equal mass."""
STEP: Final = 1.1
"""Sizes within this factor share one calibration, that of the smallest."""
SMALLEST_DEVIATION: Final = 1e-3
"""Evidently's: a reference that does not vary has this standard deviation."""

WASSERSTEIN: Final = "wasserstein"
JENSEN_SHANNON: Final = "jensenshannon"
SCORE_COLUMNS: Final = ("column", "method", "score", "threshold", "drifted")

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def compared(reference: pd.DataFrame, current: pd.DataFrame) -> list[str]:
    """Columns with a value on both sides; nothing can be said of the others."""
    there = [name for name in (*NUMERICAL, *CATEGORICAL) if name in reference and name in current]
    return [name for name in there if reference[name].notna().any() and current[name].notna().any()]


def distance(reference: pd.Series, current: pd.Series, column: str) -> float:
    """Distance of two samples of a column, without missing values."""
    before, now = reference.dropna(), current.dropna()
    if column in NUMERICAL:
        deviation = max(float(np.std(before.to_numpy(np.float64))), SMALLEST_DEVIATION)
        return float(wasserstein_distance(before, now)) / deviation
    names = before.unique().tolist() + now.unique().tolist()
    kept = list(dict.fromkeys(names))
    shares = [side.value_counts().reindex(kept, fill_value=0).to_numpy(np.float64) for side in (before, now)]
    return float(jensenshannon(*shares))


@dataclass(frozen=True)
class _Coded:
    """A column of the reference as numbered levels.

    Attributes:
        codes: [N] level of each row; ``len(levels)`` where it has no value.
        levels: [L] the numbers they stand for, ascending; empty for categories.
        count: of levels.
        deviation: standard deviation of the reference; of numbers.
    """

    codes: Int
    levels: Float
    count: int
    deviation: float


@dataclass
class Calibration:
    """Thresholds for partitions of any size, from the reference alone.

    Args:
        reference: feature columns, ``unit`` and ``partition`` (only whole partitions are named; else missing).
        seed: of the draws.
    """

    reference: pd.DataFrame
    seed: int
    _coded: dict[str, _Coded] = field(init=False)
    _chance: dict[int, dict[str, float]] = field(init=False, default_factory=dict)
    _unrest: dict[str, float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Number the levels of every column once."""
        self._coded = {name: _code(self.reference[name], name) for name in compared(self.reference, self.reference)}

    def thresholds(self, rows: int) -> dict[str, float]:
        """Of every column of the reference, for a partition of ``rows`` rows."""
        chance, unrest = self._chance_at(_rounded(rows)), self._unrest_of()
        return {name: max(THRESHOLD, MARGIN * (chance[name] + unrest[name])) for name in self._coded}

    def _chance_at(self, rows: int) -> dict[str, float]:
        if rows not in self._chance:
            self._chance[rows] = {name: float(found.max()) for name, found in self._draw(rows).items()}
        return self._chance[rows]

    def _draw(self, rows: int) -> dict[str, Float]:
        """[DRAWS] distances of each column between ``rows`` rows and a reference, both drawn by units."""
        rng = np.random.default_rng([self.seed, rows])
        unit, number = np.unique(self.reference[UNIT], return_inverse=True)
        drawn = max(1, round(rows * len(unit) / len(number)))
        sides = {name: np.zeros((2, DRAWS, coded.count + 1)) for name, coded in self._coded.items()}
        for draw in range(DRAWS):
            for side, size in enumerate((len(unit), drawn)):
                weights = np.bincount(rng.integers(len(unit), size=size), minlength=len(unit))[number]
                for name, coded in self._coded.items():
                    sides[name][side, draw] = np.bincount(coded.codes, weights, coded.count + 1)
        return {
            name: _distances(counts[0, :, :-1], counts[1, :, :-1], self._coded[name]) for name, counts in sides.items()
        }

    def _unrest_of(self) -> dict[str, float]:
        if self._unrest is None:
            parts = [part for _, part in self.reference.groupby(PARTITION, sort=True)]
            sizes = np.array([len(part) for part in parts])
            usual = int(np.median(sizes)) if len(sizes) else 0
            parts = [part for part, size in zip(parts, sizes, strict=True) if size >= usual / 2]
            self._unrest = dict.fromkeys(self._coded, 0.0)
            if len(parts) > 1:
                chance = self._chance_at(_rounded(max(1, usual // 2)))
                for name in self._coded:
                    there = [part[name] for part in parts if part[name].notna().any()]
                    own = [distance(self.reference[name], values, name) for values in there]
                    self._unrest[name] = max(0.0, max(own, default=0.0) - chance[name])
        return self._unrest


def judge(current: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Scores of a partition, the one that exceeds its threshold most first.

    Returns:
        :data:`SCORE_COLUMNS`, a row per column with values on both sides.
    """
    thresholds = calibration.thresholds(len(current))
    rows = []
    for name in compared(calibration.reference, current):
        score, method = distance(calibration.reference[name], current[name], name), _method(name)
        rows.append((name, method, score, thresholds[name], score >= thresholds[name]))
    table = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    order = (table["score"] / table["threshold"]).sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def reason_of(scores: pd.DataFrame) -> str:
    """The verdict in words: the drifted columns with score and threshold, or that there are none."""
    drifted = scores[scores["drifted"]]
    if drifted.empty:
        return f"none of {len(scores)} columns drifted"
    named = [
        f"{row['column']} {row['score']:.2f} (threshold {row['threshold']:.2f})" for row in drifted.to_dict("records")
    ]
    return f"{len(drifted)} of {len(scores)} columns drifted: {', '.join(named)}"


def thresholds_of(scores: pd.DataFrame) -> Mapping[str, float]:
    """Column -> threshold."""
    return dict(zip(scores["column"].astype(str), scores["threshold"].astype(float), strict=True))


def _method(column: str) -> str:
    return WASSERSTEIN if column in NUMERICAL else JENSEN_SHANNON


def _rounded(rows: int) -> int:
    """The largest power of :data:`STEP` that is not above ``rows``."""
    return max(1, int(STEP ** np.floor(np.log(max(rows, 1)) / np.log(STEP) + 1e-9)))


def _code(values: pd.Series, column: str) -> _Coded:
    missing = values.isna().to_numpy()
    if column not in NUMERICAL:
        codes, names = pd.factorize(values, sort=True)
        return _Coded(np.where(missing, len(names), codes).astype(np.int64), np.empty(0), len(names), 1.0)
    numbers = values.to_numpy(np.float64)
    there = numbers[~missing]
    levels = np.unique(there)
    if len(levels) > LEVELS:
        levels = np.unique(np.quantile(there, (np.arange(LEVELS) + 0.5) / LEVELS))
    middles = (levels[1:] + levels[:-1]) / 2
    codes = np.where(missing, len(levels), np.searchsorted(middles, numbers))
    return _Coded(codes.astype(np.int64), levels, len(levels), max(float(np.std(there)), SMALLEST_DEVIATION))


def _distances(reference: Float, current: Float, coded: _Coded) -> Float:
    """[D] distances of [D, L] counts per level; 0 where a side drew no value."""
    totals = [side.sum(axis=1, keepdims=True) for side in (reference, current)]
    before, now = (side / np.maximum(total, 1) for side, total in zip((reference, current), totals, strict=True))
    empty = (totals[0][:, 0] == 0) | (totals[1][:, 0] == 0)
    if len(coded.levels):
        steps = np.abs(np.cumsum(before - now, axis=1))[:, :-1] * np.diff(coded.levels)
        return np.where(empty, 0.0, steps.sum(axis=1) / coded.deviation)
    found = np.asarray(jensenshannon(before, now, axis=1), dtype=np.float64)
    return np.where(empty, 0.0, np.nan_to_num(found))
