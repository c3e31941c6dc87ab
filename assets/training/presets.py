"""Hyper-parameters per model, typed; chosen on the validation tails of MovieLens-100K and MovieTweetings-100K only.

``settings.training.hyper_parameters[model]`` replaces single fields, those of the net (``net``) by their own names too:
``{"sasrec": {"learning_rate": 0.002, "dim": 32}}``.
"""

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import torch
from pydantic import Field, ValidationError

from assets.config import ConfigError, StrictModel, TrainingConfig
from assets.stream import EngagementStream, Int
from assets.training.batches import BatchSource, PairBatches, SequenceBatches, Sequences
from assets.training.counting import CountAll, CountDecayed, CountRecent
from assets.training.encoding import Encodings, Universe
from assets.training.negatives import NegativeSampler, NoNegatives, OneNegativeEach, SharedNegatives, log_frequencies
from models.base import NetConfig
from models.sasrec import SASRecConfig
from models.two_tower import TwoTowerConfig


class FitPreset(StrictModel, ABC):
    """What every net's training needs."""

    max_epochs: int = Field(12, ge=1, description="planned epochs; the learning rate falls linearly to 0 over them")
    patience: int = Field(4, ge=1, description="epochs without a better validation NDCG@10 before stopping")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="AdamW's, decoupled")
    batch_size: int = Field(1024, ge=1, description="targets per step")
    # Steps this small gain nothing from more: 20 epochs of two_tower on MovieTweetings took 28 CPU seconds with one
    # thread and 115 with two on two busy cores. And sums are split by thread: weights would depend on the machine.
    threads: int = Field(1, ge=1, description="CPU threads; equal seeds give equal weights for equal threads")
    net: NetConfig

    @abstractmethod
    def batches(self, known: EngagementStream, encodings: Encodings, universe: Universe, seed: int) -> BatchSource:
        """Training batches over the engagements ``known``."""


class SASRecPreset(FitPreset):
    """SASRec's; the negatives are read by the losses that sample.

    Sampled, not full, softmax. Validation NDCG@10 on MovieTweetings (5,500 items), one seed, this schedule: .082 at 2.5
    CPU seconds an epoch against .083 at 6.1 (2,048 draws by power 0.5: .084 at 3.1). On MovieLens (1,500 items) an
    epoch costs the same. Epochs differ by some .005 to .01 by chance, hence the patience. Sixteen epochs
    reached .087 and .077 (ten: .082 and .073); the full softmax at a constant rate .096 in thirteen, at twice the time.
    """

    max_epochs: int = Field(16, ge=1, description="planned epochs; the learning rate falls linearly to 0 over them")
    patience: int = Field(5, ge=1, description="epochs without a better validation NDCG@10 before stopping")
    learning_rate: float = Field(3e-3, gt=0)
    batch_size: int = Field(1024, ge=1, description="targets per step")
    negatives: int = Field(1024, ge=1, description="shared draws per step of the sampled softmax")
    negative_power: float = Field(0.75, ge=0, description="negatives are drawn by (count + 1) ** this; 0 is uniform")
    net: SASRecConfig = SASRecConfig()

    def batches(self, known: EngagementStream, encodings: Encodings, universe: Universe, seed: int) -> SequenceBatches:
        """Windows of user sequences, with the negatives that the loss draws."""
        dense = universe.item_ids.numpy()
        counts = np.bincount(dense[known.items], minlength=encodings.items.size)
        sequences = Sequences.build(known, dense, self.net.history_length)
        return SequenceBatches(sequences, self._sampler(counts), self.batch_size, seed)

    def _sampler(self, counts: Int) -> NegativeSampler:
        log_q = log_frequencies(counts, self.negative_power)
        if self.net.loss == "sampled_softmax":
            return SharedNegatives(log_q, self.negatives)
        return OneNegativeEach(log_q) if self.net.loss == "bce" else NoNegatives(torch.zeros(0))


class TwoTowerPreset(FitPreset):
    """The two towers'."""

    net: TwoTowerConfig = TwoTowerConfig()

    def batches(self, known: EngagementStream, encodings: Encodings, universe: Universe, seed: int) -> PairBatches:
        """Engagements grouped by time."""
        return PairBatches(known, encodings, universe, self.batch_size, seed)


Preset = FitPreset | CountAll | CountRecent | CountDecayed

PRESETS: Final[dict[str, Preset]] = {
    "popularity": CountAll(),
    "recent_popularity": CountRecent(),
    "decayed_popularity": CountDecayed(),
    "two_tower": TwoTowerPreset(),
    "sasrec": SASRecPreset(),
}


def preset(model: str, training: TrainingConfig) -> Preset:
    """The model's preset with the configuration's overrides.

    Raises:
        ConfigError: naming the key, for a hyper-parameter or a model that does not exist, or a bad value.
    """
    if unknown := sorted(set(training.hyper_parameters) - set(PRESETS)):
        raise ConfigError(f"training.hyper_parameters.{unknown[0]}: no such model; known: {', '.join(sorted(PRESETS))}")
    default = PRESETS[model]
    values = default.model_dump()
    for key, value in training.hyper_parameters.get(model, {}).items():
        _replace(values, key, value, f"training.hyper_parameters.{model}.{key}")
    if isinstance(default, FitPreset) and training.max_epochs is not None:
        values["max_epochs"] = training.max_epochs
    try:
        return type(default)(**values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"training.hyper_parameters.{model}: {problems}") from error


def _replace(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    net = values.get("net", {})
    fixed = {"net", "kind"}
    if key in values.keys() - fixed:
        values[key] = value
    elif key in net:
        net[key] = value
    else:
        known = sorted((values.keys() | net.keys()) - fixed)
        raise ConfigError(f"{where}: no such hyper-parameter; known: {', '.join(known) or 'none'}")
