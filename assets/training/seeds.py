"""Which seeds a model is trained with, and the settings of one of them."""

from assets.config import Settings
from assets.training.registry import MODELS


def seeds_of(model: str, settings: Settings) -> tuple[int, ...]:
    """``training.seeds`` seeds from ``training.seed`` on; the first alone for a counting model, which draws nothing.

    Serving and whatever else uses one checkpoint takes the first.
    """
    first = settings.training.seed
    count = settings.training.seeds if MODELS[model].kind == "net" else 1
    return tuple(range(first, first + count))


def for_seed(settings: Settings, seed: int) -> Settings:
    """The same settings for one seed."""
    return settings.model_copy(update={"training": settings.training.model_copy(update={"seed": seed, "seeds": 1})})
