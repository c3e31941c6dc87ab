"""The cold-items study's section of the page."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from assets.config import Settings
from assets.evaluation.studies.cold_cases import METRICS, ColdCases
from assets.evaluation.studies.cold_table import DIFFERENCE, HRNN_META, RANDOM, RATIO, VALUE
from assets.evaluation.studies.measures import table_markdown

PAPER: Final[Mapping[str, tuple[float, ...]]] = {
    RANDOM: (0.109, 0.039, 0.041, 0.075, 0.187),
    HRNN_META: (0.323, 0.162, 0.133, 0.208, 0.388),
}
"""Table 7, on ml-1m, in the order of :data:`METRICS`."""

BARS: Final[Mapping[str, float]] = {"NDCG@5": 2.0, "NDCG@25": 1.8}
"""Times random choice that hrnn_meta is to reach."""

RULES: Final = """\
The candidates of a user are the held-out items alone, relevant are those of them that the user engaged with; NDCG is of
binary relevance, its ideal cut at k too; equal scores count as in random order, in closed form, which also makes random
choice exact. A user is asked for at the last known engagement, with all the history there is. Held-out items have never
been engaged with, so lambda = 1: features alone. Nets are trained without them, epochs chosen on the validation tail.
Brackets: 95 % intervals, users drawn again; ratios and differences are paired. They do not cover which items are held
out: that is one draw (split.held_out_seed), and on other items ratios can differ by more."""

PAPER_DIFFERS: Final = """\
The paper's rows are its Table 7: ml-1m, half of all items held out, other users and other cases, and it does not say
how its NDCG is normalised. Its HRNN-meta has 2.8 times random choice on NDCG@5 and 2.1 times on NDCG@25."""

Key = tuple[str, str, str, str]
"""(variant, kind, reference, metric)."""


def markdown(table: pd.DataFrame, again: pd.DataFrame, tau: float, cases: ColdCases, settings: Settings) -> str:
    """The study's section.

    Args:
        table: of :func:`assets.evaluation.studies.cold_table.cold_table`.
        again: the same of items held out once more, whose variants are the taus to choose from.
        tau: what was chosen.
    """
    rows, choice = _rows(table), _rows(again)
    names = list(dict.fromkeys(table["variant"]))
    parts = [
        table_markdown([*(_values(rows, name) for name in names), *_paper()], ["", *METRICS]),
        "Times random choice:",
        table_markdown([_ratios(rows, name) for name in names if name != RANDOM], ["", *METRICS]),
        "\n".join([*(_bar(rows, metric) for metric in BARS), *_differences(rows, names)]),
        "### How the trend was chosen",
        f"With tau {tau:g}, by NDCG@25 of `hrnn_meta` on half of the train items, held out once more "
        f"({choice[RANDOM, VALUE, '', 'MRR']['users']:,} users, one seed); the test was not looked at. Times random "
        "choice there:",
        table_markdown(
            [_ratios(choice, name) for name in dict.fromkeys(again["variant"]) if name != RANDOM], ["", *METRICS]
        ),
        f"{_conditions(rows, cases, settings)} {RULES}".replace("\n", " "),
        PAPER_DIFFERS.replace("\n", " "),
    ]
    return "\n\n".join(parts) + "\n"


def _rows(table: pd.DataFrame) -> dict[Key, dict[Any, Any]]:
    labels = zip(table["variant"], table["kind"], table["reference"], table["metric"], strict=True)
    return dict(zip(labels, table.to_dict("records"), strict=True))


def _name(name: str) -> str:
    return f"`{name}`" if "_" in name else name


def _values(rows: Mapping[Key, Mapping[Any, Any]], name: str) -> list[str]:
    found = [rows[name, VALUE, "", metric] for metric in METRICS]
    return [_name(name), *(f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" for row in found)]


def _ratios(rows: Mapping[Key, Mapping[Any, Any]], name: str) -> list[str]:
    return [_name(name), *(_ratio(rows[name, RATIO, RANDOM, metric]) for metric in METRICS)]


def _ratio(row: Mapping[Any, Any]) -> str:
    return f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"


def _paper() -> list[list[str]]:
    return [[f"paper (ml-1m): {name}", *(f"{value:.3f}" for value in values)] for name, values in PAPER.items()]


def _bar(rows: Mapping[Key, Mapping[Any, Any]], metric: str) -> str:
    row, bar = rows[HRNN_META, RATIO, RANDOM, metric], BARS[metric]
    word = "at or above" if row["value"] >= bar else "below"
    return f"- {metric}: `{HRNN_META}` has {_ratio(row)} times random choice, {word} the bar of {bar:g}."


def _differences(rows: Mapping[Key, Mapping[Any, Any]], names: list[str]) -> list[str]:
    """The first net against the others on the metrics that have a bar."""
    found = []
    for other in names:
        if other in (RANDOM, HRNN_META):
            continue
        gaps = [(metric, rows[HRNN_META, DIFFERENCE, other, metric]) for metric in BARS]
        words = ", ".join(
            f"{metric} {row['value']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" for metric, row in gaps
        )
        found.append(f"- `{HRNN_META}` minus {_name(other)}: {words}.")
    return found


def _conditions(rows: Mapping[Key, Mapping[Any, Any]], cases: ColdCases, settings: Settings) -> str:
    first, seeds = settings.training.seed, rows[HRNN_META, VALUE, "", METRICS[0]]["seeds"]
    trained = f"seed {first}" if seeds == 1 else f"means of seeds {first} to {first + seeds - 1}"
    without = f", {cases.left_out:,} users without history left out" if cases.left_out else ""
    return (
        f"{settings.dataset}, split {settings.split.kind}, {trained}; {len(cases.items):,} held-out items, "
        f"{len(cases):,} users with {len(cases.rows):,} relevant pairs{without}."
    )
