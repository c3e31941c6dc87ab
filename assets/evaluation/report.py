"""The leaderboard and the decay table, from the metrics over seeds. Pure."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from assets.evaluation.board import Board
from assets.evaluation.compare import Difference
from assets.evaluation.files import RanksInfo
from assets.evaluation.slices import COVERAGE, HIT_RATE, LOWER_IS_BETTER, NDCG, NO_K, PERPLEXITY, TRAIN_FREQUENCY
from assets.schema import ALL_WINDOWS, CaseSlice
from dashboards.spread import spread

MOST_WINDOWS = 20
"""Columns of a table of windows; the metrics hold every window."""

REFERENCE = "decayed_popularity"
"""The floor that every model is tested against: the strongest of them on data with a moving catalog."""

Column = tuple[str, str]
"""(metric, slice)."""

HEADLINE: Column = (HIT_RATE, CaseSlice.OVERALL.value)
COLUMNS: Sequence[Column] = (
    HEADLINE,
    (NDCG, CaseSlice.OVERALL.value),
    (HIT_RATE, CaseSlice.HEAD.value),
    (HIT_RATE, CaseSlice.TAIL.value),
    (HIT_RATE, CaseSlice.COLD.value),
    (HIT_RATE, CaseSlice.NO_HISTORY.value),
    (PERPLEXITY, CaseSlice.OVERALL.value),
)


SEEDS_NOTE = "±: standard error over the seeds; brackets and comparisons are of the per-case means over them."
PERPLEXITY_NOTE = (
    "perplexity: exp of the mean negative log likelihood of the target under the softmax of the scores over the "
    "candidates (the catalog at the refresh without what the user has had); cases whose item is on the catalog. Lower "
    "is better."
)


class Number(NamedTuple):
    """One metric of one model on one slice; the standard error over seeds is NaN for one seed."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    standard_error: float


Numbers = Mapping[str, Mapping[Column, Number]]
"""Per model."""


def leaderboard(
    metrics: pd.DataFrame,
    k: int,
    floors: Collection[str],
    differences: Mapping[str, Difference],
    info: RanksInfo,
    min_cases: int,
    samples: int,
) -> Board:
    """Compare models over all windows under one protocol, the best first.

    Args:
        metrics: metrics over seeds of one dataset and protocol, see
            :func:`assets.evaluation.slices.seed_means_frame`.
        k: cut-off of the ranking to show.
        floors: models that learn nothing; the others are measured by them.
        differences: per model, HR@k minus the reference floor's; empty where the roster lacks it.
        info: counts of the cases.
        min_cases: columns of fewer cases are marked.
        samples: bootstrap draws behind the intervals.

    Raises:
        ValueError: when no case has a user with history, so that there is no headline.
    """
    numbers = _numbers(metrics, k)
    columns = [column for column in COLUMNS if all(column in held for held in numbers.values())]
    if HEADLINE not in columns:
        raise ValueError("no case is of a user with history under this protocol: there is nothing to compare models by")
    order = sorted(numbers, key=lambda model: -numbers[model][HEADLINE].value)
    marks = _marks(order, numbers, floors)
    counts = [numbers[order[0]][column].n for column in columns]
    seeds = int(metrics["seeds"].max())
    rows = [[f"{model}{marks[model]}", *_cells(numbers[model], columns)] for model in order]
    rows.append(["cases", *(f"{count:,}{'†' if count < min_cases else ''}" for count in counts)])
    headers = ["model", *(_header(column, k) for column in columns)]
    if differences:
        headers.append(f"against {REFERENCE}")
        for row, model in zip(rows, [*order, ""], strict=True):
            row.append(_against(differences.get(model)))
    first = metrics.iloc[0]
    return Board(
        title=f"{first['dataset']}: full ranking, {first['user_history']} user history, "
        f"{first['item_embeddings']} items, every test window, "
        + (f"mean of {seeds} seeds" if seeds > 1 else f"seed {info.basis.seeds[0]}"),
        headers=headers,
        rows=rows,
        best=_best(order, columns, numbers),
        notes=[
            *_notes(info, samples),
            *([SEEDS_NOTE] if seeds > 1 else []),
            *([PERPLEXITY_NOTE] if (PERPLEXITY, CaseSlice.OVERALL.value) in columns else []),
            *([_paired_note(k)] if differences else []),
            *([f"† fewer than {min_cases} cases."] if min(counts) < min_cases else []),
            *_floor_note(order, numbers, floors),
        ],
    )


def _numbers(metrics: pd.DataFrame, k: int) -> dict[str, dict[Column, Number]]:
    chosen = metrics[(metrics["window"] == ALL_WINDOWS) & metrics["k"].isin([k, NO_K])]
    numbers: dict[str, dict[Column, Number]] = {}
    for row in chosen.to_dict("records"):
        held = numbers.setdefault(row["model"], {})
        held[row["metric"], row["slice"]] = Number(*(row[name] for name in Number._fields))
    return numbers


def _header(column: Column, k: int) -> str:
    metric, name = column
    return f"{metric} {name}" if metric == PERPLEXITY else f"{metric.upper()}@{k} {name}"


def _marks(order: Sequence[str], numbers: Numbers, floors: Collection[str]) -> dict[str, str]:
    best_floor = max((numbers[model][HEADLINE].value for model in order if model in floors), default=float("-inf"))
    below = {model for model in order if numbers[model][HEADLINE].value < best_floor}
    return {
        model: " (floor)" if model in floors else " (below the best floor)" if model in below else "" for model in order
    }


