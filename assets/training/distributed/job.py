"""What every process of a training is given, and what the first of them leaves behind."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from assets.config import Settings
from assets.idmap import IdMap
from assets.storage import write_json
from assets.training.checkpoints import load_net, read_manifest_in
from assets.training.encoding import Encodings
from assets.training.saving import save_checkpoint_in
from assets.training.train import Spent, Trained

CHECKPOINT: Final = "checkpoint"
SPENT: Final = "spent.json"
ERROR: Final = "error-{rank}.json"
LOST: Final = ("closed by peer", "reset by peer", "remote process exited")
"""What gloo and NCCL say in a process whose partner is gone."""


class TogetherError(RuntimeError):
    """Processes that were to train together did not end well."""


@dataclass(frozen=True)
class Job:
    """One training of one model with one seed.

    Attributes:
        model: registered name, of a net.
        settings: of that seed; where its storage lies has to be the same folder for every process.
        folder: of this job alone.
        tables: their version, where it may train on no other; empty: on those that are there.
    """

    model: str
    settings: Settings
    folder: Path
    tables: str = ""

    def dump(self) -> dict[str, str]:
        settings = self.settings.model_dump_json()
        return {"model": self.model, "settings": settings, "folder": str(self.folder), "tables": self.tables}

    @classmethod
    def load(cls, values: dict[str, Any]) -> "Job":
        settings = Settings.model_validate_json(values["settings"])
        return cls(values["model"], settings, Path(values["folder"]), values["tables"])


@contextmanager
def job_folder(model: str, settings: Settings) -> Iterator[Job]:
    """A job in a fresh folder beside the checkpoint's; a killed one's is removed by the next of the same seed."""
    target = settings.storage.checkpoint(model, settings.training.seed)
    folder = target.with_name(f".{target.name}.together")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield Job(model, settings, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def leave(job: Job, trained: Trained) -> None:
    """Write what was trained, for :func:`collect`."""
    write_json(job.folder / SPENT, {phase: asdict(spent) for phase, spent in trained.spent.items()})
    save_checkpoint_in(job.folder / CHECKPOINT, trained, job.tables)


def collect(job: Job) -> Trained:
    """What :func:`leave` wrote, as it was.

    Raises:
        CheckpointError: when nothing whole is there.
    """
    manifest = read_manifest_in(job.folder / CHECKPOINT, f"train {job.model}")
    loaded = load_net(job.folder / CHECKPOINT, manifest)
    spent = json.loads((job.folder / SPENT).read_text(encoding="utf-8"))
    maps = {name: IdMap(tuple(ids.ids)) for name, ids in loaded.encodings.maps.items()}  # read before the file goes
    names = ("model", "kind", "seed", "config", "metrics", "history", "best_epoch", "bounds")
    return Trained(
        **{name: manifest[name] for name in names},
        encodings=Encodings.from_maps(maps, loaded.encodings.content),
        weights={name: value.contiguous() for name, value in loaded.net.state_dict().items()},
        spent={phase: Spent(**values) for phase, values in spent.items()},
    )


def leave_error(job: Job, rank: int, error: Exception) -> None:
    """Write why a process fails, and when, for :func:`failure`.

    To be called while the process is still connected: the others fail as soon as it is not.
    """
    why = {"rank": rank, "at": time.time(), "why": f"{type(error).__name__}: {error}"}
    write_json(job.folder / ERROR.format(rank=rank), why)


def failure(job: Job, what: str) -> TogetherError:
    """An error with what the first process to fail left: the others may have failed because it was gone.

    Who was first goes by the clocks of their machines. What a process had half-written when it was killed is left out.
    """
    written = [path for path in job.folder.glob(ERROR.format(rank="*")) if ".partial-" not in path.name]
    left = [json.loads(path.read_text(encoding="utf-8")) for path in written]
    why = "no process left a message; see the log above"
    if left:
        first = min(left, key=lambda entry: (entry["at"], entry["rank"]))
        why = f"process {first['rank']}: {first['why']}"
        if any(said in why for said in LOST):
            why += " (another process ended without a message, killed perhaps: see the log above)"
    return TogetherError(f"training {job.model} in {job.settings.training.parallel.processes} processes: {what}: {why}")
