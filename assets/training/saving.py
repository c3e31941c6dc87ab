"""Writing checkpoints, as :mod:`.checkpoints` reads them.

File names carry digests and the manifest is replaced last; what the new manifest does not name is removed after.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import safetensors.torch
from torch import Tensor

from assets.idmap import IdMap
from assets.storage import Storage, write_bytes, write_json
from assets.training.checkpoints import FORMAT, MANIFEST, files_of, git_revision, tables_version

if TYPE_CHECKING:  # training needs Lightning, which takes seconds to import; saving does not
    from assets.training.train import Trained

LIBRARIES: Final = ("torch", "lightning", "numpy", "pandas", "safetensors")


def save_checkpoint(storage: Storage, trained: "Trained") -> Path:
    """Write the checkpoint of ``(trained.model, trained.seed)`` and return its folder."""
    return save_checkpoint_in(storage.checkpoint(trained.model, trained.seed), trained, tables_version(storage))


def save_checkpoint_in(folder: Path, trained: "Trained", data_version: str) -> Path:
    """Write a checkpoint into ``folder``, which holds nothing else, and return it.

    Args:
        data_version: names the rows that it was trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "format": FORMAT,
        "model": trained.model,
        "kind": trained.kind,
        "seed": trained.seed,
        "config": trained.config,
        "metrics": trained.metrics,
        "history": trained.history,
        "best_epoch": trained.best_epoch,
        "bounds": trained.bounds,
        "data_version": data_version,
        "git_revision": git_revision(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "weights": None if trained.weights is None else save_weights(folder, trained.weights),
        "id_maps": save_maps(folder, trained.encodings.maps if trained.encodings else {}),
        "content": trained.encodings.content if trained.encodings else 0,
    }
    write_json(folder / MANIFEST, manifest)
    named = {MANIFEST, *files_of(manifest)}
    for path in folder.iterdir():
        if path.name not in named:
            path.unlink()
    return folder


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write a net's weights into ``folder`` and return the manifest's entry of them."""
    content = safetensors.torch.save(dict(weights))
    digest = hashlib.sha256(content).hexdigest()
    file = write_bytes(folder / f"weights-{digest[:16]}.safetensors", content).name
    return {"file": file, "sha256": digest, "bytes": len(content)}


def save_maps(folder: Path, maps: Mapping[str, IdMap]) -> dict[str, dict[str, Any]]:
    """Write id maps, by the name of what they number, into ``folder`` and return the manifest's entries of them."""
    entries: dict[str, dict[str, Any]] = {}
    for name, id_map in maps.items():
        # Feature names are the source's; the file is numbered, so that no name can be an unfit file name.
        file = f"ids-{len(entries)}-{id_map.digest[:16]}.parquet"
        id_map.save(folder / file)
        entries[name] = {"file": file, "digest": id_map.digest, "ids": len(id_map.ids)}
    return entries
