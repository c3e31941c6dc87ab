"""The ratings study's section of the page."""

from collections.abc import Hashable, Mapping
from typing import Any, Final

import pandas as pd

from assets.config import Settings
from assets.evaluation.studies.measures import difference, table_markdown

ALL: Final = "all"
REFERENCE: Final = "rolling average"
PAPER: Final[Mapping[str, float]] = {
    REFERENCE: 0.933,
    "matrix factorization": 0.916,
    "gru": 0.941,
    "gru, feedback": 0.857,
    "hrnn, feedback": 0.846,
}
"""RMSE on ml-20m in Table 4; beside the matrix factorization stands its factorization machine."""

BAR: Final = ("gru, feedback", "hrnn, feedback")
"""Feedback has to beat the reference."""

COMPARED: Final = (
    ("gru, feedback", "gru"),
    ("hrnn, feedback", "gru, feedback"),
    ("hrnn, feedback", "matrix factorization, daily"),
    ("hrnn, feedback", "rolling biases"),
)
PAIRS: Final = (
    *((name, REFERENCE) for name in ("rolling biases", "matrix factorization", "matrix factorization, daily")),
    *((name, REFERENCE) for name in ("gru", "gru, feedback", "hrnn, feedback")),
    *COMPARED,
)
"""(predictor, reference) of the paired differences."""

RULES: Final = f"""\
Test engagements: all whose value is known, but for repeats; those of users and items that training does not know are
among them. Each is predicted from what came strictly before it, nets with items as of the start of the UTC day. Nets
and matrix factorization are frozen at the cutoff, histories go on; the daily one is fitted anew before each UTC day, on
everything so far. The {REFERENCE} is (item mean + user mean) / 2, one of the two where the other has nothing, the mean
of everything where neither has. Rolling biases (ours) are mean + item's deviation + user's deviation, each shrunk, and
rolling too. Predictions are clipped to the values that training has. Brackets: 95 % intervals, users drawn again;
differences are paired, and negative is better. Hyper-parameters, of the baselines too, were chosen on the validation
tail of MovieLens-100K. Seconds are wall-clock time on one thread."""

PAPER_DIFFERS: Final = """\
The paper's column is its Table 4, on ml-20m split by user at random: another dataset and protocol. Ours beside its
factorization machine is biased matrix factorization (scikit-surprise's SVD)."""

Label = tuple[str, str, str]
"""(group, predictor, reference)."""
Row = Mapping[Hashable, Any]
Rows = Mapping[Label, Row]


def markdown(table: pd.DataFrame, measured: Mapping[str, Mapping[str, float]], settings: Settings) -> str:
    """The study's section.

    Args:
        table: of :func:`assets.evaluation.studies.rating_measures.error_table`.
        measured: predictor -> what its making took, means over seeds.
    """
    labels = zip(table["group"], table["predictor"], table["reference"], strict=True)
    rows = dict(zip(labels, table.to_dict("records"), strict=True))
    headers = ["predictor", "RMSE", f"minus {REFERENCE}", "seconds", "best epoch", "paper's RMSE (ml-20m)"]
    parts = [
        table_markdown([_row(rows, name, spent) for name, spent in measured.items()], headers),
        "\n".join([*(_verdict(rows, name) for name in BAR), *(_compared(rows, *pair) for pair in COMPARED)]),
        "### By what is known of user and item",
        _group_table(rows, list(measured)),
        f"{_conditions(rows, settings)} {RULES}".replace("\n", " "),
        PAPER_DIFFERS.replace("\n", " "),
    ]
    return "\n\n".join(parts) + "\n"


def _row(rows: Rows, name: str, spent: Mapping[str, float]) -> list[str]:
    value, gap = rows[ALL, name, ""], rows.get((ALL, name, REFERENCE))
    return [
        _name(name),
        f"{value['value']:.4f} [{value['ci_low']:.4f}, {value['ci_high']:.4f}]",
        _difference(gap) if gap else "",
        f"{spent['seconds']:,.1f}",
        f"{spent['best_epoch']:g} of {spent['epochs']:g}" if "epochs" in spent else "",
        f"{PAPER[name]:.3f}" if name in PAPER else "",
    ]


def _group_table(rows: Rows, names: list[str]) -> str:
    """RMSE per group, the whole left out."""
    sizes = {group: row["n"] for (group, _, _), row in rows.items() if group != ALL}
    cells = [[_name(name), *(f"{rows[group, name, '']['value']:.4f}" for group in sizes)] for name in names]
    return table_markdown(cells, ["predictor", *(f"{group} ({n:,})" for group, n in sizes.items())])


def _name(name: str) -> str:
    return f"`{name}`" if name.startswith(("gru", "hrnn")) else name


def _difference(row: Row) -> str:
    return difference({"difference": row["value"], "ci_low": row["ci_low"], "ci_high": row["ci_high"]})


def _verdict(rows: Rows, name: str) -> str:
    """What the bar says."""
    row = rows[ALL, name, REFERENCE]
    word = "beats" if row["ci_high"] < 0 else "loses to" if row["ci_low"] > 0 else "is level with"
    return f"- Bar: {_name(name)} {word} the {REFERENCE}, {_difference(row)}."


def _compared(rows: Rows, name: str, reference: str) -> str:
    return f"- {_name(name)} minus {_name(reference)}: {_difference(rows[ALL, name, reference])}."


def _conditions(rows: Rows, settings: Settings) -> str:
    first, seeds, row = settings.training.seed, settings.training.seeds, rows[ALL, REFERENCE, ""]
    trained = f"seed {first}" if seeds == 1 else f"squared errors averaged over seeds {first} to {first + seeds - 1}"
    tested = f"{row['n']:,} engagements of {row['users']:,} users"
    return f"{settings.dataset}, split {settings.split.kind}, {trained}, {tested}."
