"""Perplexity with feature groups on and off: Table 1 of HRNN-meta (Ma et al., KDD 2020), on the data at hand.

From counts to everything, group by group; each row without a trend (tau = 0) and with it (tau = 1 of eq. 5). A net's
epoch is chosen by the likelihood of the validation tail, as that is what the table is about.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import pandas as pd

from assets.config import Settings
from assets.evaluation.pairs import ratio_text
from assets.evaluation.slices import HIT_RATE, NLL, NO_K
from assets.evaluation.studies.measures import (
    Comparison,
    Row,
    conditions,
    interval,
    name_of,
    paired,
    seed_means,
    table_markdown,
)
from assets.evaluation.studies.variant_study import make_variants
from assets.evaluation.studies.variants import Run, Variant, with_trend
from assets.storage import Storage

NAME: Final = "feature_groups"

TREND: Final = " + trend"
"""Behind the name of a row with tau = 1."""

MIXED_OFF: Final[dict[str, Any]] = {"items": {"kind": "id"}, "head": {"kind": "single"}}
FEEDBACK_OFF: Final[dict[str, Any]] = {"users.feedback": None}

FEATURES_ONLY: Final[dict[str, Any]] = {
    "items": {"kind": "features"},
    "users.history_length": 1,
}
"""The latest item alone, by its features."""


@dataclass(frozen=True)
class Group:
    """A row of the table: what is read beside counts.

    Attributes:
        paper: the perplexity that the paper reports for such a row on ml-20m; None where it has none.
        model: registered name; counting models have one without a trend and one with it.
        reads: (sequence, session, user, item features, feedback).
    """

    name: str
    reads: tuple[bool, bool, bool, bool, bool]
    model: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    with_trend: str | None = None
    paper: int | None = None


READS: Final = ("sequence", "session", "user", "item", "feedback")

GROUPS: Final[tuple[Group, ...]] = (
    Group("popularity", (False,) * 5, "popularity", with_trend="decayed_popularity", paper=2228),
    Group("item features only", (False, False, False, True, False), "gru", FEATURES_ONLY, paper=1342),
    Group("gru", (True, False, False, False, False), "gru", paper=447),
    Group("+ session (hrnn)", (True, True, False, False, False), "hrnn"),
    Group("+ user", (True, True, True, False, False), "hrnn_meta", {**MIXED_OFF, **FEEDBACK_OFF}),
    Group("+ item features", (True, True, True, True, False), "hrnn_meta", FEEDBACK_OFF),
    Group("+ feedback (hrnn_meta)", (True,) * 5, "hrnn_meta", paper=410),
)

LIKELIHOOD: Final = (NLL, NO_K)
BASE: Final = "gru"
FULL: Final = GROUPS[-1].name
BAR: Final = 0.95
"""Everything is to have at most this much of the perplexity of the sequence alone."""


def variant(group: Group, trend: bool) -> Variant:
    """A row's variant without a trend, or with it."""
    name = group.name + TREND * trend
    if group.with_trend is not None:
        return Variant(name, group.with_trend if trend else group.model)
    plain = Variant(name, group.model, {**group.overrides, "monitor": "log_likelihood"})
    return with_trend(plain, float(trend))


VARIANTS: Final = tuple(variant(group, trend) for trend in (False, True) for group in GROUPS)


def pairs() -> list[tuple[str, str]]:
    """Every row against the row above and against the sequence alone, both without or both with the trend."""
    found = []
    for end in ("", TREND):
        names = [group.name + end for group in GROUPS]
        found += [(low, high) for high, low in pairwise(names)]
        found += [(name, BASE + end) for name in names if name != BASE + end]
    return list(dict.fromkeys([*found, *((name + TREND, name) for name in (BASE, FULL))]))


def make(storage: Storage, settings: Settings, progress: Callable[[str], object]) -> pd.DataFrame:
    """The study, see :func:`assets.evaluation.studies.variant_study.make_variants`."""
    return make_variants(storage, settings, NAME, VARIANTS, markdown, progress)


def markdown(runs: Sequence[Run], settings: Settings) -> str:
    """The study's section."""
    means, compared = seed_means(runs, settings), paired(runs, pairs(), settings)
    halves = (("", "Without a trend"), (TREND, "With the trend"))
    parts = [
        *(f"### {words}\n\n{_half(means, compared, end)}" for end, words in halves),
        "\n".join(f"- {words}: {_verdict(compared, end)}" for end, words in halves),
        "Session, user, item and feedback are the paper's groups: session starts and time-deltas; user features, hour "
        "and weekday of the request; genres and what else the items have; the value and type of the previous event. "
        "*popularity* counts the engagements before the cutoff, with the trend it is `decayed_popularity`. *item "
        "features only* knows the latest item by its features and has a bias per item. Rows with a model's name are "
        "models as registered, those between are `hrnn_meta` with groups left out. Epochs were chosen by the "
        "likelihood of the validation tail.",
        "The paper's column is its Table 1: ml-20m, 131,263 items, users split 80/20; another dataset, catalog and "
        "split, so only the order of the rows compares.",
        conditions(settings, means),
    ]
    return "\n\n".join(parts) + "\n"


def _half(means: Mapping[str, Row], compared: Mapping[Comparison, Row], end: str) -> str:
    """The rows without a trend, or those with it."""
    rows, above = [], ""
    for group in GROUPS:
        name = group.name + end
        rows.append(
            [
                group.name,
                *("x" if read else "" for read in group.reads),
                interval(means[name], LIKELIHOOD, 1),
                *(_over(compared, name, reference) for reference in (above, BASE + end)),
                interval(means[name], (HIT_RATE, 10), 3),
                f"{means[name]['ndcg@10']:.3f}",
                "" if group.paper is None or end else f"{group.paper:,}",
            ]
        )
        above = name
    headers = ["", *READS, "perplexity", "over the row above", f"over {BASE}", "HR@10", "NDCG@10", "paper (ml-20m)"]
    return table_markdown(rows, headers)


def _over(compared: Mapping[Comparison, Row], name: str, reference: str) -> str:
    row = compared.get((name, reference, name_of(LIKELIHOOD)))
    return "" if row is None else ratio_text(row)


def _verdict(compared: Mapping[Comparison, Row], end: str) -> str:
    """Whether perplexity falls at every step, and whether everything together is below the bar."""
    perplexity = name_of(LIKELIHOOD)
    rising = [
        low.name
        for high, low in pairwise(GROUPS)
        if compared[low.name + end, high.name + end, perplexity]["ratio"] >= 1
    ]
    falls = f"does not fall at {', '.join(rising)}" if rising else "falls at every step"
    whole = compared[FULL + end, BASE + end, perplexity]
    bar = "at or below" if whole["ratio"] <= BAR else "above"
    return f"perplexity {falls}; `hrnn_meta` has {ratio_text(whole)} of `{BASE}`'s, {bar} the bar of {BAR}."
