"""Sweeps as tables for people: one row per configuration, means over seeds, the best first."""

import json
from typing import Any, Final

import pandas as pd

from assets.training.studies.slices import OVERALL, SLICES, columns
from assets.training.studies.sweep import changes
from assets.training.validation import HIT_RATE, LOG_LIKELIHOOD, NDCG

PRESET: Final = "(preset)"
CHOSEN_BY: Final = "chosen by"
RULE: Final = (
    "Fitted on train without its validation tail, measured on that tail at the best epoch; test windows were not read. "
    "NDCG@50 by slice of the target, items counted before the tail; brackets: 95 % over users. Means over seeds, "
    "with the standard error where there are more than one."
)


def summary(rows: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Trials of one model, grouped by configuration: what it alone changes, means over its seeds, the best first.

    The best is the highest mean of the preset's monitor. A configuration one of whose seeds failed comes last.
    """
    per_config = _changes(rows, dataset)
    shared = common_changes(rows, dataset)
    found = []
    for config, group in rows.groupby("config", sort=False):
        changed = {path: value for path, value in per_config[str(config)].items() if path not in shared}
        monitor = json.loads(str(config))["monitor"]
        values = group.select_dtypes("number").drop(columns="seed").mean()
        spread = float(group[monitor].std() / len(group) ** 0.5) if len(group) > 1 else float("nan")
        found.append(
            {
                "changes": _words(changed),
                "seeds": len(group),
                CHOSEN_BY: group[monitor].mean(skipna=False),
                "standard_error": spread,
                "monitor": monitor,
                "failed": int((group["error"] != "").sum()),
                **values.to_dict(),
            }
        )
    return pd.DataFrame(found).sort_values(CHOSEN_BY, ascending=False, kind="stable", ignore_index=True)


def common_changes(rows: pd.DataFrame, dataset: str) -> dict[str, Any]:
    """What all of several configurations change of the dataset's preset alike: the run's own settings."""
    first, *others = _changes(rows, dataset).values()
    return {
        path: value
        for path, value in first.items()
        if others and all(other.get(path, ...) == value for other in others)
    }


def _changes(rows: pd.DataFrame, dataset: str) -> dict[str, dict[str, Any]]:
    """Per configuration, in the order of ``rows``."""
    pairs = rows[["config", "model"]].drop_duplicates().itertuples(index=False)
    return {str(config): changes(str(config), str(model), dataset) for config, model in pairs}


def _words(changed: dict[str, Any]) -> str:
    return ", ".join(f"{path} {value}" for path, value in changed.items()) or PRESET


def markdown(rows: pd.DataFrame, model: str, dataset: str) -> str:
    """The summary of one model's trials as a Markdown page."""
    table = summary(rows, dataset)
    shared = common_changes(rows, dataset)
    cases = ", ".join(f"{name} {int(table[columns(name)[-1]].max()):,}" for name in SLICES)
    parts = [
        f"## Sweep of {model} on {dataset}",
        f"Changes are against the preset for this dataset{f'; all with {_words(shared)}' if shared else ''}.",
        pd.DataFrame([_shown(row) for row in table.to_dict("records")]).to_markdown(index=False, disable_numparse=True),
        f"{RULE} Ordered by {', '.join(sorted(set(table['monitor'])))}. Cases of the slices: {cases}.",
    ]
    return "\n\n".join(parts) + "\n"


def _shown(row: dict[Any, Any]) -> dict[str, str]:
    metrics = {
        name: "failed" if row["failed"] else f"{row[name]:.4f}"
        for name in (LOG_LIKELIHOOD, NDCG, HIT_RATE)
        if name in row
    }
    if row["standard_error"] == row["standard_error"]:  # not NaN
        metrics[row["monitor"]] += f" ± {row['standard_error']:.4f}"
    slices = {columns(name)[0]: _interval(row, name) for name in SLICES}
    return {
        "changes": str(row["changes"]),
        "seeds": str(row["seeds"]),
        **metrics,
        **slices,
        "best epoch": f"{row['best_epoch']:.1f}".removesuffix(".0"),
        "seconds": f"{row['seconds']:.0f}",
        "parameters": f"{int(row['parameters']):,}",
    }


def _interval(row: dict[Any, Any], name: str) -> str:
    value, low, high, cases = (row[column] for column in columns(name))
    if not cases:
        return "no cases"
    if name != OVERALL or row["seeds"] > 1:  # the interval of a mean over seeds is not the mean of intervals
        return f"{value:.4f}"
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"
