"""Errors of rating predictions: RMSE with intervals over users, and paired differences. Pure arrays and a frame."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.evaluation.studies.rating_cases import RatingCases
from assets.metrics import Floats, bootstrap_means, percentile_interval

COLUMNS: Final = ("group", "predictor", "reference", "value", "ci_low", "ci_high", "n", "users")
"""``value`` is an RMSE, or where there is a ``reference`` the difference to its RMSE, negative where better."""


def squared_errors(held: RatingCases, runs: Sequence[Floats]) -> Floats:
    """[C] squared error of each case, the mean over runs (one per seed) of [C] predictions each.

    Raises:
        FloatingPointError: when a prediction is not finite: clipped, infinity would pass for a rating.
    """
    predictions = np.stack(runs)  # [R, C]
    if not np.isfinite(predictions).all():
        raise FloatingPointError("a predicted rating is not finite")
    return np.asarray(np.square(held.clipped(predictions) - held.truth).mean(axis=0))


def error_table(
    held: RatingCases,
    predictions: Mapping[str, Sequence[Floats]],
    groups: Mapping[str, NDArray[np.int64]],
    pairs: Sequence[tuple[str, str]],
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """RMSE of every predictor in every group of cases, and differences of pairs; 95 % intervals, users drawn again.

    RMSE = sqrt(mean over cases and seeds of the squared error). Every predictor sees the same draws of users, so a
    difference is paired.

    Args:
        predictions: name -> one run per seed, [C] values each.
        groups: name -> rows of the cases, none empty.
        pairs: (predictor, reference).

    Returns:
        Columns :data:`COLUMNS`; ``reference`` is empty for an RMSE.
    """
    names = list(predictions)
    errors = np.stack([squared_errors(held, runs) for runs in predictions.values()], axis=1)  # [C, M]
    rows = list(groups.values())
    value = np.sqrt(np.stack([errors[group].mean(axis=0) for group in rows]))  # [G, M]
    draws = np.sqrt(bootstrap_means(errors, held.cases.users, rows, samples, seed))  # [G, S, M]
    left, right = (np.array([names.index(pair[side]) for pair in pairs], dtype=np.int64) for side in (0, 1))
    labels = [*((name, "") for name in names), *pairs]
    values = np.concatenate([value, value[:, left] - value[:, right]], axis=1)  # [G, M + P]
    low, high = percentile_interval(np.concatenate([draws, draws[..., left] - draws[..., right]], axis=2))
    users = [len(np.unique(held.cases.users[group])) for group in rows]
    return pd.DataFrame(
        [
            (group, *label, values[g, m], low[g, m], high[g, m], len(rows[g]), users[g])
            for g, group in enumerate(groups)
            for m, label in enumerate(labels)
        ],
        columns=list(COLUMNS),
    )
