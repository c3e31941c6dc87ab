"""Slices of cases, and the tidy metrics tables with an interval for every number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.evaluation.protocol import LIST_FREQUENCY, LISTED, RUN_COLUMNS
from assets.metrics import Floats, bootstrap, hit_rate, ndcg, reciprocal_rank
from assets.schema import ALL_WINDOWS, METRIC_COLUMNS, SEED_MEAN_COLUMNS, CaseSlice, Columns, ItemSlice
from assets.stream import PADDING

HIT_RATE = "hr"
NDCG = "ndcg"
MRR = "mrr"
NLL = "nll"
"""Negative log likelihood of the target among the candidates, in nats; the cases whose target is on the catalog."""
PERPLEXITY = "perplexity"
"""exp of the mean :data:`NLL`: how many equally likely items would be as hard to tell apart."""
RECALL = "recall"
"""A case has one relevant item, so recall@k is the hit rate."""
PRECISION = "precision"
"""A case has one relevant item, so precision@k is the hit rate / k."""
TRAIN_FREQUENCY = "train_frequency"
"""Mean number of train engagements of the items recommended: what a model that only repeats the past has high."""
COVERAGE = "coverage"
"""Share of the items available by the last case that are in at least one recommended list. It has no interval: a
bootstrap draws fewer users, so fewer items."""
NO_K = 0
"""Value of column ``k`` for a metric over the whole ranking."""

LOWER_IS_BETTER = frozenset({NLL, PERPLEXITY})

SEEN_FEW = 10
"""``seen_1_10`` ends here."""

Metric = tuple[str, int]
"""(metric, k)."""

Group = tuple[str, CaseSlice]
"""(window or ``all``, slice)."""

CASE_KEY = (Columns.SOURCE_ROW, Columns.USER, Columns.ITEM)
COVERAGE_SLICES = (CaseSlice.OVERALL, CaseSlice.ALL_USERS)
NUMBERS = ["value", "ci_low", "ci_high"]
MEASURED = ["window", "slice", "metric", "k", *NUMBERS, "n"]


def slice_masks(ranks: pd.DataFrame) -> dict[CaseSlice, NDArray[np.bool_]]:
    """[C] membership in every slice. Item slices and ``seen_*`` each part ``overall`` without a rest."""
    known = ranks["has_history"].to_numpy(dtype=bool)
    item_slice = ranks[Columns.SLICE].to_numpy()
    seen = ranks[Columns.ENGAGEMENTS_SEEN].to_numpy()
    head, tail, cold = (known & (item_slice == name.value) for name in (ItemSlice.HEAD, ItemSlice.TAIL, ItemSlice.COLD))
    return {
        CaseSlice.OVERALL: known,
        CaseSlice.HEAD: head,
        CaseSlice.TAIL: tail,
        CaseSlice.COLD: cold,
        CaseSlice.TAIL_AND_COLD: tail | cold,
        CaseSlice.NO_HISTORY: ~known,
        CaseSlice.ALL_USERS: np.ones(len(ranks), dtype=bool),
        CaseSlice.SEEN_0: known & (seen == 0),
        CaseSlice.SEEN_1_10: known & (seen >= 1) & (seen <= SEEN_FEW),
        CaseSlice.SEEN_MORE: known & (seen > SEEN_FEW),
    }


def metric_values(ranks: pd.DataFrame, metrics: Sequence[Metric]) -> Floats:
    """[C, M] per-case values; NaN where a metric is not defined for a case.

    Raises:
        KeyError: for a metric nobody defined.
    """
    above = ranks["above"].to_numpy(dtype=np.int64)
    tied = ranks["tied"].to_numpy(dtype=np.int64)
    compute: dict[str, Any] = {
        HIT_RATE: lambda k: hit_rate(above, tied, k),
        NDCG: lambda k: ndcg(above, tied, k),
        MRR: lambda _: reciprocal_rank(above, tied),
        NLL: lambda _: ranks["nll"].to_numpy(dtype=np.float64),
        TRAIN_FREQUENCY: lambda _: ranks[LIST_FREQUENCY].to_numpy(dtype=np.float64),
    }
    return np.stack([compute[name](k) for name, k in metrics], axis=1)


def mean_over_seeds(ranks: pd.DataFrame, metrics: Sequence[Metric]) -> tuple[pd.DataFrame, Floats]:
    """The cases of one model under one protocol, and [C, M] their values averaged over the model's seeds.

    Args:
        ranks: one run per seed; at least one.

    Returns:
        The first seed's rows in the order of :data:`CASE_KEY`, and the values in that order.

    Raises:
        ValueError: when the runs do not hold the same cases.
    """
    runs = [run.sort_values(list(CASE_KEY), ignore_index=True) for _, run in ranks.groupby("seed", sort=True)]
    for run in runs[1:]:
        check_same_cases(run, runs[0])
    return runs[0], np.mean([metric_values(run, metrics) for run in runs], axis=0)


def check_same_cases(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Both frames, in the order of :data:`CASE_KEY`, hold the same cases.

    Raises:
        ValueError: when they do not.
    """
    same = [*CASE_KEY, "has_history"]
    if not left[same].equals(right[same]):
        raise ValueError("two runs were not ranked on the same cases: evaluate both on the current tables")


