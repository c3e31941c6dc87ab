"""Checkpoints: safetensors weights, id maps as Parquet, and a JSON manifest that names them by digest.

Nothing is ever unpickled. Who writes one (:mod:`.saving`) replaces the manifest last. So who reads a recommender here
gets the old checkpoint or the new one, whole: where files of the old one are gone since its manifest was read, the new
manifest is read. Who holds a manifest, and may have noted its digest, never gets another checkpoint's net by it, but
:class:`ReplacedError`.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field, TypeAdapter

from assets.config import PROJECT_ROOT
from assets.idmap import IdMap, StoredIds
from assets.ingestion.errors import IngestionError
from assets.ingestion.parquet_limits import opened_parquet
from assets.ranking import Recommender
from assets.storage import Storage
from assets.stream import DatasetTables
from assets.training.counting import CountConfig, CountingRecommender
from assets.training.encoding import Encodings, Universe
from assets.training.presets import FitPreset
from assets.training.recommender import NetRecommender
from assets.training.refresh import Refresher
from assets.training.untrusted import MANIFEST_BYTES, UntrustedError, budget_of, read_weights, refuse_names
from assets.transforms.export import verify_tables
from models.base import Net
from models.registry import build_net

if TYPE_CHECKING:  # training needs Lightning, which takes seconds to import; loading does not
    from assets.training.train import Trained

MANIFEST: Final = "manifest.json"
FORMAT: Final = 3
READABLE: Final = (2, FORMAT)
"""Format 2 knew no content: its nets are read as nets of items without."""

_COUNTS: Final[TypeAdapter[CountConfig]] = TypeAdapter(CountConfig)
_SMOOTHING: Final = TypeAdapter(Annotated[float, Field(gt=0, allow_inf_nan=False)])

Read = TypeVar("Read")


class CheckpointError(RuntimeError):
    """A checkpoint is missing, incomplete, damaged, or made for other tables; the message says what to do."""


class ReplacedError(CheckpointError):
    """A file that a manifest names is gone, and another checkpoint's manifest is there: read that one."""


def tables_version(storage: Storage) -> str:
    """Version of the exported tables, every one of which is read to compare it with the export's manifest.

    Raises:
        TablesError: when there is no export, or a table is not the one that it wrote.
    """
    return verify_tables(storage)["version"]


