"""The headline of one checkpoint, ranked anew, and the program that ranks it."""

import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pandas as pd
import torch
from pydantic import ValidationError

from assets.evaluation.protocol import build_cases, drawn, rank_under_protocols
from assets.evaluation.releases.record import Conditions, Headline, Program, ReleaseError, counting_of, first_fault
from assets.evaluation.slices import NDCG, metrics_frame
from assets.schema import ALL_WINDOWS, CaseSlice
from assets.storage import Storage, read_compact
from assets.stream import load_tables
from assets.training.checkpoints import git_revision, recommender_in

PACKAGES: Final = ("torch", "numpy", "pandas", "pyarrow", "duckdb", "faiss-cpu", "safetensors", "dbt-duckdb")

Progress = Callable[[int, int], None]


def measure(storage: Storage, folder: Path, conditions: Conditions, progress: Progress = lambda *_: None) -> Headline:
    """Rank every case of the tables at hand with the checkpoint in ``folder``.

    Args:
        progress: called with the cases done since the last call, and the number in all.

    Raises:
        CheckpointError: when the checkpoint is damaged.
        FileNotFoundError: when there are no tables.
        ReleaseError: when the tables hold no case, no case is measured, or the checkpoint gives what is no number.
    """
    tables = load_tables(storage)
    try:
        every = build_cases(read_compact(storage.table("test_cases")), tables)
    except (ValueError, KeyError) as error:
        raise ReleaseError(f"{storage.table('test_cases')} holds no cases to rank: {error}") from error
    cases = drawn(every, conditions.max_cases)
    try:
        ranks = rank_under_protocols(
            recommender_in(folder, tables),
            counting_of(conditions.fallback, str(tables.cutoff)),
            cases,
            tables,
            [conditions.protocol],
            {"dataset": storage.dataset, "model": "released", "seed": conditions.seed},
            lambda done: progress(done, len(cases)),
        )
    except FloatingPointError as error:
        raise ReleaseError(f"{folder} ranks nothing: {error}") from error
    return headline_of(metrics_frame(ranks, (conditions.k,), conditions.samples, conditions.seed), conditions.k)


def headline_of(metrics: pd.DataFrame, k: int) -> Headline:
    """The headline among the metrics of one run.

    Raises:
        ReleaseError: when no case of a user with a history was measured, or what was measured is no number.
    """
    wanted = {"window": ALL_WINDOWS, "slice": CaseSlice.OVERALL.value, "metric": NDCG, "k": k}
    rows = metrics[(metrics[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if len(rows) != 1:
        raise ReleaseError(f"{len(rows)} rows of {NDCG}@{k} over all windows where one is wanted: `thaw run` makes it")
    row = rows.iloc[0]
    try:
        return Headline(
            value=float(row["value"]), ci_low=float(row["ci_low"]), ci_high=float(row["ci_high"]), cases=int(row["n"])
        )
    except ValidationError as error:
        raise ReleaseError(f"{NDCG}@{k} over all windows is no headline ({first_fault(error)})") from error


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
