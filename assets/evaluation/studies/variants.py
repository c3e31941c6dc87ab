"""Variants of models: each trained and ranked on the same test cases, once.

A variant is a registered model with some hyper-parameters replaced. Its training is that of any model
(:mod:`assets.training.train`), its ranking the headline protocol of :mod:`assets.evaluation.protocol` on cases whose
user has history. Finished ones are kept per configuration and seed, with what they rest on, so a study that was stopped
goes on where it was, and two studies share what both want.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.evaluation.files import read_account, write_with_account
from assets.evaluation.protocol import CaseSet, build_cases, drawn_rows, rank_under_protocols, taken
from assets.evaluation.run import fallback
from assets.evaluation.studies.files import kept_account
from assets.schema import UserHistory
from assets.storage import Storage, read_parquet
from assets.stream import DatasetTables, Int, load_tables
from assets.training.checkpoints import git_revision, recommender_of, tables_version
from assets.training.presets import Preset, preset
from assets.training.seeds import for_seed, seeds_of
from assets.training.train import Trained, train

LOG = logging.getLogger(__name__)
FORMAT: Final = 1
"""Of the code behind a variant's ranks: raise it when training or ranking changes, and every variant is run again."""

CASES_SEED: Final = 0
"""Of the draw of cases: the same ones for every variant and every seed of training."""


@dataclass(frozen=True)
class Variant:
    """A model with a name of its own.

    Attributes:
        name: in tables; unique within a study.
        model: registered name.
        overrides: as in ``training.hyper_parameters[model]``, on top of those.
    """

    name: str
    model: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, settings: Settings, seed: int) -> Settings:
        """Those that it is trained under."""
        own = {**settings.training.hyper_parameters.get(self.model, {}), **self.overrides}
        every = {**settings.training.hyper_parameters, self.model: own}
        training = settings.training.model_copy(update={"hyper_parameters": every})
        return for_seed(settings.model_copy(update={"training": training}), seed)

    def preset(self, settings: Settings) -> Preset:
        """What the overrides come to.

        Raises:
            ConfigError: for a model or hyper-parameter that does not exist, or a bad value.
        """
        return preset(self.model, self.settings(settings, 0).training, settings.dataset)


def with_trend(variant: Variant, tau: float) -> Variant:
    """The variant trained and served with this tau; 0 is without a trend."""
    return replace(variant, overrides={**variant.overrides, "trend": {"weight": tau, "learned": False}})


@dataclass(frozen=True)
class Trial:
    """A variant under one seed.

    Attributes:
        config: JSON of its whole configuration, by which it is known whatever a study calls it.
    """

    variant: Variant
    seed: int
    config: str

    @property
    def stem(self) -> str:
        """Of its file."""
        digest = hashlib.sha256(self.config.encode()).hexdigest()
        return f"{self.variant.model}-{digest[:16]}-seed-{self.seed}"


@dataclass(frozen=True)
class Run:
    """A finished trial.

    Attributes:
        ranks: a row per case, as of :func:`assets.evaluation.protocol.rank_under_protocols`; ``model`` is the variant's
            name.
        measured: ``seconds`` of both phases of training, validation among them; ``epoch_seconds`` and
            ``epoch_cpu_seconds`` of the refit's epochs; ``epochs`` fitted, ``best_epoch`` of them, ``parameters``.
    """

    trial: Trial
    ranks: pd.DataFrame
    measured: dict[str, float]
    git_revision: str


def trials(variants: Sequence[Variant], settings: Settings) -> list[Trial]:
    """Every variant under every seed of ``training.seeds``; a counting model, which draws nothing, under the first.

    Raises:
        ConfigError: before anything is run, for a variant that cannot be configured.
        ValueError: when two variants have one name.
    """
    names = [variant.name for variant in variants]
    if len(set(names)) != len(names):
        raise ValueError(f"two variants have one name in {', '.join(names)}")
    found = []
    for variant in variants:
        config = json.dumps(variant.preset(settings).model_dump(mode="json"), sort_keys=True)
        found += [Trial(variant, seed, config) for seed in seeds_of(variant.model, settings)]
    return found


