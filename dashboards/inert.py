"""Names from data, before they go into a page that is not ours to escape.

Evidently writes what it counted as JSON into a ``<script>`` without escaping it, and Plotly reads labels as HTML of its
own. A name that holds neither ``<`` nor ``>`` nor ``&`` can end no element, open none and stand for no other character.
"""

from collections.abc import Iterable
from typing import Any, Final

import pandas as pd

LOOK_ALIKES: Final = str.maketrans({"<": "\u2039", ">": "\u203a", "&": "\uff06"})
"""Single angle quotation marks and the wide ampersand: people read them as what they stand for, HTML does not."""


def inert(names: Iterable[str]) -> dict[str, str]:
    """Name -> the same without ``<``, ``>`` and ``&``; distinct names stay distinct, by a number where needed."""
    distinct = list(dict.fromkeys(names))
    found = {name: name for name in distinct if name == name.translate(LOOK_ALIKES)}
    taken = set(found.values())
    for name in distinct:
        if name not in found:
            shown, count = name.translate(LOOK_ALIKES), 1
            while shown in taken:
                count += 1
                shown = f"{name.translate(LOOK_ALIKES)} ({count})"
            found[name] = shown
            taken.add(shown)
    return found


def inert_sides(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two frames of the same columns with every text in them :func:`inert`, one name for one name on both sides.

    Raises:
        ValueError: for a column whose own name would not be inert: columns are named here, never by data.
    """
    unfit = [column for column in reference.columns if str(column) != str(column).translate(LOOK_ALIKES)]
    if unfit:
        raise ValueError(f"columns are named {unfit}: a name in a report has no '<', '>' or '&'")
    texts = [column for column in reference.columns if not _are_numbers(reference[column], current[column])]
    shown = {column: _shown(reference[column], current[column]) for column in texts}
    first, second = (
        side.assign(**{column: _replaced(side[column], shown[column]) for column in texts})
        for side in (reference, current)
    )
    return first, second


def _are_numbers(*sides: pd.Series) -> bool:
    return all(pd.api.types.is_numeric_dtype(side) for side in sides)


def _shown(*sides: pd.Series) -> dict[str, str]:
    """Of both sides in the order of their names, so that the numbers behind names do not depend on rows."""
    return inert(sorted({name for side in sides for name in side.dropna().unique() if isinstance(name, str)}))


def _replaced(side: pd.Series, shown: dict[str, str]) -> pd.Series:
    values: list[Any] = [shown.get(value, value) if isinstance(value, str) else value for value in side]
    return pd.Series(values, index=side.index, dtype=object)