def list_columns(ranks: pd.DataFrame) -> list[str]:
    """Columns that hold the recommended lists, the best item first."""
    return [str(column) for column in ranks if str(column).startswith(LISTED)]


def metric_names(ks: Sequence[int], list_length: int = 0) -> list[Metric]:
    """Every metric that is computed per case, with its k; ``list_length`` is that of the recommended lists, if any."""
    lists = [(TRAIN_FREQUENCY, list_length)] if list_length else []
    return [*((HIT_RATE, k) for k in ks), *((NDCG, k) for k in ks), (MRR, NO_K), (NLL, NO_K), *lists]


def metrics_frame(ranks: pd.DataFrame, ks: Sequence[int], samples: int, seed: int) -> pd.DataFrame:
    """The tidy table: one row per run, window (and ``all``), slice, metric and k, with a 95 % bootstrap interval.

    A slice without cases in a window has no row: there is nothing to report, and 0 or NaN would be read as a result.

    Args:
        ranks: what :func:`assets.evaluation.protocol.rank_under_protocols` returned, of any number of runs.
        ks: cut-offs of the ranking.
        samples: bootstrap draws of users.
        seed: of the draws.

    Returns:
        Columns :data:`assets.schema.METRIC_COLUMNS`.
    """
    metrics, frames = metric_names(ks, len(list_columns(ranks))), []
    for key, run in ranks.groupby(list(RUN_COLUMNS), sort=False, observed=True):
        identity: Any = key
        measured = _measure(run, metric_values(run, metrics), metrics, samples, seed)
        measured = pd.concat([measured, *_coverage(run)], ignore_index=True)
        frames.append(measured.assign(**dict(zip(RUN_COLUMNS, identity, strict=True))))
    return pd.concat(frames, ignore_index=True)[list(METRIC_COLUMNS)]


def seed_means_frame(
    ranks: pd.DataFrame, per_seed: pd.DataFrame, ks: Sequence[int], samples: int, seed: int
) -> pd.DataFrame:
    """The tidy table over seeds: the metrics of per-case values averaged over a model's seeds, with their intervals.

    The interval is over users, of the average that the seeds give them; ``standard_error`` is over seeds (the sample
    deviation of the seeds' own values / sqrt(seeds); NaN for one). Perplexity is exp of the averaged likelihood.

    Args:
        ranks: runs of any number of models, seeds and protocols.
        per_seed: what :func:`metrics_frame` gave for them, with the same ``ks``, ``samples`` and ``seed``.

    Returns:
        Columns :data:`assets.schema.SEED_MEAN_COLUMNS`.
    """
    metrics = metric_names(ks, len(list_columns(ranks)))
    frames: list[pd.DataFrame] = []
    run_key = [column for column in RUN_COLUMNS if column != "seed"]
    row_key = [*run_key, "window", "slice", "metric", "k"]
    values = per_seed.groupby(row_key, sort=False, observed=True)["value"]
    spread: pd.DataFrame = (values.std(ddof=1) / np.sqrt(values.size())).rename("standard_error").reset_index()
    for key, runs in ranks.groupby(run_key, sort=False, observed=True):
        identity: Any = dict(zip(run_key, key, strict=True))
        seeds = runs["seed"].nunique()
        measured = per_seed[(per_seed[run_key] == pd.Series(identity)).all(axis=1)][MEASURED]
        if seeds > 1:
            covered = measured[measured["metric"] == COVERAGE]
            covered = covered.groupby(["window", "slice", "metric", "k"], as_index=False, sort=False).mean()
            measured = _measure(*mean_over_seeds(runs, metrics), metrics, samples, seed)
            measured = pd.concat([measured, covered.astype({"n": np.int64})], ignore_index=True)
        frames.append(measured.assign(**identity, seeds=seeds))
    table = pd.concat(frames, ignore_index=True).merge(spread, on=row_key, how="left", validate="one_to_one")
    return table[list(SEED_MEAN_COLUMNS)]


