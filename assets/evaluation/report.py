"""The leaderboard and the decay table, from tidy metrics. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from assets.evaluation.board import Board
from assets.evaluation.compare import Difference
from assets.evaluation.files import RanksInfo
from assets.evaluation.slices import HIT_RATE, NDCG
from assets.schema import ALL_WINDOWS, CaseSlice

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
)


class Number(NamedTuple):
    """One metric of one model on one slice."""

    value: float
    ci_low: float
    ci_high: float
    n: int


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
        metrics: tidy metrics of one dataset, seed and protocol.
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
    rows = [[f"{model}{marks[model]}", *_cells(numbers[model], columns)] for model in order]
    rows.append(["cases", *(f"{count:,}{'†' if count < min_cases else ''}" for count in counts)])
    headers = ["model", *(f"{metric.upper()}@{k} {name}" for metric, name in columns)]
    if differences:
        headers.append(f"against {REFERENCE}")
        for row, model in zip(rows, [*order, ""], strict=True):
            row.append(_against(differences.get(model)))
    first = metrics.iloc[0]
    return Board(
        title=f"{first['dataset']}: full ranking, {first['user_history']} user history, "
        f"{first['item_embeddings']} items, every test window, seed {first['seed']}",
        headers=headers,
        rows=rows,
        best=_best(order, columns, numbers),
        notes=[
            *_notes(info, samples),
            *([_paired_note(k)] if differences else []),
            *([f"† fewer than {min_cases} cases."] if min(counts) < min_cases else []),
            *_floor_note(order, numbers, floors),
        ],
    )


def _numbers(metrics: pd.DataFrame, k: int) -> dict[str, dict[Column, Number]]:
    chosen = metrics[(metrics["window"] == ALL_WINDOWS) & (metrics["k"] == k)]
    numbers: dict[str, dict[Column, Number]] = {}
    for row in chosen.to_dict("records"):
        held = numbers.setdefault(row["model"], {})
        held[row["metric"], row["slice"]] = Number(row["value"], row["ci_low"], row["ci_high"], row["n"])
    return numbers


def _marks(order: Sequence[str], numbers: Numbers, floors: Collection[str]) -> dict[str, str]:
    best_floor = max((numbers[model][HEADLINE].value for model in order if model in floors), default=float("-inf"))
    below = {model for model in order if numbers[model][HEADLINE].value < best_floor}
    return {
        model: " (floor)" if model in floors else " (below the best floor)" if model in below else "" for model in order
    }


def _cells(numbers: Mapping[Column, Number], columns: Sequence[Column]) -> list[str]:
    cells = [f"{numbers[column].value:.3f}" for column in columns]
    headline = numbers[HEADLINE]
    cells[columns.index(HEADLINE)] += f" [{headline.ci_low:.3f}, {headline.ci_high:.3f}]"
    return cells


def _against(difference: Difference | None) -> str:
    return f"{difference.verdict} ({difference.value:+.3f})" if difference else ""


def _best(order: Sequence[str], columns: Sequence[Column], numbers: Numbers) -> set[tuple[int, int]]:
    """Cells that hold their column's highest value; none where all models are alike."""
    best = set()
    for place, column in enumerate(columns, start=1):
        values = [numbers[model][column].value for model in order]
        if max(values) > min(values):
            best |= {(row, place) for row, value in enumerate(values) if value == max(values)}
    return best


def _notes(info: RanksInfo, samples: int) -> list[str]:
    return [
        "overall, head, tail and cold hold the cases of users with some history; users without any are ranked by "
        "decayed popularity, whatever the model (no_history).",
        f"{info.repeats_dropped:,} of {info.cases + info.repeats_dropped:,} test engagements repeat an earlier one and "
        f"are no cases. {info.off_catalog / max(1, info.cases):.1%} of the cases are on items that joined the catalog "
        "after the refresh: they count.",
        f"Brackets: 95 % bootstrap interval over users ({samples} draws). Ties are averaged.",
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


def decay_table(metrics: pd.DataFrame, relative: Mapping[str, pd.DataFrame], metric: str, k: int) -> str:
    """Markdown: a row per model, a column per window; each window's value and its share of the first window's.

    Args:
        metrics: tidy metrics of one dataset, seed and protocol.
        relative: per model, what :func:`assets.evaluation.compare.relative_to_first_window` returned.
    """
    chosen = metrics[
        (metrics["metric"] == metric)
        & (metrics["k"] == k)
        & (metrics["slice"] == CaseSlice.OVERALL.value)
        & (metrics["window"] != ALL_WINDOWS)
    ]
    windows = sorted(chosen["window"].unique(), key=int)
    values = {(row["model"], row["window"]): row["value"] for row in chosen.to_dict("records")}
    rows = []
    for model, frame in relative.items():
        ratios = frame[(frame["metric"] == metric) & (frame["k"] == k) & (frame["window"] != windows[0])]
        share = {
            row["window"]: f" ({row['ratio']:.0%} [{row['ci_low']:.0%}, {row['ci_high']:.0%}])"
            for row in ratios.to_dict("records")
        }
        rows.append([model, *(f"{values[model, window]:.3f}{share.get(window, '')}" for window in windows)])
    headers = [f"{metric.upper()}@{k} overall", *(f"window {window}" for window in windows)]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)
