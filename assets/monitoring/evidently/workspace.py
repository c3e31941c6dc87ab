"""Evidently's workspace on disk: dashboards/evidently/<project>/ with a file per snapshot, each written whole.

Ids are made of names, so a rerun replaces what it wrote. A snapshot whose numbers have not changed is left as it is.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from assets.storage import Storage, locked, write_json, write_text
from dashboards.workspace_scalars import Moment, snapshot_json

FORMAT: Final = 1
"""Of snapshots; another one has them all written anew."""
_NAMESPACE: Final = uuid.UUID("6f1d6c1e-8f0c-5b0e-9a51-3f4a4c7d2b10")
_DIGESTS: Final = "digests.json"


@dataclass(frozen=True)
class Written:
    """What a call changed: snapshots there now, those written, those removed, bytes of all."""

    snapshots: int
    written: int
    removed: int
    bytes: int


def workspace_path(storage: Storage) -> Path:
    """The folder that Evidently's server is given."""
    return storage.dashboards / "evidently"


def project_id(storage: Storage) -> uuid.UUID:
    """Of the dataset's project, the same for ever."""
    return uuid.uuid5(_NAMESPACE, storage.dataset)


def write_workspace(storage: Storage, moments: Sequence[Moment], keep_days: float) -> Written:
    """Make the workspace hold a snapshot of each of ``moments``, and nothing else.

    Args:
        moments: in any order.
        keep_days: event time before the newest moment; what is older is left out, and removed.
    """
    with locked(storage.monitoring / "evidently.lock"):
        kept = _kept(moments, keep_days)
        _write_project(storage, kept)
        return _write_snapshots(storage, kept)


def snapshot_path(storage: Storage, moment: Moment) -> Path:
    """File of one snapshot."""
    return _snapshots(storage) / f"{uuid.uuid5(project_id(storage), f'{moment.kind} {moment.name}')}.json"


def _kept(moments: Sequence[Moment], keep_days: float) -> list[Moment]:
    if not moments:
        return []
    oldest = max(moment.at for moment in moments) - timedelta(days=keep_days)
    return [moment for moment in moments if moment.at >= oldest]


def _snapshots(storage: Storage) -> Path:
    return workspace_path(storage) / str(project_id(storage)) / "snapshots"


def _write_project(storage: Storage, moments: Sequence[Moment]) -> None:
    """Project and dashboard in the files that Evidently's own workspace class writes."""
    from evidently.sdk.models import ProjectModel  # noqa: PLC0415 - takes seconds

    from dashboards.workspace_panels import dashboard_of  # noqa: PLC0415

    chosen, folder = project_id(storage), _snapshots(storage).parent
    about = "Drift, quality, embeddings, predictions and latency per evaluation window and landed partition"
    project = ProjectModel(id=chosen, name=f"Thaw: {storage.dataset}", description=about)
    write_json(folder / "metadata.json", json.loads(project.json()))
    write_json(folder / "dashboard.json", json.loads(dashboard_of(moments, chosen).json()))
    _snapshots(storage).mkdir(exist_ok=True)


def _write_snapshots(storage: Storage, moments: Sequence[Moment]) -> Written:
    digests = storage.monitoring / f"evidently-{_DIGESTS}"
    held = json.loads(digests.read_text(encoding="utf-8")) if digests.exists() else {}
    fresh: dict[str, str] = {}
    written = 0
    for moment in moments:
        path = snapshot_path(storage, moment)
        fresh[path.name] = _digest(moment)
        if held.get(path.name) != fresh[path.name] or not path.exists():
            write_text(path, snapshot_json(moment))
            written += 1
    gone = [path for path in _snapshots(storage).glob("*.json") if path.name not in fresh]
    for path in gone:
        path.unlink(missing_ok=True)
    write_json(digests, fresh)
    sizes = [path.stat().st_size for path in _snapshots(storage).glob("*.json")]
    return Written(len(fresh), written, len(gone), sum(sizes))


def _digest(moment: Moment) -> str:
    return hashlib.sha256(json.dumps([FORMAT, asdict(moment)], default=str, sort_keys=True).encode()).hexdigest()
