"""Hyper-parameters per model, typed; chosen on the validation tails of MovieLens-100K and MovieTweetings-100K only.

``settings.training.hyper_parameters[model]`` replaces single fields. A name is a field of :class:`FitPreset`, a field
of the net's configuration, or a dotted path into either:
``{"ihm_sasrec": {"learning_rate": 0.001, "dim": 32, "items.heads": 2, "trend.weight": 0.5}}``.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from assets.config import ConfigError, StrictModel, TrainingConfig
from assets.training.counting import CountAll, CountDecayed, CountRecent
from assets.training.optimizers import OptimizerKind
from assets.training.refresh import TrendPreset
from assets.training.tuned import TUNED
from models.net import LossKind, RetrievalConfig
from models.registry import NETS

Precision = Literal["float32", "bfloat16"]

DrawKind = Literal["none", "shared", "each", "targets"]

DRAWS: Final[dict[LossKind, DrawKind]] = {
    "full_softmax": "none",
    "sampled_softmax": "shared",
    "bce": "each",
    "in_batch_softmax": "targets",
    "squared_error": "targets",
}


class FitPreset(StrictModel):
    """How a net is trained."""

    max_epochs: int = Field(8, ge=1, description="planned epochs; the learning rate falls linearly to 0 over them")
    patience: int = Field(3, ge=1, description="epochs without a better validation score before stopping")
    monitor: Literal["log_likelihood", "ndcg@10"] = Field("ndcg@10", description="validation score of an epoch")
    keep: Literal["best", "last"] = Field("best", description="which epoch's weights; last runs the whole schedule")
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="AdamW's, decoupled")
    optimizer: OptimizerKind = Field(
        "adamw", description="lazy_adamw steps only the rows of id tables that a batch read: for large catalogs"
    )
    batch_size: int = Field(1024, ge=1, description="targets per step, at most; a step never crosses a refresh")
    # Steps this small gain nothing from more: 20 epochs of two_tower on MovieTweetings took 28 CPU seconds with one
    # thread and 115 with two on two busy cores. And sums are split by thread: weights would depend on the machine.
    threads: int = Field(1, ge=1, description="CPU threads; equal seeds give equal weights for equal threads")
    precision: Precision = Field(
        "float32",
        description="bfloat16: matrix products of towers in it, weights, histories and sums of exponentials in float32;"
        " for accelerators",
    )
    negatives: int = Field(1024, ge=1, description="shared draws per step, where the loss samples")
    negative_power: float = Field(0.75, ge=0, description="negatives are drawn by (count + 1) ** this; 0 is uniform")
    counts: TrendPreset = Field(TrendPreset(), description="the decayed counts behind the trend")
    net: RetrievalConfig

    @property
    def draws(self) -> DrawKind:
        """What the net's loss draws."""
        return DRAWS[self.net.loss]


FULL_SCHEDULE: Final[dict[str, Any]] = {"max_epochs": 8, "patience": 8}
"""The gamma-adapter's weight depends on the planned epochs: all of them are run, and the best is kept (CDN eq. 6)."""

TWO_TOWER: Final[dict[str, Any]] = {"learning_rate": 1e-3, "max_epochs": 12, "patience": 4}

RECURRENT: Final[dict[str, Any]] = {"max_epochs": 12, "patience": 4}

INDUCTIVE: Final[dict[str, Any]] = {"monitor": "log_likelihood"}
"""Item histories, and features mixed in, keep improving the likelihood while NDCG@10 moves by chance, some .003 from
epoch to epoch on MovieTweetings. Towers with ids alone overfit in likelihood after one to three epochs there, with
NDCG@10 still rising: they are chosen by that, which is the better for them."""

FITS: Final[dict[str, dict[str, Any]]] = {
    "sasrec": {"learning_rate": 3e-3, "max_epochs": 10, "patience": 4},
    "ihm_sasrec": INDUCTIVE,
    "ihm_dat": INDUCTIVE,
    "ihm_cdn": {**FULL_SCHEDULE, **INDUCTIVE},
    **dict.fromkeys(("cdn", "bdn", "udn", "cdn_unbalanced_balanced", "cdn_head_tail"), FULL_SCHEDULE),
    **dict.fromkeys(("two_tower", "two_tower_class_balance", "two_tower_logq_rebalance"), TWO_TOWER),
    "two_tower_bbn": {**TWO_TOWER, "patience": 12},
    **dict.fromkeys(("gru", "hrnn", "hgru"), RECURRENT),
    "hrnn_meta": INDUCTIVE,
    "two_tower_ndp": {**TWO_TOWER, "keep": "last"},  # the best epoch might lie in the first stage
}
"""How nets are fitted that need it otherwise than :class:`FitPreset` says."""

Preset = FitPreset | CountAll | CountRecent | CountDecayed

PRESETS: Final[dict[str, Preset]] = {
    "popularity": CountAll(),
    "recent_popularity": CountRecent(),
    "decayed_popularity": CountDecayed(),
    **{name: FitPreset(net=config, **FITS.get(name, {})) for name, config in NETS.items()},
}


def preset(model: str, training: TrainingConfig, dataset: str) -> Preset:
    """The model's preset with what was tuned for ``dataset``, and then the configuration's overrides.

    Raises:
        ConfigError: naming the key, and ``assets/training/tuned.py`` where it stands there, for a hyper-parameter or a
            model that does not exist, or a bad value.
    """
    if unknown := sorted(set(training.hyper_parameters) - set(PRESETS)):
        raise ConfigError(f"training.hyper_parameters.{unknown[0]}: no such model; known: {', '.join(sorted(PRESETS))}")
    tuned = TUNED.get(dataset, {}).get(model, {})
    own = dict(training.hyper_parameters.get(model, {}))
    default = _overridden(PRESETS[model], tuned, f"assets/training/tuned.py: {dataset}.{model}")
    if isinstance(default, FitPreset) and training.max_epochs is not None:
        own["max_epochs"] = training.max_epochs
    return _overridden(default, own, f"training.hyper_parameters.{model}")


def _overridden(default: Preset, overrides: Mapping[str, Any], where: str) -> Preset:
    values = default.model_dump()
    for key, value in overrides.items():
        _replace(values, key, value, f"{where}.{key}")
    try:
        return type(default)(**values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{where}: {problems}") from error


def _replace(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the value at a dotted path; paths into the net may leave out ``net``."""
    known = {path: owner for path, owner in _paths(values, "") if not path.endswith("kind")}
    path = key if key in known else f"net.{key}"
    if path not in known:
        names = sorted(path.removeprefix("net.") for path in known)
        raise ConfigError(f"{where}: no such hyper-parameter; known: {', '.join(names) or 'none'}")
    known[path][path.rpartition(".")[2]] = value


def _paths(values: dict[str, Any], prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """(dotted path, dictionary that holds it) of every value, leaves and whole parts."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, value in values.items():
        found.append((prefix + name, values))
        if isinstance(value, dict):
            found += _paths(value, f"{prefix}{name}.")
    return found