def run_variants(
    storage: Storage,
    variants: Sequence[Variant],
    settings: Settings,
    progress: Callable[[str], object] = LOG.info,
) -> list[Run]:
    """Train and rank what is not known yet; every trial's run, in the order of :func:`trials`.

    Raises:
        ConfigError: for a variant that cannot be configured.
        FileNotFoundError: when there are no tables.
        FloatingPointError: when a training diverges; what was finished before is kept.
    """
    wanted, basis = trials(variants, settings), basis_of(storage, settings)
    missing = {trial.stem: trial for trial in wanted if not is_known(storage, trial, basis)}
    progress(f"{len(wanted)} trainings, {len(missing)} of them to be run")
    if missing:
        tables = load_tables(storage)
        cases = history_cases(storage.read_table("test_cases"), tables, settings)
        for number, trial in enumerate(missing.values(), 1):
            progress(f"{number}/{len(missing)} {trial.variant.name}, seed {trial.seed}")
            _write(storage, trial, basis, _run(trial, tables, cases, settings))
    return [_read(storage, trial) for trial in wanted]


def history_cases(test_cases: pd.DataFrame, tables: DatasetTables, settings: Settings) -> CaseSet:
    """The test cases whose user has history under the headline protocol, at most ``studies.max_cases``, drawn evenly.

    Raises:
        ValueError: when there is none.
    """
    every = build_cases(test_cases, tables)
    known_at = every.cases.timestamps
    if settings.evaluation.headline.user_history is UserHistory.FROZEN:
        known_at = np.minimum(known_at, tables.cutoff)
    begins, ends = tables.stream.history_bounds(every.cases.users, known_at)
    rows: Int = np.flatnonzero(ends > begins)
    if len(rows) == 0:
        raise ValueError(f"none of {len(every)} test cases is of a user with history: there is nothing to rank")
    limit = settings.studies.max_cases
    if len(rows) > limit:
        rows = rows[drawn_rows(len(rows), limit, CASES_SEED)]
    return taken(every, rows)


def basis_of(storage: Storage, settings: Settings) -> dict[str, Any]:
    """What ranks rest on beside their configuration and seed, JSON values."""
    reference = preset("decayed_popularity", settings.training, settings.dataset)
    return {
        "format": FORMAT,
        "tables": tables_version(storage),
        "split": settings.split.model_dump(mode="json"),
        "protocol": settings.evaluation.headline.model_dump(mode="json"),
        "smoothing": settings.evaluation.smoothing,
        "fallback": reference.model_dump(mode="json"),
        "max_cases": settings.studies.max_cases,
    }


def runs_path(storage: Storage, trial: Trial) -> Path:
    """Ranks of one trial."""
    return storage.studies / "variants" / f"{trial.stem}.parquet"


def is_known(storage: Storage, trial: Trial, basis: Mapping[str, Any]) -> bool:
    """Whether the trial was finished on this basis."""
    return kept_account(runs_path(storage, trial), basis) is not None


def _run(trial: Trial, tables: DatasetTables, cases: CaseSet, settings: Settings) -> Run:
    own = trial.variant.settings(settings, trial.seed)
    trained = train(trial.variant.model, tables, own)
    ranks = rank_under_protocols(
        recommender_of(trained, tables),
        fallback(tables, settings),
        cases,
        tables,
        [settings.evaluation.headline],
        {"dataset": settings.dataset, "model": trial.variant.name, "seed": trial.seed},
    )
    return Run(trial, ranks, _measured(trained), git_revision())


def _measured(trained: Trained) -> dict[str, float]:
    if trained.weights is None:
        return {}
    refit, epochs = trained.spent["refit"], trained.best_epoch
    return {
        "seconds": sum(phase.wall for phase in trained.spent.values()),
        "epoch_seconds": refit.wall / epochs,
        "epoch_cpu_seconds": refit.cpu / epochs,
        "epochs": len(trained.history["fit"]),
        "best_epoch": epochs,
        "parameters": sum(weight.numel() for weight in trained.weights.values()),
    }


def _write(storage: Storage, trial: Trial, basis: Mapping[str, Any], run: Run) -> None:
    account = {"basis": basis, "config": trial.config, "measured": run.measured, "git_revision": run.git_revision}
    write_with_account(runs_path(storage, trial), run.ranks, account)


def _read(storage: Storage, trial: Trial) -> Run:
    path = runs_path(storage, trial)
    account = read_account(path, "run the study")
    # A configuration keeps its ranks under whatever name a study gives it.
    ranks = read_parquet(path).assign(model=trial.variant.name)
    return Run(trial, ranks, account["measured"], account["git_revision"])
