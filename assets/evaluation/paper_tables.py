"""Our results laid out as the papers print theirs, with their figures beside ours where the dataset is theirs. Pure."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from assets.config import Protocol, SampledConfig, SplitConfig
from assets.evaluation.board import Board
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

    Raises:
        ValueError: when there are no numbers of that run and window.
    """
    chosen = _of_run(means, protocol, run)
    chosen = chosen[chosen["window"] == window]
    numbers = _numbers(chosen, IHM_CELLS)
    dataset, published = _dataset(chosen), []
    if (protocol, window, kind) == (LEGACY, FIRST_WINDOW, MEDIAN_TIME):
        published = published_tables(dataset, LEGACY)
    where = "every window" if window == ALL_WINDOWS else f"window {window}"
    table = PaperTable(IHM_CELLS, numbers, published, share, min_cases)
    return Board(
        title=f"{dataset}: {protocol}, {run.user_history} user history, {run.item_embeddings} items, {where}",
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
    published = published_tables(_dataset(chosen), protocol)
    if not published:
        return None
    cells, show = (HRNN_CELLS, plain) if protocol == HELD_OUT_USERS else (FULL_CELLS, share)
    table = PaperTable(cells, _numbers(chosen, cells), published, show, 1)
    where = "every window" if window == ALL_WINDOWS else f"window {window}"
    return Board(
        title=f"{_dataset(chosen)}: every item ranked, {where}, beside published figures",
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

    Raises:
        ValueError: when there are no such numbers.
    """
    chosen = _of_run(means, FULL, run)
    chosen = chosen[chosen["window"] == ALL_WINDOWS]
    numbers = _numbers(chosen, CDN_CELLS)
    dataset = _dataset(chosen)
    table = PaperTable(CDN_CELLS, numbers, published_tables(dataset, LEAVE_ONE_OUT), percent, min_cases)
    return Board(
        title=f"{dataset}: leave-one-out, every item ranked, percent",
        headers=table.headers,
        rows=table.rows,
        best=table.best,
        notes=[f"Head: {head}; tail: every other item, cold ones included.", *table.notes],
    )


def sampled_windows(
    means: pd.DataFrame, protocol: str, run: Protocol, slice_name: str, min_cases: int, kind: str = MEDIAN_TIME
) -> Board:
    """HR@10 of one bucket window by window, with the published figures per window under ``sampled_legacy``.

    Raises:
        ValueError: when there are no such numbers.
    """
    chosen = _of_run(means, protocol, run)
    chosen = chosen[
        (chosen["slice"] == slice_name)
        & (chosen["metric"] == HIT_RATE)
        & (chosen["k"] == 10)
        & (chosen["window"] != ALL_WINDOWS)
    ]
    if chosen.empty:
        raise ValueError(f"no numbers of {protocol} for {slice_name} by window")
    windows, dataset = sorted(chosen["window"].unique(), key=int), _dataset(chosen)
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
        title=f"{dataset}: {protocol}, HR@10 {NAMES[slice_name].lower()} by window, {run.user_history} user history, "
        f"{run.item_embeddings} items",
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
    chosen = means[
        (means["protocol"] == protocol)
        & (means["user_history"] == run.user_history.value)
        & (means["item_embeddings"] == run.item_embeddings.value)
    ]
    if chosen.empty:
        raise ValueError(f"no numbers of {protocol} with {run.user_history} histories and {run.item_embeddings} items")
    return chosen


def _numbers(chosen: pd.DataFrame, cells: Sequence[Cell]) -> dict[str, dict[Cell, Number]]:
    numbers: dict[str, dict[Cell, Number]] = {}
    for row in chosen.to_dict("records"):
        cell = (row["slice"], row["metric"], row["k"])
        if cell in cells:
            numbers.setdefault(row["model"], {})[cell] = Number(
                row["value"], row["ci_low"], row["ci_high"], row["standard_error"], row["n"]
            )
    if not numbers:
        raise ValueError(f"no numbers at {', '.join(sorted({f'{metric}@{k}' for _, metric, k in cells}))}")
    return numbers


def _dataset(chosen: pd.DataFrame) -> str:
    return str(chosen["dataset"].iloc[0])


def _interval(row: Mapping[Hashable, Any] | None) -> str:
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" if row else ""
