"""Models by name. Light to import: definitions and the command line read it.

A new net is its file and its line in ``models/registry.py``, its preset, and its line here.
"""

from dataclasses import dataclass
from typing import Final, Literal

from assets.config import ConfigError, Settings


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Attributes:
        kind: ``net`` (trained; built by ``models.registry``) or ``counting`` (configuration only).
        description: one sentence for people.
    """

    kind: Literal["net", "counting"]
    description: str


MODELS: Final[dict[str, ModelEntry]] = {
    "popularity": ModelEntry("counting", "Engagements before the cutoff: the floor that never changes."),
    "recent_popularity": ModelEntry("counting", "Engagements of the 14 days before each refresh."),
    "decayed_popularity": ModelEntry("counting", "Exponentially decayed engagements, half-life 3 days."),
    "two_tower": ModelEntry("net", "Two towers over ids and features, in-batch softmax with logQ."),
    "sasrec": ModelEntry("net", "Causal self-attention over the user's history."),
    "dat": ModelEntry("net", "Dual augmented two towers on the SASRec backbone."),
    "cdn": ModelEntry("net", "Memorization and generalization experts, and a rebalancing user branch."),
    "ihm_sasrec": ModelEntry("net", "IHM: items as the users who engaged with them, on the SASRec backbone."),
    "ihm_cdn": ModelEntry("net", "IHM's items under CDN's bilateral head."),
    "ihm_dat": ModelEntry("net", "IHM's items inside DAT's augmented towers."),
    "gru": ModelEntry("net", "A GRU over the items of the user's history."),
    "hrnn": ModelEntry("net", "The GRU with session starts and time-deltas among its inputs."),
    "hgru": ModelEntry("net", "Two levels of GRUs, within sessions and between them; comparison for hrnn."),
    "hrnn_meta": ModelEntry("net", "hrnn with features of users, requests and items, feedback, and the trend."),
    "bdn": ModelEntry("net", "Ablation of CDN: both branches count the same, also when served."),
    "udn": ModelEntry("net", "Ablation of CDN: the user side is decoupled, the item side is not."),
    "idn": ModelEntry("net", "Ablation of CDN: the item side is decoupled, the user side is not."),
    "cdn_unbalanced_balanced": ModelEntry("net", "CDN with one expert per sample instead of per kind of feature."),
    "cdn_head_tail": ModelEntry("net", "CDN with one expert for head items and one for tail items."),
    "two_tower_class_balance": ModelEntry("net", "Two towers, targets weighted by the effective number of samples."),
    "two_tower_logq_rebalance": ModelEntry("net", "Two towers, logits shifted by item frequency while training."),
    "two_tower_ndp": ModelEntry("net", "Two towers in two stages: all data, then items alone on balanced data."),
    "two_tower_bbn": ModelEntry("net", "Two towers with branches on the original and on the reversed sample."),
}

DEFAULT_ROSTER: Final[tuple[str, ...]] = (
    "popularity",
    "recent_popularity",
    "decayed_popularity",
    "two_tower",
    "sasrec",
    "ihm_sasrec",
)


def roster(settings: Settings) -> tuple[str, ...]:
    """The models of a run: ``settings.models``, or the default roster where that is empty.

    Raises:
        ConfigError: listing the known names, for an unknown one; or when one is listed twice.
    """
    names = settings.models or DEFAULT_ROSTER
    if unknown := [name for name in names if name not in MODELS]:
        raise ConfigError(f"models: no model named {unknown[0]!r}; known: {', '.join(MODELS)}")
    if len(set(names)) != len(names):
        raise ConfigError(f"models: a name is listed twice in {', '.join(names)}")
    return names
