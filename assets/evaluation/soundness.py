"""What must hold of evaluation's results whatever the data: pure functions that the asset checks call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from assets.config import Protocol
from assets.evaluation.protocol import CaseSet
from assets.evaluation.slices import COVERAGE, NLL, PERPLEXITY, TRAIN_FREQUENCY
from assets.ranking import Cases, Recommender, rank_cases
from assets.schema import METRIC_COLUMNS, CaseSlice, Columns
from assets.stream import DatasetTables

CASES_COMPARED = 500

NLL_TOLERANCE = 1e-3
"""Nats by which rounding may change a likelihood; what is counted cannot change by less than 1."""

RANGES: Final = {NLL: (0.0, np.inf), PERPLEXITY: (1.0, np.inf), TRAIN_FREQUENCY: (0.0, np.inf)}
"""Where a metric's values lie; the others' in [0, 1]."""


@dataclass(frozen=True)
class FutureReport:
    """How many of the compared (case, protocol) pairs have another rank or likelihood once the future is removed."""

    compared: int
    changed: int
    until: np.datetime64


def without_future(tables: DatasetTables, instant: np.datetime64) -> DatasetTables:
    """The same users and items, but only the engagements strictly before ``instant``."""
    past = (tables.interactions[Columns.TIMESTAMP] < instant).to_numpy()
    return replace(
        tables,
        stream=tables.stream.before(instant),
        interactions=tables.interactions[past].reset_index(drop=True),
    )


def future_report(
    load: Callable[[DatasetTables], Recommender],
    fallback: Recommender,
    case_set: CaseSet,
    tables: DatasetTables,
    protocols: Sequence[Protocol],
    limit: int = CASES_COMPARED,
) -> FutureReport:
    """Rank the middle refresh's cases twice, with every engagement and with those before its last case only.

    Nothing a case may know lies at or after it, so the ranks must not change. The model is loaded again over the
    shorter tables, so that one which keeps them, instead of what it is handed at a refresh, is found out too.

    Args:
        load: the checkpoint as a recommender over the given tables.
        limit: cases compared.
    """
    cases = case_set.cases
    middle = cases.refresh_at[len(cases) // 2]
    chosen = cases.take(np.flatnonzero(cases.refresh_at == middle)[:limit])
    until = chosen.timestamps.max()
    past = without_future(tables, until)
    over_all, over_past, changed = load(tables), load(past), 0
    for protocol in protocols:
        full = _ranks(over_all, fallback, chosen, tables, protocol)
        short = _ranks(over_past, fallback, chosen, past, protocol)
        same = np.isclose(full, short, rtol=0, atol=NLL_TOLERANCE, equal_nan=True).all(axis=0)
        changed += int((~same).sum())
    return FutureReport(len(chosen) * len(protocols), changed, until)


def _ranks(
    model: Recommender, fallback: Recommender, cases: Cases, tables: DatasetTables, protocol: Protocol
) -> np.ndarray:
    ranks = rank_cases(model, fallback, cases, tables.stream, tables.catalog, protocol, tables.cutoff)
    return np.stack([ranks.above, ranks.tied, ranks.has_history, ranks.nll])


def unsound_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows whose value or interval is not finite, not within its metric's range, not ordered, or rests on no case.

    Raises:
        KeyError: naming the columns that the table lacks.
    """
    if missing := [column for column in METRIC_COLUMNS if column not in metrics]:
        raise KeyError(f"the metrics lack {', '.join(missing)}")
    numbers = metrics[["ci_low", "value", "ci_high"]].to_numpy(dtype=np.float64, copy=True)
    plain = (metrics["metric"] == COVERAGE).to_numpy()
    numbers[plain] = numbers[plain][:, 1:2]  # it has no interval
    ranges = np.array([RANGES.get(metric, (0.0, 1.0)) for metric in metrics["metric"]]).reshape(-1, 2)  # [R, 2]
    low, high = ranges[:, :1] - 1e-12, ranges[:, 1:] + 1e-12
    within = (np.isfinite(numbers) & (numbers >= low) & (numbers <= high)).all(axis=1)
    return metrics[~(within & (numbers[:, 0] <= numbers[:, 2]) & (metrics["n"] > 0).to_numpy())]


def missing_windows(
    metrics: pd.DataFrame, models: Sequence[str], protocols: Sequence[Protocol], windows: Sequence[int]
) -> list[str]:
    """``model user_history/item_embeddings window`` of everything that should have a number and has none."""
    everyone = metrics[metrics["slice"] == CaseSlice.ALL_USERS.value]
    held = set(everyone[["model", "user_history", "item_embeddings", "window"]].itertuples(index=False, name=None))
    return [
        f"{model} {protocol.user_history}/{protocol.item_embeddings} {window}"
        for model in models
        for protocol in protocols
        for window in windows
        if (model, protocol.user_history.value, protocol.item_embeddings.value, str(window)) not in held
    ]
