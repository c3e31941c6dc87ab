"""Which checkpoint is to serve, and whether it serves already."""

from dataclasses import dataclass

from assets.config import Settings
from assets.serving.engines import other_engines
from assets.serving.live.build import needs_build, unfit
from assets.serving.live.damage import checkpoint_damage, take_away_damaged
from assets.serving.live.generation import current
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


def reason_to_build(storage: Storage, settings: Settings, replace: bool = False) -> Promotion | None:
    """The roster's best servable model, where another one serves or none; ``None`` where it serves already.

    A champion that won a contest is not replaced because the roster has another checkpoint: it learned from newer
    engagements and was better on them. It is where it cannot serve on: after a replay, a change of format, or damage to
    its files.

    Args:
        replace: replace such a champion too.

    Raises:
        CheckpointError: when a checkpoint of the roster is missing.
        ValueError: when the roster has no servable model.
    """
    damage = take_away_damaged(storage) or _damaged(storage)
    if damage is None and not replace and won_contest(storage) is not None:
        return None
    name = best_servable(storage, settings)
    manifest = read_manifest(storage, name, settings.training.seed)
    reason = damage or needs_build(storage, manifest) or _other_engines(storage, settings)
    return None if reason is None else Promotion(name, reason)


def _damaged(storage: Storage) -> str | None:
    """What of the generation that serves is damaged, in words; one that cannot serve anyway is not looked at."""
    generation = current(storage)
    if generation is None or unfit(storage, generation) is not None:
        return None
    damage = checkpoint_damage(generation)
    return None if damage is None else f"generation {generation.name} is damaged: {damage}"


def _other_engines(storage: Storage, settings: Settings) -> str | None:
    generation = current(storage)
    return None if generation is None else other_engines(generation.folder, settings)


def won_contest(storage: Storage) -> str | None:
    """Why ``thaw run`` leaves what serves alone, in words: it won a contest and can serve on; ``None`` where not."""
    generation = current(storage)
    if generation is None or unfit(storage, generation) is not None:
        return None
    record = generation.record()
    if record.origin != "contest":
        return None
    return (
        f"generation {generation.name}, of {record.model}, won a contest and is kept: `thaw champion --replace` lets"
        " the best model of the roster serve instead"
    )
