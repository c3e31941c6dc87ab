"""Where challengers and contests lie, and what is written of them.

challengers/<model>/<name>/       a checkpoint, as the training assets write it
challengers/<model>/<name>.json   what it was trained on; written last
contests/<name>.json              the contest's account
contests/<name>.parquet           ranks of champion, challenger and floor
"""

import json
from pathlib import Path
from typing import Any

from assets.config import StrictModel
from assets.storage import Storage, write_json


class Challenger(StrictModel):
    """A challenger's account.

    Attributes:
        name: of its folder.
        model: registered name.
        seed: of its training.
        checkpoint: digest of its manifest.
        champion: digest of the checkpoint that served as it was trained.
        generation: that served.
        trained_until: event clock, microseconds: nothing from then on was known to it.
        version: of the rows that were served.
        engagements: it was trained on.
        validation: its metrics on the validation tail.
        at: wall clock, microseconds.
        seconds: the training took.
    """

    name: str
    model: str
    seed: int
    checkpoint: str
    champion: str
    generation: str
    trained_until: int
    version: str
    engagements: int
    validation: dict[str, float]
    at: int
    seconds: float

    def folder(self, storage: Storage) -> Path:
        """Of its checkpoint."""
        return challengers_folder(storage) / self.model / self.name


def challengers_folder(storage: Storage) -> Path:
    """Of all challengers."""
    return storage.champion / "challengers"


def write_challenger(storage: Storage, challenger: Challenger) -> Path:
    """Write a challenger's account; its checkpoint is there already."""
    folder = challenger.folder(storage)
    return write_json(folder.with_name(f"{folder.name}.json"), challenger.model_dump(mode="json"))


def read_challengers(storage: Storage) -> list[Challenger]:
    """Every challenger whose checkpoint is the one of its account, the oldest first."""
    paths = challengers_folder(storage).glob("*/*.json")
    held = [Challenger(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return sorted((one for one in held if is_whole(storage, one)), key=lambda one: (one.at, one.model))


def is_whole(storage: Storage, challenger: Challenger) -> bool:
    """Whether the checkpoint is there, and the one of the account; a training that was killed may have replaced it."""
    # Torch: sensors and definitions read this module too.
    from assets.training.checkpoints import CheckpointError, checkpoint_digest, read_manifest_in  # noqa: PLC0415

    try:
        return checkpoint_digest(read_manifest_in(challenger.folder(storage))) == challenger.checkpoint
    except CheckpointError:
        return False


def contest_path(storage: Storage, name: str) -> Path:
    """A contest's account."""
    return storage.champion / "contests" / f"{name}.json"


def contest_ranks_path(storage: Storage, name: str) -> Path:
    """A contest's ranks."""
    return storage.champion / "contests" / f"{name}.parquet"


def read_contests(storage: Storage) -> list[dict[str, Any]]:
    """Accounts of all contests, the oldest first."""
    held = [json.loads(path.read_text(encoding="utf-8")) for path in contest_path(storage, "x").parent.glob("*.json")]
    return sorted(held, key=lambda account: (account["at"], account["name"]))
