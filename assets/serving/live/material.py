"""What a generation is made of: a checkpoint's folder, and the rows to begin with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assets.instants import as_micros
from assets.serving.live.generation import Origin
from assets.storage import Storage
from assets.stream import DatasetTables
from assets.training.checkpoints import (
    CheckpointError,
    checkpoint_digest,
    read_manifest,
    read_manifest_in,
    tables_version,
)


@dataclass(frozen=True)
class Material:
    """A generation before it is built.

    Attributes:
        folder: of the checkpoint.
        manifest: of the checkpoint.
        tables: whose rows the base takes; their train counts are those that the model was trained with.
        base_until: engagements from this instant on are left out of the base; ``None``: none are.
        until: of :class:`assets.serving.live.generation.GenerationRecord`.
        origin: likewise.
    """

    folder: Path
    manifest: Mapping[str, Any]
    tables: DatasetTables
    base_until: np.datetime64 | None = None
    until: int | None = None
    origin: Origin = "run"

    @property
    def digest(self) -> str:
        """Of the checkpoint."""
        return checkpoint_digest(self.manifest)


def of_run(
    storage: Storage, tables: DatasetTables, model_name: str, seed: int, until: np.datetime64 | None
) -> Material:
    """A checkpoint that ``thaw run`` trained, with the exported tables.

    Args:
        tables: what the checkpoint was trained on.
        until: leave out the base's engagements from this instant on, to replay them.

    Raises:
        CheckpointError: when the checkpoint is missing, or was made for other tables.
    """
    manifest = read_manifest(storage, model_name, seed)
    folder = storage.checkpoint(model_name, seed)
    if manifest["data_version"] != (version := tables_version(storage)):
        raise CheckpointError(
            f"{folder} was trained on tables {manifest['data_version'][:12]}, the tables are now {version[:12]}:"
            f" materialize training/{model_name} again"
        )
    return Material(folder, manifest, tables, until, None if until is None else as_micros(until))


def of_contest(folder: Path, tables: DatasetTables, until: int | None) -> Material:
    """A challenger that won, with the rows that the former champion served.

    Args:
        folder: of the challenger's checkpoint.
        tables: everything served so far, train counts as of the challenger's cutoff.
        until: the former champion's: a replay stays one.

    Raises:
        CheckpointError: when the checkpoint is missing.
    """
    return Material(folder, read_manifest_in(folder), tables, None, until, "contest")
