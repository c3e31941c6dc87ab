"""Items that nobody has engaged with yet, found by their features: Table 7 of HRNN-meta, on the data at hand.

Under split.kind held_out_items; the task is :mod:`assets.evaluation.studies.cold_cases`. Whether nets are trained with
a trend is chosen on items of train time held out once more; the test is not looked at. Finished trainings are kept per
configuration and seed, with what they rest on, so a study that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.config import ConfigError, Settings
from assets.evaluation.files import write_with_account
from assets.evaluation.studies.cold_cases import (
    METRICS,
    ColdCases,
    cold_cases,
    cold_metrics,
    held_out_again,
    random_metrics,
)
from assets.evaluation.studies.cold_page import markdown
from assets.evaluation.studies.cold_table import HRNN_META, RANDOM, cold_table
from assets.evaluation.studies.files import kept_account, write_study
from assets.evaluation.studies.variants import Trial, Variant, trials, with_trend
from assets.metrics import Floats
from assets.schema import Columns
from assets.storage import Storage, read_parquet
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import git_revision, recommender_of, tables_version
from assets.training.train import train

NAME: Final = "cold_items"
SPLIT: Final = "held_out_items"
FORMAT: Final = 1
"""Of the code behind a trial's numbers: raise it when training or the task changes, and every trial is run again."""

VARIANTS: Final = (
    Variant(HRNN_META, "hrnn_meta"),
    # Vanilla training of eq. 2, both halves always added up; served like the others, with lambda = 1.
    Variant("hrnn_meta, lambda fixed at 1/2", "hrnn_meta", {"head.fixed": 0.5}),
    # No item is scored by what is known of its id alone: a net for cold items only.
    Variant("hrnn_meta, lambda fixed at 1", "hrnn_meta", {"head.fixed": 1.0}),
    Variant("two_tower, features only", "two_tower", {"items.ids": False}),
)
TRENDS: Final = (0.0, 1.0)
"""tau of eq. 5. Held-out items have no counts, so it does not tell them apart when they are served; but what counts
explain in training, features need not."""

CHOSEN_BY: Final = "NDCG@25"
AGAIN_SHARE: Final = 0.5
AGAIN_SEED: Final = 1
"""Of the items that are held out once more, to choose by: as many as the paper holds out, drawn with this seed."""


@dataclass(frozen=True)
class Task:
    """Tables and the cases on them.

    Attributes:
        name: ``test``, or ``again`` for items of train time held out once more.
    """

    name: str
    tables: DatasetTables
    cases: ColdCases


def make(storage: Storage, settings: Settings, progress: Callable[[str], object]) -> pd.DataFrame:
    """Choose, run what is missing, write the study's files, and return its table.

    Raises:
        ConfigError: under another kind of split, or for a variant that cannot be configured.
        ValueError: when there is no case.
        FloatingPointError: when a training diverges; what was finished before is kept.
    """
    if settings.split.kind != SPLIT:
        raise ConfigError(f"the study {NAME} needs split.kind {SPLIT}, it is {settings.split.kind}: use `thaw studies`")
    for variant in VARIANTS:
        variant.preset(settings)  # a wrong key of the last variant should not cost the training of the first
    tables = load_tables(storage)
    test, again = Task("test", tables, cold_cases(tables)), _again(tables, settings)
    choice = {tau: _measure(storage, again, with_trend(VARIANTS[0], tau), settings, progress)[:1] for tau in TRENDS}
    tau = chosen(choice)
    progress(f"tau {tau:g} chosen by {CHOSEN_BY} on items held out once more")
    wanted = [with_trend(variant, tau) for variant in VARIANTS]
    values = {variant.name: _measure(storage, test, variant, settings, progress) for variant in wanted}
    table = cold_table({RANDOM: [random_metrics(test.cases)], **values}, test.cases.users, settings)
    again_table = cold_table(
        {RANDOM: [random_metrics(again.cases)], **{f"tau {each:g}": own for each, own in choice.items()}},
        again.cases.users,
        settings,
    )
    config = {
        "variants": {each.name: each.preset(settings).model_dump(mode="json") for each in wanted},
        "tau": tau,
        "chosen by": again_table.to_dict("records"),
    }
    text = markdown(table, again_table, tau, test.cases, settings)
    write_study(storage, settings, NAME, table, text, config=config)
    return table


def chosen(choice: Mapping[float, Sequence[Floats]]) -> float:
    """The tau with the highest mean of :data:`CHOSEN_BY`; of equal ones the first.

    Args:
        choice: tau -> per seed [U, 5] of :data:`assets.evaluation.studies.cold_cases.METRICS`.
    """
    column = METRICS.index(CHOSEN_BY)
    return max(choice, key=lambda tau: float(np.mean([values[:, column].mean() for values in choice[tau]])))


def _again(tables: DatasetTables, settings: Settings) -> Task:
    nested = held_out_again(tables, AGAIN_SHARE, settings.split.validation_fraction, AGAIN_SEED)
    return Task("again", nested, cold_cases(nested))


def _measure(
    storage: Storage, task: Task, variant: Variant, settings: Settings, progress: Callable[[str], object]
) -> list[Floats]:
    """Per seed [U, 5]: what is known, and what is not after training it. Items held out again take one seed."""
    wanted = trials([variant], settings)
    return [_known_or_made(storage, task, trial, settings, progress) for trial in _seeds(task, wanted)]


def _seeds(task: Task, wanted: list[Trial]) -> list[Trial]:
    return wanted if task.name == "test" else wanted[:1]


def trial_path(storage: Storage, task: str, trial: Trial) -> Path:
    """Numbers of one training, a row per user."""
    return storage.studies / NAME / f"{task}-{trial.stem}.parquet"


def _known_or_made(
    storage: Storage, task: Task, trial: Trial, settings: Settings, progress: Callable[[str], object]
) -> Floats:
    path, basis = trial_path(storage, task.name, trial), basis_of(storage, trial, settings)
    if kept_account(path, basis) is not None:
        return read_parquet(path)[list(METRICS)].to_numpy()
    progress(f"{task.name}: {trial.variant.name}, seed {trial.seed}")
    trained = train(trial.variant.model, task.tables, trial.variant.settings(settings, trial.seed))
    values = cold_metrics(recommender_of(trained, task.tables), task.tables, task.cases)
    users = task.tables.users[Columns.USER].to_numpy(dtype=object)[task.cases.users]
    frame = pd.DataFrame({Columns.USER: users, **dict(zip(METRICS, values.T, strict=True))})
    write_with_account(path, frame, {"basis": basis, "git_revision": git_revision()})
    means = " ".join(f"{name} {value:.3f}" for name, value in zip(METRICS, values.mean(axis=0), strict=True))
    progress(f"{task.name}: {trial.variant.name}, seed {trial.seed}: {means}, best epoch {trained.best_epoch}")
    return values


def basis_of(storage: Storage, trial: Trial, settings: Settings) -> dict[str, Any]:
    """What a trial's numbers rest on beside its seed, JSON values."""
    return {
        "format": FORMAT,
        "tables": tables_version(storage),
        "split": settings.split.model_dump(mode="json"),
        "again": [AGAIN_SHARE, AGAIN_SEED],
        "config": json.loads(trial.config),
    }