def _cells(numbers: Mapping[Column, Number], columns: Sequence[Column]) -> list[str]:
    cells = [_cell(column, numbers[column]) for column in columns]
    headline = numbers[HEADLINE]
    cells[columns.index(HEADLINE)] += f" [{headline.ci_low:.3f}, {headline.ci_high:.3f}]"
    return cells


def _cell(column: Column, number: Number) -> str:
    """The value and, over several seeds, its standard error; perplexities are in the hundreds and need no decimals."""
    digits = 1 if column[0] == PERPLEXITY else 3
    error = "" if math.isnan(number.standard_error) else f" ±{number.standard_error:.{digits}f}"
    return f"{number.value:.{digits}f}{error}"


def _against(difference: Difference | None) -> str:
    return f"{difference.verdict} ({difference.value:+.3f})" if difference else ""


def _best(order: Sequence[str], columns: Sequence[Column], numbers: Numbers) -> set[tuple[int, int]]:
    """Cells that hold their column's best value; none where all models are alike."""
    best = set()
    for place, column in enumerate(columns, start=1):
        values = [numbers[model][column].value for model in order]
        chosen = min(values) if column[0] in LOWER_IS_BETTER else max(values)
        if max(values) > min(values):
            best |= {(row, place) for row, value in enumerate(values) if value == chosen}
    return best


def _notes(info: RanksInfo, samples: int) -> list[str]:
    return [
        *_drawn_note(info),
        "overall, head, tail and cold hold the cases of users with some history; users without any are ranked by "
        "decayed popularity, whatever the model (no_history).",
        f"{info.repeats_dropped:,} of {info.cases_in_all + info.repeats_dropped:,} test engagements repeat an earlier "
        f"one and are no cases. {info.off_catalog / max(1, info.cases):.1%} of the cases are on items that joined the "
        "catalog after the refresh: they count.",
        f"Brackets: 95 % bootstrap interval over users ({samples} draws). Ties are averaged.",
    ]


def _drawn_note(info: RanksInfo) -> list[str]:
    if info.cases == info.cases_in_all:
        return []
    return [
        f"{info.cases:,} of {info.cases_in_all:,} cases were drawn (evaluation.max_cases), the same for every model; "
        "the intervals are those of the draw, so wider than every case together would give."
    ]


def _paired_note(k: int) -> str:
    return (
        f"against {REFERENCE}: difference in HR@{k} overall on the same cases; a model beats it or loses where the "
        "paired 95 % interval leaves out 0."
    )


def _floor_note(order: Sequence[str], numbers: Numbers, floors: Collection[str]) -> list[str]:
    """Say so where no trained model is above the floors: a headline that hides it would mislead."""
    held = [model for model in order if model in floors]
    if not held or len(held) == len(order) or order[0] != held[0]:
        return []
    return [f"No trained model here is above the best floor, {held[0]} ({numbers[held[0]][HEADLINE].value:.3f})."]


def lists_table(metrics: pd.DataFrame) -> str:
    """Markdown: per model, how much of the catalog its recommended lists cover, and how frequent in training they are.

    Args:
        metrics: metrics over seeds of one dataset and protocol.
    """
    chosen = metrics[
        (metrics["slice"] == CaseSlice.OVERALL.value) & metrics["metric"].isin([COVERAGE, TRAIN_FREQUENCY])
    ]
    windows = [*spread(sorted(set(chosen["window"]) - {ALL_WINDOWS}, key=int), MOST_WINDOWS), ALL_WINDOWS]
    rows = []
    for model in chosen["model"].unique():
        for metric, digits in ((COVERAGE, ".3f"), (TRAIN_FREQUENCY, ".1f")):
            held = chosen[(chosen["model"] == model) & (chosen["metric"] == metric)].set_index("window")["value"]
            rows.append([model, metric, *(f"{held[window]:{digits}}" if window in held else "" for window in windows)])
    headers = [
        "model",
        f"of the first {chosen['k'].max()} items",
        *(f"window {window}" for window in windows[:-1]),
        "every window",
    ]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def decay_table(
    metrics: pd.DataFrame,
    relative: Mapping[str, pd.DataFrame],
    metric: str,
    k: int,
    name: CaseSlice = CaseSlice.OVERALL,
) -> str:
    """Markdown: a row per model, a column per window; each window's value and its share of the first window's.

    Of more than :data:`MOST_WINDOWS` windows that many are shown, evenly spread.

    Args:
        metrics: metrics over seeds of one dataset and protocol.
        relative: per model, what :func:`assets.evaluation.compare.relative_to_first_window` returned.
        name: slice to show; empty cells where a window has no case of it.
    """
    chosen = metrics[
        (metrics["metric"] == metric)
        & (metrics["k"] == k)
        & (metrics["slice"] == name.value)
        & (metrics["window"] != ALL_WINDOWS)
    ]
    windows = spread(sorted(chosen["window"].unique(), key=int), MOST_WINDOWS)
    values = {(row["model"], row["window"]): f"{row['value']:.3f}" for row in chosen.to_dict("records")}
    rows = []
    for model, frame in relative.items():
        ratios = frame[(frame["metric"] == metric) & (frame["k"] == k) & (frame["slice"] == name.value)]
        first = min(ratios["window"], key=int, default="")
        share = {
            row["window"]: f" ({row['ratio']:.0%} [{row['ci_low']:.0%}, {row['ci_high']:.0%}])"
            for row in ratios[ratios["window"] != first].to_dict("records")
        }
        rows.append([model, *(f"{values.get((model, window), '')}{share.get(window, '')}" for window in windows)])
    headers = [f"{metric.upper()}@{k} {name.value}", *(f"window {window}" for window in windows)]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)