def group_rows(cases: pd.DataFrame) -> dict[Group, NDArray[np.int64]]:
    """Rows of every (window, slice) that holds a case; window ``all`` is every window together."""
    masks = slice_masks(cases)
    windows = cases[Columns.WINDOW].to_numpy(dtype=np.int64)
    in_window = {str(window): windows == window for window in np.unique(windows)}
    in_window[ALL_WINDOWS] = np.ones(len(cases), dtype=bool)
    rows = {
        (window, name): np.flatnonzero(mask & inside)
        for window, inside in in_window.items()
        for name, mask in masks.items()
    }
    return {group: held for group, held in rows.items() if len(held)}


def group_means(values: Floats, groups: Sequence[NDArray[np.int64]]) -> tuple[Floats, NDArray[np.int64]]:
    """[G, M] means of [C, M] values over the cases for which they are defined (NaN for none), and [G, M] how many."""
    defined = ~np.isnan(values)
    held = np.where(defined, values, 0.0)
    count = np.array([defined[rows].sum(axis=0) for rows in groups], dtype=np.int64).reshape(-1, values.shape[1])
    total = np.array([held[rows].sum(axis=0) for rows in groups]).reshape(-1, values.shape[1])
    with np.errstate(invalid="ignore"):
        return total / count, count


def _measure(cases: pd.DataFrame, values: Floats, metrics: Sequence[Metric], samples: int, seed: int) -> pd.DataFrame:
    """Columns :data:`MEASURED`: mean, interval and number of cases of every group and metric that has any."""
    groups = group_rows(cases)
    rows = list(groups.values())
    means, count = group_means(values, rows)
    low, high = bootstrap(values, pd.factorize(cases[Columns.USER])[0], rows, samples, seed)  # [G, M] each
    table = pd.DataFrame(
        {
            "window": np.repeat([window for window, _ in groups], len(metrics)),
            "slice": np.repeat([name.value for _, name in groups], len(metrics)),
            "metric": [name for name, _ in metrics] * len(groups),
            "k": [k for _, k in metrics] * len(groups),
            "value": means.ravel(),
            "ci_low": low.ravel(),
            "ci_high": high.ravel(),
            "n": count.ravel(),
        }
    )
    return _with_derived(table[table["n"] > 0])


def _coverage(run: pd.DataFrame) -> list[pd.DataFrame]:
    """Columns :data:`MEASURED` of one run's recommended lists, per window; nothing where it has none."""
    lists = run[list_columns(run)].to_numpy(dtype=np.int64)  # [C, K]
    if not (lists != PADDING).any():
        return []
    rows = []
    for (window, name), cases in group_rows(run).items():
        if name in COVERAGE_SLICES:
            distinct = np.unique(lists[cases])
            available = run["catalog"].to_numpy()[cases].max()
            share = (distinct != PADDING).sum() / max(1, available)
            rows.append((window, name.value, COVERAGE, lists.shape[1], share, np.nan, np.nan, len(cases)))
    return [pd.DataFrame(rows, columns=MEASURED)]


def _with_derived(table: pd.DataFrame) -> pd.DataFrame:
    """Add the metrics that are monotone functions of another's mean, so that their interval's ends are that of its."""
    likelihood, hits = table[table["metric"] == NLL], table[table["metric"] == HIT_RATE]
    perplexity = likelihood.assign(metric=PERPLEXITY, **{name: np.exp(likelihood[name]) for name in NUMBERS})
    precision = hits.assign(metric=PRECISION, **{name: hits[name] / hits["k"] for name in NUMBERS})
    return pd.concat([table, perplexity, hits.assign(metric=RECALL), precision], ignore_index=True)
