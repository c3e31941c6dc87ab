"""One level or two: ``gru``, ``hrnn`` and ``hgru`` at a small and a large hidden size (HRNN-meta, Table 3)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pandas as pd

from assets.config import Settings
from assets.evaluation.slices import HIT_RATE, NLL, NO_K
from assets.evaluation.studies.measures import (
    Comparison,
    Row,
    conditions,
    difference,
    interval,
    paired,
    seed_means,
    table_markdown,
)
from assets.evaluation.studies.variant_study import make_variants
from assets.evaluation.studies.variants import Run, Variant
from assets.storage import Storage

NAME: Final = "sessions"
MODELS: Final = ("gru", "hrnn", "hgru")
HIDDEN: Final = (50, 200)
PAPER: Final = {
    50: {"gru": 0.26, "hrnn": 0.42, "hgru": 0.47},
    200: {"gru": 0.55, "hrnn": 0.55, "hgru": 0.55},
}
"""Hit@5 on the Reddit data of Table 3."""
PAPER_FASTER: Final = 10
"""Times that HRNN is faster than HGRU, as section 4.3 says."""
BAR: Final = 4.0


def name_of(model: str, hidden: int) -> str:
    """Of a variant."""
    return f"{model}, {hidden}"


VARIANTS: Final = tuple(
    Variant(name_of(model, hidden), model, {"users.hidden": hidden}) for hidden in HIDDEN for model in MODELS
)


def pairs() -> list[tuple[str, str]]:
    """At each size, the one with session inputs against the plain one and against two levels."""
    return [(name_of("hrnn", hidden), name_of(other, hidden)) for hidden in HIDDEN for other in ("gru", "hgru")]


def make(storage: Storage, settings: Settings, progress: Callable[[str], object]) -> pd.DataFrame:
    """The study, see :func:`assets.evaluation.studies.variant_study.make_variants`."""
    return make_variants(storage, settings, NAME, VARIANTS, markdown, progress)


def markdown(runs: Sequence[Run], settings: Settings) -> str:
    """The study's section."""
    means, compared = seed_means(runs, settings), paired(runs, pairs(), settings)
    gaps = sorted({each.preset(settings).model_dump()["net"]["users"]["session_gap_minutes"] for each in VARIANTS})
    headers = ["hidden", "model", "Hit@5", "perplexity", "training, s", "an epoch, s", "an epoch, CPU s", "epochs"]
    parts = [
        table_markdown(
            [_row(means[name_of(model, hidden)], model, hidden) for hidden in HIDDEN for model in MODELS],
            [*headers, "parameters", "paper's Hit@5 (Reddit)"],
        ),
        "\n".join(_verdict(means, compared, hidden) for hidden in HIDDEN),
        "Training: fit with a validation after each epoch, then refit for as many epochs as were best, on one thread; "
        "an epoch: the mean of the refit's, which validates nothing. The bar is held against CPU seconds, which do not "
        "depend on what else the machine is at. A session ends with a pause of "
        f"{' or '.join(f'{gap:g}' for gap in gaps)} minutes.",
        "The paper's column is its Table 3, on Reddit data of 18,271 users and 27,452 items: another dataset, catalog "
        f"and protocol. It calls HRNN {PAPER_FASTER} times faster than HGRU.",
        conditions(settings, means),
    ]
    return "\n\n".join(parts) + "\n"


def _row(row: Row, model: str, hidden: int) -> list[str]:
    return [
        str(hidden),
        f"`{model}`",
        interval(row, (HIT_RATE, 5), 4),
        interval(row, (NLL, NO_K), 1),
        f"{row['seconds']:,.1f}",
        f"{row['epoch_seconds']:.2f}",
        f"{row['epoch_cpu_seconds']:.2f}",
        f"{row['best_epoch']:g} of {row['epochs']:g}",
        f"{row['parameters']:,.0f}",
        f"{PAPER[hidden][model]:.2f}",
    ]


def _verdict(means: Mapping[str, Row], compared: Mapping[Comparison, Row], hidden: int) -> str:
    """Quality and time of one level against two, and what the bar says of them."""
    one, two = name_of("hrnn", hidden), name_of("hgru", hidden)
    gap, plain = compared[one, two, "hr@5"], compared[one, name_of("gru", hidden), "hr@5"]
    epoch, cpu, whole = (
        means[two][what] / means[one][what] for what in ("epoch_seconds", "epoch_cpu_seconds", "seconds")
    )
    reaches = "reaches" if gap["ci_high"] >= 0 else "does not reach"
    time = "at or above" if cpu >= BAR else "below"
    return (
        f"- {hidden} hidden: Hit@5 of `hrnn` minus `hgru` {difference(gap)}, so `hrnn` {reaches} `hgru`'s quality; "
        f"minus `gru` {difference(plain)}. An epoch of `hgru` takes {cpu:.1f} times the CPU seconds of an epoch of "
        f"`hrnn`, {time} the bar of {BAR:g}; {epoch:.1f} times the seconds, and all of its training {whole:.1f} times."
    )
