"""The training protocol: select on the end of train time, then refit on all of it.

1. Fit on the engagements before the validation tail; after each epoch rank the tail; stop early; note the best epoch.
2. Refit from the same seed on everything before the cutoff, for that many epochs. This is the checkpoint.

Id maps and vocabularies of each phase hold only what that phase trains on. Both phases get
:func:`assets.training.past.before_cutoff`'s tables and so cannot see the future.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from assets.config import Settings
from assets.stream import DatasetTables, EngagementStream, rows_in
from assets.training.batches import Draws, TimedBatches
from assets.training.counting import CountConfig, CountingRecommender
from assets.training.encoding import Encodings, Universe
from assets.training.loop import Fitted, Validate, fit, resolve_device, seeded
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset, preset
from assets.training.recommender import NetRecommender
from assets.training.refresh import Refresher
from assets.training.registry import MODELS
from assets.training.validation import Validator, validator
from models.base import Net
from models.content import fit_content
from models.registry import build_net

History = list[dict[str, float]]
Made = TypeVar("Made")
Check = Callable[[NetRecommender], dict[str, float]]
"""What is measured of a net after each epoch, by name."""


@dataclass(frozen=True)
class Spent:
    """Seconds of wall-clock time, and of this process's processor time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Trained:
    """What a checkpoint is made of.

    Attributes:
        model: registered name.
        kind: ``net`` or ``counting``.
        seed: of the training.
        config: the preset, or the counting configuration with its smoothing, as JSON values.
        metrics: ``validation``: of the first phase's best epoch; of the counts for a counting model.
        history: per phase (``fit``, ``refit``), per epoch; empty for a counting model.
        best_epoch: epochs of the refit; 0 for a counting model.
        bounds: ``cutoff`` and ``validation_start``, ISO 8601.
        encodings: of the refit.
        weights: of the refit, by name.
        spent: per phase, on its epochs and their validation; no part of a checkpoint, which is the same whatever the
            machine was at.
    """

    model: str
    kind: str
    seed: int
    config: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    history: dict[str, History]
    best_epoch: int
    bounds: dict[str, str]
    encodings: Encodings | None = None
    weights: dict[str, Tensor] | None = None
    spent: dict[str, Spent] = field(default_factory=dict, compare=False)


def train(model: str, tables: DatasetTables, settings: Settings) -> Trained:
    """Train or configure one registered model.

    Raises:
        ConfigError: for hyper-parameters that do not exist.
        ValueError: when there is nothing to train or validate on.
    """
    config = preset(model, settings.training, settings.dataset)
    past = before_cutoff(tables)
    check = validator(past, settings.training.seed)
    if isinstance(config, FitPreset):
        return train_net(model, config, past, check, config.monitor, settings)
    return _count(model, config, past, check, settings)


def fit_before_validation(
    config: FitPreset, past: DatasetTables, check: Validator, settings: Settings
) -> tuple[Fitted, NetRecommender]:
    """The first phase alone: what hyper-parameters are chosen by.

    Args:
        past: :func:`assets.training.past.before_cutoff`'s tables.

    Returns:
        The fitted net with its best epoch's weights, and the same as a recommender over ``past``.
    """
    phase = _Phase(config, past, config.monitor, settings)
    fitted, encodings, _ = phase.run(past.stream.before(past.validation_start), config.max_epochs, check)
    return fitted, NetRecommender(fitted.net, phase.refresher(fitted.net, encodings, past.validation_start))


def _bounds(past: DatasetTables) -> dict[str, str]:
    return {"cutoff": str(past.cutoff), "validation_start": str(past.validation_start)}


def _count(model: str, config: CountConfig, past: DatasetTables, check: Validator, settings: Settings) -> Trained:
    smoothing = settings.evaluation.smoothing
    selected = CountingRecommender(config, smoothing, past.validation_start)
    return Trained(
        model=model,
        kind=MODELS[model].kind,
        seed=settings.training.seed,
        config={**config.model_dump(mode="json"), "smoothing": smoothing},
        metrics={"validation": check(selected)},
        history={"fit": [], "refit": []},
        best_epoch=0,
        bounds=_bounds(past),
    )


