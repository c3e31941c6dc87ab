"""Our results laid out as the papers print theirs, with their figures beside ours where the dataset is theirs. Pure.

A table for which nothing was measured, at a k that is not configured or in a bucket without cases, is left out: its
board has a title and says why.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from assets.config import Protocol, SampledConfig, SplitConfig
from assets.evaluation.board import Board, left_out
from assets.evaluation.paper_rows import NAMES, OURS, Number, PaperTable, count_words, few_note, percent, plain, share
from assets.evaluation.published import published_series, published_tables
from assets.evaluation.published_rows import (
    CDN_CELLS,
    FULL,
    FULL_CELLS,
    HEAD,
    HELD_OUT_USERS,
    HRNN_CELLS,
    IHM_CELLS,
    LEAVE_ONE_OUT,
    TAIL,
    Cell,
)
from assets.evaluation.sampled.cases import LEGACY, LEGACY_PROTOCOLS, SAMPLED
from assets.evaluation.slices import HIT_RATE
from assets.schema import ALL_WINDOWS, UserHistory

MEDIAN_TIME = "median_time"
"""The split of the IHM paper and of the reference code."""

FIRST_WINDOW = "0"
"""The window of the IHM paper's tables: weights have decayed least there."""

RULES = {
    SAMPLED: "Distinct negatives from the target's bucket (head, or tail with cold), none from the future, none that "
    "the user engaged with before, never the target; of every user, window and bucket the first case.",
    LEGACY: "For comparison with published tables only: mimics the reference code with its flaws. Negatives are drawn "
    "with replacement, come from the future too, and the target may be among them; users and items with fewer than 5 "
    "engagements are left out, the test period counted; users without history get an empty history.",
}
"""What has to be said under every table of a sampled protocol."""


def sampled_boards(means: pd.DataFrame, config: SampledConfig, min_cases: int, kind: str = MEDIAN_TIME) -> list[Board]:
    """Every table of the sampled protocols: the paper's, per run, in the first window; then HR@10 by window.

    By window the runs that the reference code has: its frozen histories, item vectors refreshed.

    Args:
        kind: of the split. Published figures are of :data:`MEDIAN_TIME` and stand beside no other.
    """
    runs = [*((SAMPLED, run) for run in config.protocols), *((LEGACY, run) for run in LEGACY_PROTOCOLS)]
    boards = [sampled_table(means, protocol, run, min_cases, kind=kind) for protocol, run in runs]
    frozen = Protocol(user_history=UserHistory.FROZEN)
    by_window = [(protocol, run) for protocol, run in runs if run == frozen]
    return boards + [
        sampled_windows(means, protocol, run, name, min_cases, kind)
        for protocol, run in by_window
        for name in (TAIL, HEAD)
    ]


def sampled_table(
    means: pd.DataFrame,
    protocol: str,
    run: Protocol,
    min_cases: int,
    window: str = FIRST_WINDOW,
    kind: str = MEDIAN_TIME,
) -> Board:
    """The IHM paper's Tables 1 and 2: method x (overall, tail, head) x (HR@10, NDCG@10).

    Args:
        means: metrics over seeds of both sampled protocols (columns ``assets.schema.SEED_MEAN_COLUMNS``).
        protocol: ``sampled`` or ``sampled_legacy``.
        run: histories and item vectors.
        min_cases: columns of fewer cases are marked.
        window: the first by default, as in the paper; or ``all``.
        kind: of the split, see :func:`sampled_boards`.
    """
    dataset, published = _dataset(means), []
    where = "every window" if window == ALL_WINDOWS else f"window {window}"
    title = f"{dataset}: {protocol}, {run.user_history} user history, {run.item_embeddings} items, {where}"
    chosen = _of_run(means, protocol, run)
    chosen = chosen[chosen["window"] == window]
    numbers = _numbers(chosen, IHM_CELLS)
    if not numbers:
        return left_out(title, _why(chosen, IHM_CELLS, "sampled.ks"))
    if (protocol, window, kind) == (LEGACY, FIRST_WINDOW, MEDIAN_TIME):
        published = published_tables(dataset, LEGACY)
    table = PaperTable(IHM_CELLS, numbers, published, share, min_cases)
    return Board(
        title=title,
        headers=table.headers,
        rows=table.rows,
        best=table.best,
        notes=[RULES[protocol], *table.notes],
    )


def published_full(means: pd.DataFrame, run: Protocol, protocol: str, window: str) -> Board | None:
    """Our full ranking beside published figures of full ranking; None where nobody published any for the dataset.

    Args:
        means: metrics over seeds of full ranking.
        protocol: ``full`` or ``quantile``: which published tables.
        window: one, or ``all``.
    """
    chosen = _of_run(means, FULL, run)
    chosen = chosen[chosen["window"] == window]
    published = published_tables(_dataset(means), protocol)
    if not published:
        return None
    where = "every window" if window == ALL_WINDOWS else f"window {window}"
    title = f"{_dataset(means)}: every item ranked, {where}, beside published figures"
    cells, show = (HRNN_CELLS, plain) if protocol == HELD_OUT_USERS else (FULL_CELLS, share)
    numbers = _numbers(chosen, cells)
    if not numbers:
        return left_out(title, _why(chosen, cells, "evaluation.ks"))
    table = PaperTable(cells, numbers, published, show, 1)
    return Board(
        title=title,
        headers=table.headers,
        rows=table.rows,
        best=table.best,
        notes=[
            "Candidates, histories and refreshes differ from the sources'; see what each says.",
            *(["Perplexity: lower is better."] if protocol == HELD_OUT_USERS else []),
            *table.notes,
        ],
    )


