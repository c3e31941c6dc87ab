"""Means over users of the cold-items study, their ratios to random choice, and paired differences."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.evaluation.studies.cold_cases import METRICS
from assets.metrics import Floats, Int, bootstrap_means, percentile_interval

RANDOM: Final = "random choice"
HRNN_META: Final = "hrnn_meta"

VALUE, RATIO, DIFFERENCE = "value", "ratio", "difference"
COLUMNS: Final = ("variant", "kind", "reference", "metric", "value", "ci_low", "ci_high", "users", "seeds")


def cold_table(values: Mapping[str, Sequence[Floats]], users: Int, settings: Settings) -> pd.DataFrame:
    """A row per variant, kind and metric, with 95 % intervals over users.

    Kinds: ``value``; ``ratio`` to :data:`RANDOM`; ``difference`` of :data:`HRNN_META` to each other net. All from the
    same draws of users, so ratios and differences are paired.

    Args:
        values: variant -> per seed [U, 5] of :data:`METRICS`, which are averaged per user first.
        users: [U].
    """
    names = list(values)
    stacked = np.concatenate([np.mean(list(values[name]), axis=0) for name in names], axis=1)  # [U, V * 5]
    everyone = [np.arange(len(users))]
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    shape = (len(names), len(METRICS))
    means = stacked.mean(axis=0).reshape(shape)  # [V, 5]
    draws = bootstrap_means(stacked, users, everyone, samples, seed)[0].reshape(-1, *shape)  # [S, V, 5]
    rows: list[tuple[object, ...]] = []

    def add(name: str, kind: str, reference: str, value: Floats, drawn: Floats) -> None:
        low, high = percentile_interval(drawn[None])
        spread = zip(METRICS, value, low[0], high[0], strict=True)
        tail = (len(users), len(values[name]))
        rows.extend((name, kind, reference, metric, *numbers, *tail) for metric, *numbers in spread)

    for place, name in enumerate(names):
        add(name, VALUE, "", means[place], draws[:, place])
    base = names.index(RANDOM)
    for place, name in enumerate(names):
        if name != RANDOM:
            add(name, RATIO, RANDOM, means[place] / means[base], draws[:, place] / draws[:, base])
    for place, name in enumerate(names):
        if HRNN_META in names and name not in (RANDOM, HRNN_META):
            own = names.index(HRNN_META)
            add(HRNN_META, DIFFERENCE, name, means[own] - means[place], draws[:, own] - draws[:, place])
    return pd.DataFrame(rows, columns=list(COLUMNS))
