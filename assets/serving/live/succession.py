"""From one generation to another that has to prove itself first: a challenger that won, or the former champion."""

from assets.config import Settings
from assets.serving.live.base import Progress
from assets.serving.live.build import RecallError, build_from, let_serve, silent
from assets.serving.live.generation import Generation, GenerationError, build_lock, current, remove_outdated
from assets.serving.live.material import Material
from assets.storage import Storage, locked

__all__ = ["RecallError", "bring_back", "replace_champion"]


def replace_champion(
    storage: Storage,
    settings: Settings,
    champion: Generation,
    material: Material,
    now: int,
    progress: Progress = silent,
) -> Generation:
    """Build a generation of ``material`` and let it serve in the place of ``champion``, if its index finds enough.

    Args:
        champion: what has to serve still when the build begins.
        now: wall clock, microseconds.

    Raises:
        GenerationError: when another generation serves by now.
        RecallError: when the index finds too little; the champion serves on, and the generation is removed.
        CheckpointError: when the checkpoint is damaged or cannot be served.
    """
    with locked(build_lock(storage)):
        _require(storage, champion)
        generation = build_from(storage, settings, material, now, progress)
        try:
            let_serve(storage, settings, generation, now, progress, settings.index.minimum_recall)
        except RecallError:
            remove_outdated(storage)
            raise
    return generation


def bring_back(
    storage: Storage,
    settings: Settings,
    leaving: Generation,
    generation: Generation,
    now: int,
    progress: Progress = silent,
) -> None:
    """Bring a generation that served before up to date and let it serve again, if its index finds enough.

    Args:
        leaving: what has to serve still.
        now: wall clock, microseconds.

    Raises:
        GenerationError: when another generation serves by now, or ``generation`` is incomplete or of another format.
        RecallError: when its index finds too little; what serves serves on.
    """
    with locked(build_lock(storage)):
        _require(storage, leaving)
        let_serve(storage, settings, generation, now, progress, settings.index.minimum_recall)


def _require(storage: Storage, expected: Generation) -> None:
    if (serving := current(storage)) != expected:
        name = None if serving is None else serving.name
        raise GenerationError(f"generation {name} serves by now, not {expected.name}: another process was first")
