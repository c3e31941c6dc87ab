"""Numbers of the time-sensitivity study, over all users."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.metrics import Floats, bootstrap_means, percentile_interval

DELAYS: Final[Mapping[str, np.timedelta64]] = {
    "0": np.timedelta64(0, "us"),
    "1 minute": np.timedelta64(1, "m"),
    "1 hour": np.timedelta64(1, "h"),
    "1 day": np.timedelta64(1, "D"),
    "30 days": np.timedelta64(30, "D"),
}
"""The paper's, and a month."""

OVERLAP, LIKENESS, POPULARITY = "overlap@10", "likeness", "popularity"
METRICS: Final = (OVERLAP, LIKENESS, POPULARITY)
VALUE, CHANGE = "value", "change"
COLUMNS: Final = ("delay", "seconds", "kind", "metric", "value", "ci_low", "ci_high", "users", "seeds")


def delay_table(runs: Sequence[Floats], settings: Settings) -> pd.DataFrame:
    """A row per delay, kind and metric: means over users with 95 % intervals, and their change from no delay, paired.

    Args:
        runs: per seed [U, delays, 3] of :data:`METRICS`, which are averaged per user first.
    """
    values = np.mean(list(runs), axis=0)  # [U, delays, 3]
    users, shape = len(values), values.shape[1:]
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    everyone = np.arange(users)
    draws = bootstrap_means(values.reshape(users, -1), everyone, [everyone], samples, seed)[0].reshape(-1, *shape)
    means, rows = values.mean(axis=0), []
    for kind, mean, drawn in (
        (VALUE, means, draws),
        (CHANGE, means - means[:1], draws - draws[:, :1]),
    ):
        for place, (delay, length) in enumerate(DELAYS.items()):
            low, high = percentile_interval(drawn[None, :, place])
            seconds = length / np.timedelta64(1, "s")
            rows += [
                (delay, seconds, kind, metric, *numbers, users, len(runs))
                for metric, *numbers in zip(METRICS, mean[place], low[0], high[0], strict=True)
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
