"""What the frames of the retraining study say: means per frame and over frames, with intervals, and the bar."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from assets.evaluation.slices import (
    CASE_KEY,
    HIT_RATE,
    NDCG,
    NLL,
    NO_K,
    PERPLEXITY,
    Metric,
    check_same_cases,
    group_means,
    metric_values,
)
from assets.evaluation.studies.online import CONTENDER, FLOORS, FRAME, NAMES, FrameResult
from assets.metrics import Floats, Int, bootstrap_means, percentile_interval
from assets.schema import Columns

K: Final = 10
METRICS: Final[tuple[Metric, ...]] = ((HIT_RATE, K), (NDCG, K), (NLL, NO_K))
MEAN: Final = "mean"
"""Value of column ``frame``: the mean over frames, each of which counts alike, however many cases it has."""

REFERENCE: Final = FLOORS[0]
BAR: Final = NAMES[0]
AGAINST: Final = "against"
"""Column: empty where the value is the contender's own, else whom it is compared with on the same cases."""

NUMBERS: Final = ["value", "ci_low", "ci_high"]


@dataclass(frozen=True)
class _Drawn:
    """A contender's means per frame and then over frames, [F + 1, M], and in every draw of users, [F + 1, S, M]."""

    means: Floats
    draws: Floats
    counts: Int

    def minus(self, other: "_Drawn") -> "_Drawn":
        """The difference on the same cases and draws."""
        return _Drawn(self.means - other.means, self.draws - other.draws, self.counts)


def measure(results: Sequence[FrameResult], samples: int, seed: int) -> pd.DataFrame:
    """Means with 95 % bootstrap intervals over users, per frame and over frames; cases of users with history.

    Users are drawn for all frames at once. Perplexity is exp of the mean negative log likelihood, over frames exp of
    the mean of the frames' means. Comparisons with each floor are differences on the same cases and draws; of
    perplexities, the ratio.

    Returns:
        Columns ``frame`` (number, or :data:`MEAN`), ``contender``, ``against``, ``metric``, ``k``, ``value``,
        ``ci_low``, ``ci_high`` and ``n``; a frame without cases has no rows.

    Raises:
        ValueError: when no frame has a case, or contenders were not ranked on the same cases.
    """
    rows = pd.concat([result.rows for result in results if len(result.rows)] or [results[0].rows], ignore_index=True)
    rows = rows[rows["has_history"].to_numpy(dtype=bool)]
    if rows.empty:
        raise ValueError("no frame has a case of a user with history: there is nothing to compare")
    runs = _by_contender(rows)
    frames = [int(number) for number in np.unique(rows[FRAME])]
    drawn = {name: _draw(run, frames, samples, seed) for name, run in runs.items()}
    labels = [*map(str, frames), MEAN]
    parts = [_table(name, "", labels, each) for name, each in drawn.items()]
    parts += [
        _table(name, floor, labels, each.minus(drawn[floor]))
        for floor in FLOORS
        for name, each in drawn.items()
        if name != floor
    ]
    return pd.concat(parts, ignore_index=True)


def _by_contender(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    order = [FRAME, *CASE_KEY]
    runs = {name: rows[rows[CONTENDER] == name].sort_values(order, ignore_index=True) for name in NAMES}
    for run in runs.values():
        check_same_cases(run, runs[REFERENCE])
    return runs


def _draw(run: pd.DataFrame, frames: Sequence[int], samples: int, seed: int) -> _Drawn:
    values, number = metric_values(run, METRICS), run[FRAME].to_numpy()
    groups = [np.flatnonzero(number == frame) for frame in frames]
    means, counts = group_means(values, groups)  # [F, M]
    draws = bootstrap_means(values, pd.factorize(run[Columns.USER])[0], groups, samples, seed)  # [F, S, M]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)  # no frame has it: no number
        return _Drawn(
            means=np.concatenate([means, np.nanmean(means, axis=0, keepdims=True)]),
            draws=np.concatenate([draws, np.nanmean(draws, axis=0, keepdims=True)]),
            counts=np.concatenate([counts, counts.sum(axis=0, keepdims=True)]),
        )


def _table(name: str, against: str, labels: Sequence[str], drawn: _Drawn) -> pd.DataFrame:
    low, high = percentile_interval(drawn.draws)  # [F + 1, M]
    table = pd.DataFrame(
        {
            FRAME: np.repeat(labels, len(METRICS)),
            CONTENDER: name,
            AGAINST: against,
            "metric": [metric for metric, _ in METRICS] * len(labels),
            "k": [k for _, k in METRICS] * len(labels),
            "value": drawn.means.ravel(),
            "ci_low": low.ravel(),
            "ci_high": high.ravel(),
            "n": drawn.counts.ravel(),
        }
    )
    nats = (table["metric"] == NLL).to_numpy()
    table.loc[nats, NUMBERS] = np.exp(table.loc[nats, NUMBERS])
    table.loc[nats, "metric"] = PERPLEXITY
    return table


@dataclass(frozen=True)
class Number:
    """A measured value with its interval, of ``n`` cases."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def pick(table: pd.DataFrame, name: str, against: str, metric: str) -> dict[str, Number]:
    """A contender's numbers of one metric by frame, :data:`MEAN` among them, from what :func:`measure` gave."""
    rows = table[(table[CONTENDER] == name) & (table[AGAINST] == against) & (table["metric"] == metric)]
    columns = (rows[column].tolist() for column in (FRAME, *NUMBERS, "n"))
    return {frame: Number(value, low, high, n) for frame, value, low, high, n in zip(*columns, strict=True)}


@dataclass(frozen=True)
class Compared:
    """A contender against a floor by HR@10, on the same cases.

    Attributes:
        mean: difference, on average over frames.
        above: frames in which it is above.
        frames: frames that have cases.
    """

    mean: Number
    above: int
    frames: int

    @property
    def held(self) -> bool:
        """Whether it is above on average: of :data:`BAR` against :data:`REFERENCE`, the bar of the study."""
        return self.mean.value > 0


def compare(table: pd.DataFrame, name: str, floor: str = REFERENCE) -> Compared:
    """A contender against a floor, from what :func:`measure` gave."""
    differences = pick(table, name, floor, HIT_RATE)
    mean = differences.pop(MEAN)
    return Compared(mean, sum(each.value > 0 for each in differences.values()), len(differences))
