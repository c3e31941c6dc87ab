"""The time-sensitivity study's section of the page."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.evaluation.studies.measures import table_markdown
from assets.evaluation.studies.time_table import CHANGE, DELAYS, LIKENESS, METRICS, OVERLAP, POPULARITY, VALUE
from assets.schema import Columns
from assets.stream import Catalog, DatasetTables, Int

SHOWN: Final = 3
"""Items of a list that the examples show, and of a history."""

HEADERS: Final = {
    OVERLAP: "items in common with no delay, of 10",
    LIKENESS: "likeness to the last item",
    POPULARITY: "mean share of engagements",
}

RULES: Final = """\
Weights, items and histories as of the cutoff; each user is asked for as of so long after the last engagement, so only
the time-delta, the start of a session, hour and weekday differ. Lists hold the ten best items that the user had not
engaged with. Likeness is the mean Jaccard similarity of a list's items to the user's last one in their {features}.
Brackets: 95 % intervals, users drawn again."""

CHOICE: Final = """\
The users at the quartiles of the overlap between no delay and 30 days: one whose list changes much, one in the middle,
one whose list changes little. In brackets: genres, and the share of the engagements before the cutoff."""

PAPER: Final = """\
The paper's Table 2 shows one user of MovieLens: the first item stays a comedy or drama from no delay to a day, and its
popularity is 0.0236 %, 0.0209 %, 0.0195 % and 0.113 %. It says that longer delays give more diverse genres, and that
this is subjective; the likeness above puts a number to it."""


def markdown(
    table: pd.DataFrame,
    items: Int,
    users: Int,
    examples: Sequence[int],
    tables: DatasetTables,
    features: Sequence[str],
    settings: Settings,
) -> str:
    """The study's section.

    Args:
        table: of :func:`assets.evaluation.studies.time_table.delay_table`.
        items: [delays, U, K] universe rows of the first seed's lists.
        users: [U] universe rows.
        examples: rows of ``users`` to show.
        features: what likeness compares.
    """
    labels = zip(table["delay"], table["kind"], table["metric"], strict=True)
    rows = dict(zip(labels, table.to_dict("records"), strict=True))
    parts = [
        table_markdown([_row(rows, delay) for delay in DELAYS], ["after", *(HEADERS[metric] for metric in METRICS)]),
        _verdict(rows),
        "### Three users",
        CHOICE.replace("\n", " "),
        *(_example(items[:, row, :SHOWN], int(users[row]), tables, features) for row in examples),
        f"{_conditions(rows, settings)} {RULES.format(features=' and '.join(features) or 'features')}".replace(
            "\n", " "
        ),
        PAPER.replace("\n", " "),
    ]
    return "\n\n".join(parts) + "\n"


Rows = Mapping[tuple[str, str, str], Mapping[Any, Any]]


def _row(rows: Rows, delay: str) -> list[str]:
    formats = {OVERLAP: (10.0, ".1f", ""), LIKENESS: (1.0, ".3f", ""), POPULARITY: (100.0, ".3f", " %")}
    cells = []
    for metric, (factor, form, unit) in formats.items():
        value, low, high = (factor * rows[delay, VALUE, metric][end] for end in ("value", "ci_low", "ci_high"))
        cells.append(f"{value:{form}}{unit} [{low:{form}}, {high:{form}}]")
    return [delay, *cells]


def _verdict(rows: Rows) -> str:
    """What the longest delay does to likeness and popularity."""
    longest = list(DELAYS)[-1]
    found = []
    for metric, words in ((LIKENESS, "Likeness to the last item"), (POPULARITY, "The items' share of engagements")):
        row = rows[longest, CHANGE, metric]
        factor, unit = (100.0, " points") if metric == POPULARITY else (1.0, "")
        value, low, high = (factor * row[end] for end in ("value", "ci_low", "ci_high"))
        way = "rises" if low > 0 else "falls" if high < 0 else "does not change measurably"
        found.append(f"- {words} {way} from no delay to {longest}: {value:+.3f}{unit} [{low:+.3f}, {high:+.3f}].")
    return "\n".join(found)


def _example(shown: Int, user: int, tables: DatasetTables, features: Sequence[str]) -> str:
    """One user's latest items, and the first of the list at each delay.

    Args:
        shown: [delays, 3] universe rows.
    """
    known = tables.stream.before(tables.cutoff)
    begin, end = known.user_offsets[user], known.user_offsets[user + 1]
    latest = known.items[known.by_user[begin:end]][-SHOWN:][::-1]
    past = "; ".join(_words(tables.catalog, int(item), features) for item in latest)
    cells = [
        [delay, *(_words(tables.catalog, int(item), features) for item in items)]
        for delay, items in zip(DELAYS, shown, strict=True)
    ]
    head = (
        f"User {_escaped(tables.users[Columns.USER].iloc[user])}, {end - begin} engagements, the latest first: {past}."
    )
    return f"{head}\n\n{table_markdown(cells, ['after', '1st', '2nd', '3rd'])}"


def _words(catalog: Catalog, item: int, features: Sequence[str]) -> str:
    """``Title [Comedy, Drama; 0.12 %]``."""
    row = catalog.frame.iloc[item]
    title = row[Columns.TITLE] if isinstance(row[Columns.TITLE], str) else row[Columns.ITEM]
    values = ", ".join(str(value) for name in features for value in row[name])
    share = f"{100 * catalog.train_count[item] / max(1, int(np.sum(catalog.train_count))):.3f} %"
    return _escaped(f"{title} [{'; '.join(filter(None, (values, share)))}]")


def _escaped(text: object) -> str:
    """A bar would end the cell."""
    return str(text).replace("|", "\\|")


def _conditions(rows: Rows, settings: Settings) -> str:
    row = next(iter(rows.values()))
    first, seeds = settings.training.seed, row["seeds"]
    trained = f"seed {first}" if seeds == 1 else f"seeds {first} to {first + seeds - 1}, the examples of the first"
    return f"{settings.dataset}, split {settings.split.kind}, `hrnn_meta`, {trained}, {row['users']:,} users."
