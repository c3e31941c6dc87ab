"""A training that somebody starts on several machines, and its way into the graph.

``thaw together`` writes a job into a folder beside the checkpoint's; torchrun, started by hand on every machine, leaves
there what was trained; the step ``training/<model>`` then takes that instead of training again. The folder goes when
the checkpoint is written.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Final

from assets.config import Settings
from assets.storage import write_json
from assets.training.checkpoints import MANIFEST, tables_version
from assets.training.distributed.job import CHECKPOINT, Job, collect
from assets.training.presets import preset
from assets.training.registry import MODELS
from assets.training.train import Trained

LOG = logging.getLogger(__name__)
JOB: Final = "job.json"


def write_job(model: str, settings: Settings) -> Path:
    """Write the job of a model with the settings' seed, for the tables as they are, and return its file.

    Raises:
        ConfigError: for hyper-parameters that do not exist.
        ValueError: for a model that no processes train.
        TablesError: without tables.
    """
    if model not in MODELS or MODELS[model].kind != "net":
        nets = ", ".join(name for name, entry in MODELS.items() if entry.kind == "net")
        raise ValueError(f"{model} is no net, and processes train nothing else: {nets}")
    preset(model, settings.training, settings.dataset)  # refused here, not on all machines
    job = Job(model, settings, _folder(model, settings), tables_version(settings.storage))
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    return write_json(job.folder / JOB, job.dump())


def trained_apart(model: str, settings: Settings) -> Trained | None:
    """What the processes of a job with these settings, on the tables as they are, left; None where there is none.

    Raises:
        CheckpointError: when what they left is damaged.
    """
    folder = _folder(model, settings)
    if not (folder / JOB).exists():
        return None
    try:
        job = Job.load(json.loads((folder / JOB).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.warning("%s cannot be read (%s); %s is trained here", folder / JOB, error, model)
        return None
    if not (folder / CHECKPOINT / MANIFEST).exists():
        LOG.warning("%s: nothing was left there yet; %s is trained here", folder / JOB, model)
        return None
    if _shaping(job.model, job.settings) != _shaping(model, settings) or job.tables != tables_version(settings.storage):
        LOG.warning("%s is for other settings or tables; %s is trained here", folder / JOB, model)
        return None
    return collect(Job(model, settings, folder, job.tables))


def discard(model: str, settings: Settings) -> None:
    """Remove the job of a model, if there is one, and what was left of it: its checkpoint is written."""
    shutil.rmtree(_folder(model, settings), ignore_errors=True)


def _folder(model: str, settings: Settings) -> Path:
    target = settings.storage.checkpoint(model, settings.training.seed)
    return target.with_name(f".{target.name}.apart")


def _shaping(model: str, settings: Settings) -> tuple[Any, ...]:
    """The settings that a net's weights come from, rounding apart."""
    training = settings.training
    return model, training.seed, preset(model, training, settings.dataset), settings.split
