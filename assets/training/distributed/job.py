"""What every process of a training is given, and what the first of them leaves behind."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from assets.config import Settings
from assets.idmap import IdMap
from assets.storage import write_json
from assets.training.checkpoints import load_net, read_manifest_in, save_checkpoint_in
from assets.training.encoding import Encodings
from assets.training.train import Spent, Trained

CHECKPOINT: Final = "checkpoint"
SPENT: Final = "spent.json"
ERROR: Final = "error-{rank}.txt"


class TogetherError(RuntimeError):
    """Processes that were to train together did not end well."""


@dataclass(frozen=True)
class Job:
    """One training of one model with one seed.

    Attributes:
        model: registered name, of a net.
        settings: of that seed; where its storage lies has to be the same folder for every process.
        folder: of this job alone.
    """

    model: str
    settings: Settings
    folder: Path

    def dump(self) -> dict[str, str]:
        return {"model": self.model, "settings": self.settings.model_dump_json(), "folder": str(self.folder)}

    @classmethod
    def load(cls, values: dict[str, Any]) -> "Job":
        return cls(values["model"], Settings.model_validate_json(values["settings"]), Path(values["folder"]))


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
    save_checkpoint_in(job.folder / CHECKPOINT, trained, "")


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


def failure(job: Job, what: str) -> TogetherError:
    """An error with the first line that a process of the job left of its own."""
    errors = sorted(job.folder.glob(ERROR.format(rank="*")))
    why = errors[0].read_text(encoding="utf-8") if errors else "no process left a message; see the log above"
    return TogetherError(f"training {job.model} in {job.settings.training.parallel.processes} processes: {what}: {why}")
