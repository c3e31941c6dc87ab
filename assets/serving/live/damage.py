"""Damage to what serves: files that somebody or a disk changed, which no killed process leaves behind.

Everything of a generation can be made again, from the checkpoint, its tables and the landed batches. Looking reads the
whole checkpoint and index file, so it is for builds (``thaw run``), not for every landed file.
"""

from assets.serving.index_file import IndexFileError
from assets.serving.live.generation import (
    CURRENT,
    Generation,
    GenerationError,
    OpenGeneration,
    current,
    writer_lock,
)
from assets.serving.live.maintain import load_index
from assets.serving.live.model import LiveModel
from assets.serving.store.interface import StoreFaultError
from assets.serving.store.meta import GENERATION, SNAPSHOT, get_meta
from assets.storage import Storage, locked
from assets.training.checkpoints import CheckpointError


def take_away_damaged(storage: Storage) -> str | None:
    """Let nothing serve where the pointer, or the records or store that it leads to, cannot be read; why, in words.

    The next build then makes a generation; numbers of deltas begin anew with it. The caller holds neither lock.
    """
    with locked(writer_lock(storage)):
        try:
            generation = current(storage)
            reason = None if generation is None or not generation.complete else _damage(generation)
        except GenerationError as error:
            reason = str(error)
        if reason is not None:
            (storage.live / CURRENT).unlink()
    return reason


def _damage(generation: Generation) -> str | None:
    """As :func:`store_damage`.

    Raises:
        GenerationError: when it is the record that is damaged, or what says which engines there are.
    """
    if generation.outdated() is None:
        generation.record()
    return store_damage(generation)


def store_damage(generation: Generation) -> str | None:
    """Why the generation's store cannot be read, or holds nothing of it; ``None`` where it can.

    A server's trouble is no damage: it may be over in a minute. One that answers and holds nothing was emptied.
    """
    embedded = generation.engines.store == "lmdb"
    try:
        with generation.open_store() as store, store.read() as reader:
            record = get_meta(reader, GENERATION)
    except StoreFaultError as error:
        return str(error) if embedded else None
    except (OSError, ValueError):  # a server that is gone, an address that is none
        if embedded:
            raise
        return None
    if record is not None:
        return None
    other = "" if embedded else ", or the address given is another server's"
    return f"generation {generation.name}: its store ({generation.engines.store}) is empty: it was emptied{other}"


def checkpoint_damage(generation: Generation) -> str | None:
    """Why the generation's checkpoint cannot be loaded; ``None`` where it can."""
    try:
        LiveModel.load(generation.checkpoint)
    except CheckpointError as error:
        return str(error)
    return None


def index_damage(opened: OpenGeneration) -> str | None:
    """Why the index cannot be loaded; ``None`` where it can, or where there is none yet."""
    try:
        with opened.store.read() as reader:
            if get_meta(reader, SNAPSHOT) is not None:
                load_index(reader, opened.generation)
    except (IndexFileError, FileNotFoundError) as error:
        return str(error)
    return None
