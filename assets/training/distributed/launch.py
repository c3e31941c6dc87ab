"""Trains a model in the processes that the configuration names."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final

from assets.config import PROJECT_ROOT, Settings
from assets.storage import write_json
from assets.stream import DatasetTables
from assets.training.distributed.job import Job, collect, failure, job_folder
from assets.training.distributed.ray_launch import run_on_ray
from assets.training.distributed.worker import OWNER
from assets.training.registry import MODELS
from assets.training.train import Trained, train

WORKER: Final = "assets.training.distributed.worker"


def train_as_configured(model: str, tables: DatasetTables, settings: Settings) -> Trained:
    """As :func:`assets.training.train.train`, in ``training.parallel``'s processes.

    Counting models count here. Other processes read the tables from the data root, where ``tables`` come from.

    Raises:
        TogetherError: when a process fails; with its message.
        ModuleNotFoundError: when Ray is asked for and not installed.
    """
    parallel = settings.training.parallel
    if MODELS[model].kind == "counting" or not parallel.used:
        return train(model, tables, settings)
    with job_folder(model, settings) as job:
        LAUNCHERS[parallel.launcher](job)
        return collect(job)


def run_on_torchrun(job: Job) -> None:
    """Start the job's processes on this machine and wait for them; they end when this process does."""
    description = write_json(job.folder / "job.json", job.dump())
    count = job.settings.training.parallel.processes
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    path = os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, OWNER: str(os.getpid())}
    environment.setdefault("OMP_NUM_THREADS", "1")  # the preset's threads are set within; else torchrun warns
    with subprocess.Popen([*command, "-m", WORKER, str(description)], env=environment) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    if code:
        raise failure(job, f"torchrun ended with {code}")


LAUNCHERS: Final[Mapping[str, Callable[[Job], None]]] = {"torchrun": run_on_torchrun, "ray": run_on_ray}