def train_net(
    model: str, config: FitPreset, past: DatasetTables, check: Check, monitor: str, settings: Settings
) -> Trained:
    """Both phases of one net, whatever its epochs are judged by.

    Args:
        model: what the result is called.
        past: :func:`assets.training.past.before_cutoff`'s tables.
        check: called with the net over ``past`` after each epoch of the first phase.
        monitor: of what ``check`` gives, whose highest value is the best epoch's.

    Raises:
        ValueError: when there is nothing to train on.
    """
    phase = _Phase(config, past, monitor, settings)
    known = past.stream.before(past.validation_start)
    selected, _, fit_spent = phase.run(known, config.max_epochs, check)
    final, encodings, refit_spent = phase.run(past.stream, selected.best_epoch, None)
    best = selected.best
    return Trained(
        model=model,
        kind="net",
        seed=settings.training.seed,
        config=config.model_dump(mode="json"),
        metrics={"validation": {name: value for name, value in best.items() if name not in {"epoch", "loss"}}},
        history={"fit": selected.history, "refit": final.history},
        best_epoch=selected.best_epoch,
        bounds=_bounds(past),
        encodings=encodings,
        weights={name: value.detach().cpu().contiguous() for name, value in final.net.state_dict().items()},
        spent={"fit": fit_spent, "refit": refit_spent},
    )


def _timed(make: Callable[[], Made]) -> tuple[Made, Spent]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = make()
    return made, Spent(time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True)
class _Phase:
    config: FitPreset
    past: DatasetTables
    monitor: str
    settings: Settings

    def run(self, known: EngagementStream, epochs: int, check: Check | None) -> tuple[Fitted, Encodings, Spent]:
        """Encode and fit on ``known``, from the seed, validating with ``check`` if there is one.

        Returns:
            What was fitted, its encodings, and what fitting took, encoding left out.
        """
        device = resolve_device(self.settings.training.device)
        until = self.past.cutoff if check is None else self.past.validation_start
        with seeded(self.settings.training.seed, device, self.config.threads):
            ready = prepare(self.config, self.past, known, until, self.settings)
            validate = _validate(check, ready.batches.refresher) if check is not None else None
            fitted, spent = _timed(
                lambda: fit(ready.net, ready.batches, self.config, device, epochs, validate, self.monitor)
            )
        return fitted, ready.encodings, spent

    def refresher(self, net: Net, encodings: Encodings, until: np.datetime64) -> Refresher:
        """Makes the item inputs of ``net``, trained until then."""
        return _refresher(self.config, self.past, net, encodings, until)


@dataclass(frozen=True)
class Ready:
    """A fresh net and what it is about to be fitted on."""

    net: Net
    batches: TimedBatches
    encodings: Encodings


def prepare(
    config: FitPreset,
    past: DatasetTables,
    known: EngagementStream,
    until: np.datetime64,
    settings: Settings,
    since: np.datetime64 | None = None,
) -> Ready:
    """Encode ``known`` and build the net and its batches; weights come from torch's global generator.

    Args:
        until: end of ``known``.
        since: where targets begin, if not with ``known``: ids, vocabularies, scales and counts are of the engagements
            from then on, histories and trends also of those before.
    """
    split, taught = settings.split, known.since(since)
    encodings = Encodings.fit(past, taught, split.qualified_user_min)
    net = build_net(config.net, encodings.sizes)
    events = encodings.event_types.encode(taught.event_types)[taught.events]
    net.fit_scales(torch.from_numpy(taught.values), torch.from_numpy(events))
    refresher = replace(_refresher(config, past, net, encodings, until), trained_from=since)
    fit_content(net, refresher.universe.item_content[torch.from_numpy(rows_in(taught.items, taught.n_items))])
    draws = Draws(config.draws, config.negatives, config.negative_power, split.tail_max_count)
    batches = TimedBatches(
        known, past.catalog, refresher, draws, net.history_length, config.batch_size, settings.training.seed, since
    )
    return Ready(net, batches, encodings)


def _refresher(
    config: FitPreset, past: DatasetTables, net: Net, encodings: Encodings, until: np.datetime64
) -> Refresher:
    return Refresher(
        universe=Universe.encode(encodings, past),
        trained_until=until,
        history_length=net.item_history_length,
        trend=config.counts,
    )


def _validate(check: Check, refresher: Refresher) -> Validate:
    def run(net: Net) -> dict[str, float]:
        return check(NetRecommender(net, refresher))

    return run
