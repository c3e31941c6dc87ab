"""The headline of one checkpoint, ranked anew, and the program that ranks it."""

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pandas as pd
import torch

from assets.evaluation.protocol import build_cases, drawn, rank_under_protocols
from assets.evaluation.releases.record import Conditions, Headline, Program, ReleaseError
from assets.evaluation.slices import NDCG, metrics_frame
from assets.ranking import Recommender
from assets.schema import ALL_WINDOWS, CaseSlice
from assets.storage import Storage, read_compact
from assets.stream import load_tables
from assets.training.checkpoints import git_revision, load_counting, recommender_in

PACKAGES: Final = ("torch", "numpy", "pandas", "pyarrow", "duckdb", "faiss-cpu", "safetensors", "dbt-duckdb")

Progress = Callable[[int, int], None]


def measure(storage: Storage, folder: Path, conditions: Conditions, progress: Progress = lambda *_: None) -> Headline:
    """Rank every case of the tables at hand with the checkpoint in ``folder``.

    Args:
        progress: called with the cases done since the last call, and the number in all.

    Raises:
        CheckpointError: when the checkpoint is damaged.
        FileNotFoundError: when there are no tables.
        ReleaseError: when the conditions name no counting model, or no case is measured.
    """
    tables = load_tables(storage)
    cases = drawn(build_cases(read_compact(storage.table("test_cases")), tables), conditions.max_cases)
    ranks = rank_under_protocols(
        recommender_in(folder, tables),
        _fallback(conditions, str(tables.cutoff)),
        cases,
        tables,
        [conditions.protocol],
        {"dataset": storage.dataset, "model": "released", "seed": conditions.seed},
        lambda done: progress(done, len(cases)),
    )
    return headline_of(metrics_frame(ranks, (conditions.k,), conditions.samples, conditions.seed), conditions.k)


def _fallback(conditions: Conditions, cutoff: str) -> Recommender:
    try:
        return load_counting({"config": json.loads(conditions.fallback), "bounds": {"cutoff": cutoff}})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReleaseError(f"conditions.fallback of the record is no counting model: {conditions.fallback}") from error


def headline_of(metrics: pd.DataFrame, k: int) -> Headline:
    """The headline among the metrics of one run.

    Raises:
        ReleaseError: when no case of a user with a history was measured.
    """
    wanted = {"window": ALL_WINDOWS, "slice": CaseSlice.OVERALL.value, "metric": NDCG, "k": k}
    rows = metrics[(metrics[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if len(rows) != 1:
        raise ReleaseError(f"{len(rows)} rows of {NDCG}@{k} over all windows where one is wanted: `thaw run` makes it")
    row = rows.iloc[0]
    return Headline(
        value=float(row["value"]), ci_low=float(row["ci_low"]), ci_high=float(row["ci_high"]), cases=int(row["n"])
    )


def this_program() -> Program:
    """What runs here."""
    return Program(
        thaw=version("thaw"),
        git_revision=git_revision(),
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        machine=platform.machine(),
        threads=torch.get_num_threads(),
    )
