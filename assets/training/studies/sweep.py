"""Hyper-parameter sweeps on the validation tail. No trial knows anything from the cutoff on.

A trial is the first phase of training (:mod:`assets.training.train`) under one configuration and seed, on what
:func:`assets.training.past.before_cutoff` leaves. Finished trials are kept in ``sweeps/<model>.parquet`` and never run
twice for the same tables, so a sweep that was stopped goes on where it was, and a grid that grew runs only what is new.
A trial is known by its whole configuration, not by what it overrides: presets move on, usually because of a sweep.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from assets.config import ConfigError, Settings, TrainingConfig
from assets.storage import Storage, locked, read_parquet, write_parquet
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import git_revision, tables_version
from assets.training.loop import resolve_device
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset, preset
from assets.training.seeds import for_seed
from assets.training.studies.grids import Grid, Overrides
from assets.training.studies.slices import not_measured, slice_ndcg
from assets.training.train import fit_before_validation
from assets.training.validation import validator

LOG = logging.getLogger(__name__)
FORMAT: Final = 1
"""Of the code behind a trial: raise it when training or validation changes, and every trial is run again."""

NOT_MEASURED: Final = frozenset({"epoch", "loss"})


@dataclass(frozen=True)
class Trial:
    """One training to be judged.

    Attributes:
        model: registered name.
        overrides: as the grid has them.
        seed: of the training.
        config: what they come to, on top of the dataset's preset and ``training.hyper_parameters``.
    """

    model: str
    overrides: Overrides
    seed: int
    config: FitPreset

    @property
    def key(self) -> tuple[str, int]:
        """By which a trial is known: the whole configuration as JSON, and the seed."""
        return json.dumps(self.config.model_dump(mode="json"), sort_keys=True), self.seed


def trials(model: str, grid: Grid, settings: Settings) -> list[Trial]:
    """Every trial of a grid in its order, each configuration once per seed of ``training.seeds``.

    Overrides come on top of ``training.hyper_parameters``; ``training.max_epochs``, where set, wins over both.

    Raises:
        ConfigError: before anything is run, for a hyper-parameter that does not exist, or a model without any.
    """
    first = settings.training.seed
    found: dict[tuple[str, int], Trial] = {}
    for overrides in grid:
        own = {**settings.training.hyper_parameters.get(model, {}), **overrides}
        training = settings.training.model_copy(update={"hyper_parameters": {model: own}})
        config = preset(model, training, settings.dataset)
        if not isinstance(config, FitPreset):
            raise ConfigError(f"{model} is a counting model: nothing of it is fitted, so there is nothing to sweep")
        for seed in range(first, first + settings.training.seeds):
            trial = Trial(model, overrides, seed, config)
            found.setdefault(trial.key, trial)
    return list(found.values())


def run_trial(trial: Trial, past: DatasetTables, settings: Settings) -> dict[str, Any]:
    """Fit before the validation tail and measure on it; a loss that is not finite is a result, not an error.

    Args:
        past: :func:`assets.training.past.before_cutoff`'s tables.
    """
    started, seeded = time.perf_counter(), for_seed(settings, trial.seed)
    row: dict[str, Any] = {"model": trial.model, "overrides": _json(trial.overrides), "seed": trial.seed}
    try:
        fitted, recommender = fit_before_validation(trial.config, past, validator(past, trial.seed), seeded)
    except FloatingPointError as error:
        row |= {"error": str(error), "epochs": 0, "best_epoch": 0, "parameters": 0, trial.config.monitor: math.nan}
        row |= not_measured()
    else:
        row |= {
            "error": "",
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "parameters": sum(weight.numel() for weight in fitted.net.state_dict().values()),
            **{name: value for name, value in fitted.best.items() if name not in NOT_MEASURED},
            **slice_ndcg(recommender, past, settings.split),
        }
    return row | {
        "seconds": time.perf_counter() - started,
        "device": resolve_device(settings.training.device),
        "git_revision": git_revision(),
        "config": trial.key[0],
    }


def sweep(
    storage: Storage, model: str, grid: Grid, settings: Settings, progress: Callable[[str], None] = LOG.info
) -> pd.DataFrame:
    """Run the trials of a grid that are not known yet, and return all of them, a row each, in the order of the grid.

    Raises:
        ConfigError: for a grid that cannot be configured.
        FileNotFoundError: when there are no tables.
    """
    wanted, basis = trials(model, grid, settings), basis_of(storage, settings)
    held = _by_key(read_trials(storage, model, basis))
    missing = [trial for trial in wanted if trial.key not in held]
    progress(f"{model}: {len(wanted)} trials, {len(wanted) - len(missing)} of them known")
    if missing:
        past = before_cutoff(load_tables(storage))
        for number, trial in enumerate(missing, 1):
            row = run_trial(trial, past, settings)
            _add(storage, row, basis)
            progress(f"{model} {number}/{len(missing)} {_line(row, trial)}")
        held = _by_key(read_trials(storage, model, basis))
    # How a grid words a configuration changes; what was measured under it does not.
    rows = [{**held[trial.key], "overrides": _json(trial.overrides)} for trial in wanted]
    return pd.DataFrame(rows)


def basis_of(storage: Storage, settings: Settings) -> str:
    """What trials rest on beside their configuration, as JSON: other tables, splits or code make other results."""
    return _json({"format": FORMAT, "split": settings.split.model_dump(mode="json"), "tables": tables_version(storage)})


def trials_path(storage: Storage, model: str) -> Path:
    """Every finished trial of a model."""
    return storage.sweeps / f"{model}.parquet"


def read_trials(storage: Storage, model: str, basis: str) -> pd.DataFrame:
    """The finished trials of a model that rest on ``basis``; empty where there are none."""
    path = trials_path(storage, model)
    if not path.exists():
        return pd.DataFrame()
    rows = read_parquet(path)
    return rows[rows["basis"] == basis].reset_index(drop=True)


def changes(config: str, model: str, dataset: str) -> dict[str, Any]:
    """What a trial's configuration (JSON) changes of the dataset's preset, by dotted path."""
    default, own = (
        _flat(values)
        for values in (preset(model, TrainingConfig(), dataset).model_dump(mode="json"), json.loads(config))
    )
    return {path.removeprefix("net."): value for path, value in own.items() if default.get(path, ...) != value}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _add(storage: Storage, row: dict[str, Any], basis: str) -> None:
    """Append a trial; those of another basis go. Under a lock: two runs may sweep one model."""
    path = trials_path(storage, row["model"])
    with locked(path.with_suffix(".lock")):
        held = read_trials(storage, row["model"], basis).to_dict("records")
        write_parquet(path, pd.DataFrame([*held, {**row, "basis": basis}]))


def _by_key(rows: pd.DataFrame) -> dict[tuple[str, int], dict[str, Any]]:
    return {
        (str(row["config"]), int(row["seed"])): {str(name): value for name, value in row.items()}
        for row in rows.to_dict("records")
    }


def _line(row: Mapping[str, Any], trial: Trial) -> str:
    what = f"seed {row['seed']} {row['overrides']}"
    if row["error"]:
        return f"{what}: {row['error']}"
    return (
        f"{what}: {trial.config.monitor} {row[trial.config.monitor]:.4f} after {row['best_epoch']} of {row['epochs']} "
        f"epochs, {row['seconds']:.1f} s"
    )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