def leave_one_out_table(means: pd.DataFrame, run: Protocol, min_cases: int, head: str) -> Board:
    """The CDN paper's Tables 2 to 5: method x (overall, head, tail) x (HR@50, NDCG@50), in percent.

    Args:
        means: metrics over seeds of full ranking on a leave-one-out split.
        run: the headline protocol.
        min_cases: columns of fewer cases are marked.
        head: which items are head, in words.
    """
    chosen = _of_run(means, FULL, run)
    chosen = chosen[chosen["window"] == ALL_WINDOWS]
    numbers = _numbers(chosen, CDN_CELLS)
    dataset = _dataset(means)
    title = f"{dataset}: leave-one-out, every item ranked, percent"
    if not numbers:
        return left_out(title, _why(chosen, CDN_CELLS, "evaluation.ks"))
    table = PaperTable(CDN_CELLS, numbers, published_tables(dataset, LEAVE_ONE_OUT), percent, min_cases)
    return Board(
        title=title,
        headers=table.headers,
        rows=table.rows,
        best=table.best,
        notes=[f"Head: {head}; tail: every other item, cold ones included.", *table.notes],
    )


def sampled_windows(
    means: pd.DataFrame, protocol: str, run: Protocol, slice_name: str, min_cases: int, kind: str = MEDIAN_TIME
) -> Board:
    """HR@10 of one bucket window by window, with the published figures per window under ``sampled_legacy``."""
    dataset, cell = _dataset(means), (slice_name, HIT_RATE, 10)
    title = (
        f"{dataset}: {protocol}, HR@10 {NAMES[slice_name].lower()} by window, {run.user_history} user history, "
        f"{run.item_embeddings} items"
    )
    measured = _of_run(means, protocol, run)
    measured = measured[measured["window"] != ALL_WINDOWS]
    chosen = measured[(measured[["slice", "metric", "k"]] == cell).all(axis=1)]
    if chosen.empty:
        return left_out(title, _why(measured, [cell], "sampled.ks"))
    windows = sorted(chosen["window"].unique(), key=int)
    held = {(row["model"], row["window"]): row for row in chosen.to_dict("records")}
    rows = []
    for model in chosen["model"].unique():
        cells = [held.get((model, window)) for window in windows]
        rows.append([model, OURS, *(_interval(cell) for cell in cells)])
    first = chosen["model"].iloc[0]
    counts = [int(held[first, window]["n"]) if (first, window) in held else 0 for window in windows]
    rows.append(["cases", "", *(count_words(count, min_cases) for count in counts)])
    if (protocol, kind) == (LEGACY, MEDIAN_TIME):
        for series in published_series(dataset):
            if series.slice == slice_name and len(series.hit_rates) == len(windows):
                rows.append([series.method, series.source, *(f"{value:.3f}" for value in series.hit_rates)])
    few = [few_note(min_cases)] if min(counts) < min_cases else []
    return Board(
        title=title,
        headers=["method", "source", *(f"window {window}" for window in windows)],
        rows=rows,
        notes=[RULES[protocol], "Brackets: 95 % bootstrap interval over users.", *few],
    )


def head_words(split: SplitConfig) -> str:
    """Which items are head, in words."""
    if split.head_rule == "pareto":
        return f"the most frequent {100 * split.head_share:.4g}% of the items"
    return f"items with more than {split.tail_max_count} train engagements"


def _of_run(means: pd.DataFrame, protocol: str, run: Protocol) -> pd.DataFrame:
    return means[
        (means["protocol"] == protocol)
        & (means["user_history"] == run.user_history.value)
        & (means["item_embeddings"] == run.item_embeddings.value)
    ]


def _numbers(chosen: pd.DataFrame, cells: Sequence[Cell]) -> dict[str, dict[Cell, Number]]:
    """Per model those of ``cells`` that were measured; a model without any is not there."""
    numbers: dict[str, dict[Cell, Number]] = {}
    for row in chosen.to_dict("records"):
        cell = (row["slice"], row["metric"], row["k"])
        if cell in cells:
            numbers.setdefault(row["model"], {})[cell] = Number(
                row["value"], row["ci_low"], row["ci_high"], row["standard_error"], row["n"]
            )
    return numbers


def _why(measured: pd.DataFrame, cells: Sequence[Cell], setting: str) -> str:
    """Why none of ``cells`` is in ``measured``; ``setting`` is where the ks of this ranking are listed."""
    if measured.empty:
        return "no case was ranked so"
    missing = sorted({k for _, _, k in cells} - set(measured["k"]))
    if missing:
        metrics = ", ".join(sorted({f"{metric}@{k}" for _, metric, k in cells}))
        return f"it shows {metrics}, and {setting} does not list {', '.join(map(str, missing))}"
    return f"no case is in {', '.join(dict.fromkeys(NAMES[name].lower() for name, _, _ in cells))}"


def _dataset(chosen: pd.DataFrame) -> str:
    return str(chosen["dataset"].iloc[0])


def _interval(row: Mapping[Hashable, Any] | None) -> str:
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" if row else ""
