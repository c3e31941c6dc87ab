"""The training loop, on Lightning.

Its overhead was measured at 0.3-0.9 ms a step (plain torch 0.36 ms on a tiny net); a step here takes tens of
milliseconds. Logged per epoch, not per step.
"""

import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar
from torch import Tensor
from torch.utils import deterministic

from assets.training.batches import BatchSource
from assets.training.distributed.team import current_team
from assets.training.optimizers import build_optimizer
from assets.training.presets import FitPreset
from models.base import Movable, Net

LOG = logging.getLogger(__name__)
Validate = Callable[[Net], dict[str, float]]


@dataclass(frozen=True)
class Fitted:
    """A fitted net on the CPU.

    Attributes:
        net: with the best epoch's weights, or the last one's where nothing was validated or the preset keeps the last.
        history: per epoch: ``epoch`` (from 1), ``loss`` (mean over batches) and the validation metrics.
        best_epoch: number of epochs behind the weights.
    """

    net: Net
    history: list[dict[str, float]]
    best_epoch: int

    @property
    def best(self) -> dict[str, float]:
        """The history's entry of the best epoch."""
        return self.history[self.best_epoch - 1]


def resolve_device(wanted: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` takes CUDA where there is one.

    Raises:
        RuntimeError: when CUDA is asked for and absent.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise RuntimeError("training.device is 'cuda' but torch finds no CUDA device; use 'auto' or 'cpu'")
    return "cuda" if available and wanted != "cpu" else "cpu"


@contextmanager
def seeded(seed: int, device: str, threads: int = 1) -> Iterator[None]:
    """Seed python, numpy and torch, and fix what else a result on the CPU depends on; the old state comes back after.

    On the CPU only deterministic kernels are used, on ``threads`` threads.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    only_deterministic = torch.are_deterministic_algorithms_enabled()
    old_threads = torch.get_num_threads()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from the legacy global generator
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(device == "cpu")
    # On by default with the above, to catch reads of uninitialised memory; it cost 12 % of a step here.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(old_threads)
        torch.use_deterministic_algorithms(only_deterministic)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class _Module(lightning.LightningModule):
    def __init__(self, net: Net, preset: FitPreset) -> None:
        super().__init__()
        self.net = net
        self.preset = preset

    def on_train_epoch_start(self) -> None:
        self.net.begin_epoch(self.current_epoch + 1, self.preset.max_epochs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        del batch_idx
        loss = self.net.loss(batch)
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=1)
        return loss

    def configure_optimizers(self) -> Any:
        preset = self.preset
        optimizer = build_optimizer(self.net, preset)
        # Per epoch and by the planned number of epochs, so that a refit of fewer epochs repeats the same steps.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / preset.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def transfer_batch_to_device(self, batch: Movable, device: torch.device, dataloader_idx: int) -> Movable:
        del dataloader_idx
        return batch.to(device)


class _Epochs(lightning.Callback):
    """Validates after every epoch, logs, and keeps the best epoch's weights in memory."""

    def __init__(self, validate: Validate | None, monitor: str, keep: str) -> None:
        self.validate = validate
        self.keep = keep
        self.monitor = monitor
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        net: Net = pl_module.net  # type: ignore[assignment]
        entry = {"epoch": float(len(self.history) + 1), "loss": float(trainer.callback_metrics["loss"])}
        if not np.isfinite(entry["loss"]):
            raise FloatingPointError(f"loss is {entry['loss']} in epoch {entry['epoch']:.0f}: lower the learning rate")
        if self.validate is not None:
            entry |= self.validate(net)
            net.train()
            if self.keep == "best" and not np.isfinite(entry[self.monitor]):
                # Neither greater nor smaller than anything: the first epoch would be kept without a word.
                raise FloatingPointError(
                    f"validation {self.monitor} is {entry[self.monitor]} in epoch {entry['epoch']:.0f}, so no epoch can"
                    " be chosen by it: a likelihood needs validation targets that are on the catalog at their refresh"
                    " (raise split.validation_fraction, or set the model's hyper-parameter monitor to ndcg@10)"
                )
            pl_module.log(self.monitor, entry[self.monitor], prog_bar=True)
        self.history.append(entry)
        if self.validate is None or self.keep == "last":
            self.best_epoch = len(self.history)
        elif self.best_epoch == 0 or entry[self.monitor] > self.history[self.best_epoch - 1][self.monitor]:
            self.best_epoch = len(self.history)
            self.best_weights = {name: value.detach().clone() for name, value in net.state_dict().items()}
        LOG.info(" ".join(f"{name}={value:.4g}" for name, value in entry.items()))


def fit(
    net: Net,
    batches: BatchSource,
    preset: FitPreset,
    device: str,
    epochs: int,
    validate: Validate | None = None,
    monitor: str = "",
) -> Fitted:
    """Train ``net`` in place.

    Args:
        batches: one iteration is one epoch.
        device: ``cpu`` or ``cuda``.
        epochs: at most; all of them where nothing is validated, or the last epoch is kept whatever it scores.
        validate: called after each epoch with the net (in any mode); the highest ``monitor`` wins, and training stops
            ``preset.patience`` epochs after it.
        monitor: key of what ``validate`` returns.

    Raises:
        FloatingPointError: when the loss is not finite, or ``monitor`` is not where the best epoch is to be kept.
    """
    team = current_team()
    recorder = _Epochs(team.agreed(validate), monitor, preset.keep)
    callbacks: list[lightning.Callback] = [recorder, *team.callbacks()]
    if validate is not None and preset.keep == "best":
        callbacks.append(EarlyStopping(monitor, mode="max", patience=preset.patience, check_on_train_epoch_end=True))
    bar = sys.stderr.isatty()  # in a log file a bar is noise: there the line per epoch shows progress
    with _quiet(), team.at_work_on(net):
        trainer = lightning.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            **team.arguments(device),
            max_epochs=epochs,
            precision="bf16-mixed" if preset.precision == "bfloat16" else "32-true",
            callbacks=[*callbacks, *([TQDMProgressBar(leave=False)] if bar else [])],
            enable_progress_bar=bar,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(_Module(net, preset), train_dataloaders=_Once(batches))
        net.cpu()
        if recorder.best_weights:
            net.load_state_dict(recorder.best_weights)
    return Fitted(net.eval(), recorder.history, recorder.best_epoch)


class _Once(Iterable[Any]):
    """Hides every attribute of a batch source but the two that Lightning needs."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source)


@contextmanager
def _quiet() -> Iterator[None]:
    """No tips, no device banner, no advice about workers that precomputed batches do not need."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
