"""Which checkpoint is to serve, and whether it serves already."""

from dataclasses import dataclass

from assets.config import Settings
from assets.serving.live.build import needs_build
from assets.serving.selection import best_model
from assets.serving.servable import servable
from assets.storage import Storage
from assets.training.checkpoints import read_manifest
from assets.training.registry import roster


@dataclass(frozen=True)
class Promotion:
    """A model to build an index of, and why the one that serves will not do."""

    model: str
    reason: str


def best_servable(storage: Storage, settings: Settings) -> str:
    """The roster's best servable model.

    Raises:
        CheckpointError: when a checkpoint of the roster is missing.
        ValueError: when the roster has no servable model.
    """
    seed = settings.training.seed
    return best_model({name: read_manifest(storage, name, seed) for name in roster(settings) if servable(name)})


def reason_to_build(storage: Storage, settings: Settings) -> Promotion | None:
    """The roster's best servable model, where another one serves or none; ``None`` where it serves already.

    Raises:
        CheckpointError: when a checkpoint of the roster is missing.
        ValueError: when the roster has no servable model.
    """
    name = best_servable(storage, settings)
    reason = needs_build(storage, read_manifest(storage, name, settings.training.seed))
    return None if reason is None else Promotion(name, reason)
