"""One process of several that train a net together: ``torchrun ... -m assets.training.distributed.worker JOB``.

JOB is a JSON file of :meth:`assets.training.distributed.job.Job.dump`. Where torchrun runs on several machines, each
starts this with the same file on a shared data root; ``thaw together`` writes it.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

import torch
from torch import distributed

from assets.storage import is_running
from assets.stream import load_tables
from assets.training.checkpoints import tables_version
from assets.training.distributed.job import Job, TogetherError, leave, leave_error
from assets.training.distributed.team import Processes, working_in
from assets.training.loop import resolve_device
from assets.training.train import train

OWNER: Final = "THAW_TRAINING_OWNER"
"""Environment variable with the process that waits for the result: without it nobody would take that."""

LOOK_SECONDS: Final = 2.0


def work(job: Job) -> None:
    """Train as one of the processes that the environment names (RANK, WORLD_SIZE ...); the first leaves the result.

    Raises:
        TogetherError: when the tables are not those that the job is for.
    """
    rank, mine = int(os.environ["RANK"]), not distributed.is_initialized()
    try:
        _work(job, rank)
    except Exception as error:
        leave_error(job, rank, error)  # before the others see this process go, and fail of that
        raise
    finally:
        if mine and distributed.is_initialized():
            distributed.destroy_process_group()


def _work(job: Job, rank: int) -> None:
    training = job.settings.training
    if resolve_device(training.device) == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        distributed.init_process_group(_backend(training.device))
    if rank == 0 and job.tables:
        _require_tables(job)
    # Beside the channel that gradients are averaged on: both are in use at once, each in an order of its own.
    team = Processes(distributed.new_group(), training.parallel.split_tables_from)
    with working_in(team):
        trained = train(job.model, load_tables(job.settings.storage), job.settings)
    if rank == 0:
        leave(job, trained)
    distributed.barrier()


def _require_tables(job: Job) -> None:
    if (current := tables_version(job.settings.storage)) != job.tables:
        raise TogetherError(
            f"the job is for tables {job.tables[:12]}, they are now {current[:12]}: write it again"
            f" (thaw together {job.model})"
        )


def _backend(device: str) -> str:
    return "cpu:gloo,cuda:nccl" if resolve_device(device) == "cuda" else "gloo"


def _end_with(owner: int) -> None:
    """End this process when ``owner`` is gone: torchrun then ends the others and itself."""
    while is_running(owner):
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def main() -> None:
    """Of torchrun."""
    if owner := os.environ.get(OWNER):
        threading.Thread(target=_end_with, args=(int(owner),), daemon=True).start()
    work(Job.load(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