def git_revision() -> str:
    """The checked-out commit of the project, or ``unknown`` outside a repository."""
    command = ["git", "-C", str(PROJECT_ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def files_of(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the files that a manifest names, beside it: weights, then id maps."""
    weights = [manifest["weights"]["file"]] if manifest["weights"] else []
    return weights + [entry["file"] for entry in manifest["id_maps"].values()]


def read_manifest(storage: Storage, model: str, seed: int) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        CheckpointError: when there is none, or one of another format.
    """
    return read_manifest_in(storage.checkpoint(model, seed), f"materialize training/{model} with seed {seed}")


def read_manifest_in(folder: Path, remedy: str = "put a whole checkpoint there") -> dict[str, Any]:
    """The manifest of the checkpoint in ``folder``, wherever that lies.

    Args:
        remedy: what an error tells to do.

    Raises:
        CheckpointError: when there is none, or one of another format.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: {remedy} first")
    if (size := path.stat().st_size) > MANIFEST_BYTES:
        raise CheckpointError(f"{path} has {size} bytes, more than any manifest ({MANIFEST_BYTES}): {remedy} again")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}): {remedy} again") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path} is no manifest: {remedy} again")
    if manifest.get("format") not in READABLE:
        raise CheckpointError(
            f"{path} has format {manifest.get('format')!r}, this version reads {' and '.join(map(str, READABLE))}:"
            f" {remedy} again"
        )
    return manifest


def checkpoint_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over a checkpoint's manifest, by which ranks and an index name the weights they were made from."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def load_recommender(storage: Storage, model: str, seed: int, tables: DatasetTables) -> Recommender:
    """The checkpoint as a recommender over ``tables``.

    Raises:
        CheckpointError: when it is missing, incomplete, damaged, or was made for another version of the tables.
    """
    return _once_more(lambda: _load_recommender(storage, model, seed, tables))


def _load_recommender(storage: Storage, model: str, seed: int, tables: DatasetTables) -> Recommender:
    manifest = read_manifest(storage, model, seed)
    folder = storage.checkpoint(model, seed)
    current = tables_version(storage)
    if manifest["data_version"] != current:
        raise CheckpointError(
            f"{folder} was trained on tables {manifest['data_version'][:12]}, the tables are now {current[:12]}:"
            f" materialize training/{model} again"
        )
    return _recommender(folder, manifest, tables)


def recommender_in(folder: Path, tables: DatasetTables) -> Recommender:
    """The checkpoint in ``folder`` as a recommender over ``tables``, whatever rows it was trained on.

    Raises:
        CheckpointError: when it is missing, incomplete or damaged.
    """
    return _once_more(lambda: _recommender(folder, read_manifest_in(folder), tables))


def _recommender(folder: Path, manifest: Mapping[str, Any], tables: DatasetTables) -> Recommender:
    return load_counting(manifest) if manifest["kind"] == "counting" else load_net(folder, manifest).over(tables)


def _once_more(read: Callable[[], Read]) -> Read:
    """What ``read`` gives, which reads a manifest and then what it names; again where another came between."""
    try:
        return read()
    except ReplacedError:
        return read()


def recommender_of(trained: "Trained", tables: DatasetTables) -> Recommender:
    """What :func:`load_recommender` would give of a checkpoint of ``trained``, without one."""
    if trained.encodings is None or trained.weights is None:
        return load_counting({"config": trained.config, "bounds": trained.bounds})
    config = FitPreset(**trained.config)
    net = build_net(config.net, trained.encodings.sizes)
    net.load_state_dict(trained.weights)
    until = np.datetime64(trained.bounds["cutoff"], "us")
    return LoadedNet(net, trained.encodings, config, until).over(tables)


def load_counting(manifest: Mapping[str, Any]) -> CountingRecommender:
    """A counting model: its manifest is all there is of it.

    Raises:
        CheckpointError: when the manifest describes none, or one whose scores would be no numbers.
    """
    try:
        config = {name: value for name, value in manifest["config"].items() if name != "smoothing"}
        cutoff = np.datetime64(manifest["bounds"]["cutoff"], "us")
        return CountingRecommender(
            _COUNTS.validate_python(config), _SMOOTHING.validate_python(manifest["config"]["smoothing"]), cutoff
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"the manifest of {manifest.get('model')} describes no counting model ({error}): materialize"
            f" training/{manifest.get('model')} again, or take the checkpoint from whom you trust"
        ) from error


@dataclass(frozen=True)
class LoadedNet:
    """A trained net with what its inputs are made by; tables are not needed for it.

    Attributes:
        net: with its weights, on the CPU.
        encodings: its id maps and feature vocabularies.
        config: how it was fitted.
        trained_until: end of what it was trained on.
        trained_from: start of that, where it is not all there was.
    """

    net: Net
    encodings: Encodings
    config: FitPreset
    trained_until: np.datetime64
    trained_from: np.datetime64 | None = None

    def over(self, tables: DatasetTables) -> NetRecommender:
        """The net as a recommender over ``tables``, which may go on after ``trained_until``."""
        refresher = Refresher(
            universe=Universe.encode(self.encodings, tables),
            trained_until=self.trained_until,
            history_length=self.net.item_history_length,
            trend=self.config.counts,
            trained_from=self.trained_from,
        )
        return NetRecommender(self.net, refresher)


def load_net(folder: Path, manifest: Mapping[str, Any]) -> LoadedNet:
    """The net of the checkpoint in ``folder``.

    Args:
        manifest: of that checkpoint; of a net.

    Raises:
        ReplacedError: when a file that the manifest names is missing, because the folder holds another checkpoint now.
        CheckpointError: when such a file is missing otherwise, or the weights are damaged. An id map that is damaged or
            goes missing raises them too, when its ids are first asked for: reading a million takes longer than all else
            here.
    """
    remedy = f"materialize training/{manifest.get('model')} again, or take the checkpoint from whom you trust"
    try:
        refuse_names(files_of(manifest))
        for name in files_of(manifest):
            (folder / name).stat()  # id maps are read later
        return _net_of(folder, manifest)
    except FileNotFoundError as error:
        raise _lacking(folder, manifest, Path(error.filename).name, remedy) from error
    except UntrustedError as error:
        said = str(error)
        raise CheckpointError(f"{said if str(folder) in said else f'{folder / MANIFEST} {said}'}: {remedy}") from error
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"{folder} holds no checkpoint that fits together ({error}): {remedy}") from error


def _lacking(folder: Path, manifest: Mapping[str, Any], file: str, remedy: str) -> CheckpointError:
    """The error for a file that the manifest names and the folder lacks."""
    try:
        replaced = checkpoint_digest(read_manifest_in(folder)) != checkpoint_digest(manifest)
    except CheckpointError:
        replaced = False
    if replaced:
        return ReplacedError(f"{folder} holds another checkpoint than it did, {file} is gone: read it again")
    return CheckpointError(f"{folder} lacks {file}: {remedy}")


def _net_of(folder: Path, manifest: Mapping[str, Any]) -> LoadedNet:
    weights = read_weights(folder / manifest["weights"]["file"], manifest["weights"])
    maps = {name: _load_map(folder, manifest, entry) for name, entry in manifest["id_maps"].items()}
    encodings = Encodings.from_maps(maps, manifest.get("content", 0))
    config = FitPreset(**manifest["config"])
    with budget_of(weights):
        net = build_net(config.net, encodings.sizes)
    net.load_state_dict(weights)
    return LoadedNet(net, encodings, config, np.datetime64(manifest["bounds"]["cutoff"], "us"))


def _load_map(folder: Path, manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> IdMap:
    """A map whose ids are read, and held against the manifest, when they are first asked for."""
    path, again = folder / entry["file"], f"materialize the training asset of {folder} again"

    def read() -> tuple[str, ...]:
        try:
            with opened_parquet(path) as file:
                rows = file.metadata.num_rows
            id_map = IdMap.load(path) if rows == entry["ids"] else IdMap(())
        except FileNotFoundError as error:
            raise _lacking(folder, manifest, path.name, again) from error
        except (IngestionError, pa.ArrowException, OSError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}): {again}") from error
        if (id_map.digest, len(id_map.ids)) != (entry["digest"], entry["ids"]):
            raise CheckpointError(f"{path} is damaged: {again}")
        return tuple(id_map.ids)

    return IdMap(StoredIds(entry["ids"], read))
