"""Ratings predicted in sequence, without and with the feedback of earlier events (HRNN-meta, section 4.3, Table 4).

The task is :mod:`assets.evaluation.studies.rating_cases`, who predicts :mod:`.rating_predictors`. Finished predictions
are kept per predictor and seed, with what they rest on, so a study that was stopped goes on where it was.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.evaluation.files import write_with_account
from assets.evaluation.studies.files import kept_account, write_study
from assets.evaluation.studies.rating_cases import RatingCases, groups_of, rating_cases
from assets.evaluation.studies.rating_measures import error_table
from assets.evaluation.studies.rating_page import PAIRS, markdown
from assets.evaluation.studies.rating_predictors import Prediction, Predictor, Task, predictors
from assets.storage import Storage, read_parquet
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import git_revision, tables_version
from assets.training.seeds import for_seed

NAME: Final = "ratings"
FORMAT: Final = 1
"""Of the code behind predictions: raise it when training or a baseline changes, and all are made again."""


def make(storage: Storage, settings: Settings, progress: Callable[[str], object]) -> pd.DataFrame:
    """Predict what is not predicted yet, write the study's files, and return its table.

    Raises:
        ValueError: for a dataset without ratings, or with none in the test or validation period.
        FloatingPointError: when a training diverges; what was finished before is kept.
    """
    tables, wanted = load_tables(storage), predictors(settings)
    held = rating_cases(tables.stream, tables.cutoff)
    runs = {
        each.name: [_known_or_made(storage, each, seed, tables, held, settings, progress) for seed in seeds]
        for each in wanted
        for seeds in [_seeds(each, settings)]
    }
    table = error_table(
        held,
        {name: [run.predicted for run in own] for name, own in runs.items()},
        groups_of(held, tables.stream, tables.cutoff),
        PAIRS,
        settings.evaluation.bootstrap_samples,
        settings.training.seed,
    )
    measured = {name: _means([run.measured for run in own]) for name, own in runs.items()}
    config = {"predictors": {each.name: dict(each.config) for each in wanted}, "measured": measured}
    write_study(storage, settings, NAME, table, markdown(table, measured, settings), config=config)
    return table


def predictions_path(storage: Storage, name: str, seed: int) -> Path:
    """Predictions of one predictor under one seed."""
    return storage.studies / NAME / f"{re.sub(r'[^a-z0-9]+', '_', name)}-seed-{seed}.parquet"


def _seeds(predictor: Predictor, settings: Settings) -> range:
    first = settings.training.seed
    return range(first, first + (settings.training.seeds if predictor.draws else 1))


def _known_or_made(
    storage: Storage,
    predictor: Predictor,
    seed: int,
    tables: DatasetTables,
    held: RatingCases,
    settings: Settings,
    progress: Callable[[str], object],
) -> Prediction:
    path, basis = predictions_path(storage, predictor.name, seed), basis_of(storage, predictor, settings)
    if (account := kept_account(path, basis)) is not None:
        return Prediction(read_parquet(path)["prediction"].to_numpy(), account["measured"])
    progress(f"{predictor.name}, seed {seed}")
    made = predictor.predict(Task(tables, held, for_seed(settings, seed)))
    account = {"basis": basis, "measured": dict(made.measured), "git_revision": git_revision()}
    write_with_account(path, pd.DataFrame({"prediction": made.predicted, "value": held.truth}), account)
    progress(f"{predictor.name}, seed {seed}: RMSE {held.rmse(made.predicted):.4f}, {made.measured['seconds']:.1f} s")
    return made


def basis_of(storage: Storage, predictor: Predictor, settings: Settings) -> dict[str, Any]:
    """What predictions rest on beside their seed, JSON values."""
    basis = {
        "format": FORMAT,
        "tables": tables_version(storage),
        "split": settings.split.model_dump(mode="json"),
        "config": dict(predictor.config),
    }
    held: dict[str, Any] = json.loads(json.dumps(basis))  # as it is read back: tuples are lists there
    return held


def _means(runs: list[Mapping[str, float]]) -> dict[str, float]:
    return {what: float(np.mean([run[what] for run in runs])) for what in runs[0]}
