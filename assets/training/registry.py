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
}

DEFAULT_ROSTER: Final[tuple[str, ...]] = (
    "popularity",
    "recent_popularity",
    "decayed_popularity",
    "two_tower",
    "sasrec",
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
