"""Numbers of variants' runs: metrics with intervals over users, and paired comparisons on the same cases."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from tabulate import tabulate

from assets.config import Settings
from assets.evaluation.compare import ModelDraws, model_draws
from assets.evaluation.pairs import pair_table
from assets.evaluation.slices import HIT_RATE, NDCG, NLL, NO_K, PERPLEXITY, Metric
from assets.evaluation.studies.variants import Run
from assets.metrics import percentile_interval
from assets.schema import ALL_WINDOWS, CaseSlice

METRICS: Final[tuple[Metric, ...]] = ((HIT_RATE, 5), (HIT_RATE, 10), (NDCG, 10), (NLL, NO_K))
ENDS: Final = ("", "_low", "_high")
"""Behind a metric's name: its column, and those of its interval's ends."""

EVERYTHING: Final = (ALL_WINDOWS, CaseSlice.OVERALL)
COMPARED: Final = (
    *("value", "reference_value", "difference", "ci_low", "ci_high"),
    *("ratio", "ratio_low", "ratio_high", "n", "verdict"),
)

Row = dict[str, Any]
Comparison = tuple[str, str, str]
"""(variant, reference, metric)."""


def name_of(metric: Metric) -> str:
    """``hr@5``; the likelihood stands as its perplexity."""
    name, k = metric
    return PERPLEXITY if name == NLL else f"{name}@{k}"


def by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Variant -> its runs, one per seed, in the order of ``runs``."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.trial.variant.name, []).append(run)
    return found


def draws(runs: Sequence[Run], settings: Settings) -> ModelDraws:
    """Means of one variant over its seeds, every case, with the same draws of users for every variant."""
    ranks = pd.concat([run.ranks for run in runs], ignore_index=True)
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    return model_draws(ranks, METRICS, samples, seed, slices=[CaseSlice.OVERALL])


def quality(drawn: ModelDraws) -> Row:
    """Each metric with its 95 % interval, and the number of cases behind; perplexity is exp of the mean likelihood."""
    at = drawn.place[EVERYTHING]
    ends = percentile_interval(drawn.draws[[at]])
    numbers = np.stack([drawn.means[at], ends[0][0], ends[1][0]])  # [3, M]
    found: Row = {}
    for place, metric in enumerate(METRICS):
        values = np.exp(numbers[:, place]) if metric[0] == NLL else numbers[:, place]
        found |= {f"{name_of(metric)}{end}": float(value) for end, value in zip(ENDS, values, strict=True)}
    counts = dict(zip(METRICS, drawn.counts[at], strict=True))
    return {**found, "cases": int(counts[(NDCG, 10)]), "likelihood_cases": int(counts[(NLL, NO_K)])}


def run_table(runs: Sequence[Run], settings: Settings) -> pd.DataFrame:
    """A row per variant and seed: what it is, :func:`quality`, what its training took, and where it comes from."""
    rows: list[Row] = [
        {
            "variant": run.trial.variant.name,
            "model": run.trial.variant.model,
            "seed": run.trial.seed,
            **quality(draws([run], settings)),
            **run.measured,
            "config": run.trial.config,
            "git_revision": run.git_revision,
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def seed_means(runs: Sequence[Run], settings: Settings) -> dict[str, Row]:
    """Variant -> :func:`quality` of its per-case means over seeds, and means of what training took."""
    found = {}
    for name, own in by_variant(runs).items():
        spent = {what: float(np.mean([run.measured[what] for run in own])) for what in own[0].measured}
        found[name] = {**quality(draws(own, settings)), **spent}
    return found


def paired(runs: Sequence[Run], pairs: Sequence[tuple[str, str]], settings: Settings) -> dict[Comparison, Row]:
    """Differences and ratios on the same cases, users drawn again: 95 % intervals.

    Args:
        pairs: (variant, reference).

    Returns:
        (variant, reference, metric) -> :data:`COMPARED`; a ratio of ``perplexity`` is of perplexities, its difference
        one of likelihoods, in nats.

    Raises:
        ValueError: when two variants were not ranked on the same cases.
    """
    wanted = {name for pair in pairs for name in pair}
    drawn = {name: draws(own, settings) for name, own in by_variant(runs).items() if name in wanted}
    found: dict[Comparison, Row] = {}
    for left, right in pairs:
        table = pair_table({left: drawn[left], right: drawn[right]}, METRICS)
        for row in table[(table["window"] == ALL_WINDOWS) & (table["model"] == left)].to_dict("records"):
            metric = name_of((str(row["metric"]), int(row["k"])))
            found[left, right, metric] = {name: row[name] for name in COMPARED}
    return found


def interval(row: Mapping[str, Any], metric: Metric, digits: int) -> str:
    """``0.123 [0.120, 0.126]`` of a row of :func:`seed_means`."""
    value, low, high = (row[f"{name_of(metric)}{end}"] for end in ENDS)
    return f"{value:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def difference(row: Mapping[str, Any]) -> str:
    """``+0.0120 [+0.0100, +0.0140]`` of a row of :func:`paired`."""
    return f"{row['difference']:+.4f} [{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]"


def table_markdown(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A GitHub table of cells as they are."""
    return str(tabulate(rows, list(headers), tablefmt="github", disable_numparse=True))


def conditions(settings: Settings, means: Mapping[str, Row]) -> str:
    """What every number of a study of variants was measured on, in a sentence or two."""
    protocol, seeds, first = settings.evaluation.headline, settings.training.seeds, settings.training.seed
    cases = next(iter(means.values()))
    trained = f"seed {first}" if seeds == 1 else f"means of seeds {first} to {first + seeds - 1}"
    return (
        f"{settings.dataset}, split {settings.split.kind}, {trained}; weights frozen at the cutoff, "
        f"{protocol.user_history.value} user history, {protocol.item_embeddings.value} items, every available item "
        f"ranked, items already engaged with left out; {cases['cases']:,} cases of users with history, drawn at random "
        f"where there are more than {settings.studies.max_cases:,}, perplexity on the {cases['likelihood_cases']:,} of "
        "them whose item was on the catalog. Brackets: 95 % intervals, users drawn again."
    )
