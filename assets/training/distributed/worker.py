"""One process of several that train a net together: ``torchrun ... -m assets.training.distributed.worker JOB``.

JOB is a JSON file of :meth:`assets.training.distributed.job.Job.dump`. Where torchrun runs on several machines, each
starts this with the same file on a shared data root.
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

from assets.storage import write_text
from assets.stream import load_tables
from assets.training.distributed.job import ERROR, Job, leave
from assets.training.distributed.team import Processes, working_in
from assets.training.loop import resolve_device
from assets.training.train import train

OWNER: Final = "THAW_TRAINING_OWNER"
"""Environment variable with the process that waits for the result: without it nobody would take that."""

LOOK_SECONDS: Final = 2.0


def work(job: Job) -> None:
    """Train as one of the processes that the environment names (RANK, WORLD_SIZE ...); the first leaves the result."""
    rank = int(os.environ["RANK"])
    try:
        _work(job, rank)
    except Exception as error:
        write_text(job.folder / ERROR.format(rank=rank), f"{type(error).__name__}: {error}")
        raise


def _work(job: Job, rank: int) -> None:
    training = job.settings.training
    if resolve_device(training.device) == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if mine := not distributed.is_initialized():
        distributed.init_process_group(_backend(training.device))
    try:
        # Beside the channel that gradients are averaged on: both are in use at once, each in an order of its own.
        team = Processes(distributed.new_group(), training.parallel.split_tables_from)
        with working_in(team):
            trained = train(job.model, load_tables(job.settings.storage), job.settings)
        if rank == 0:
            leave(job, trained)
        distributed.barrier()
    finally:
        if mine:
            distributed.destroy_process_group()


def _backend(device: str) -> str:
    return "cpu:gloo,cuda:nccl" if resolve_device(device) == "cuda" else "gloo"


def _end_with(owner: int) -> None:
    """End this process when ``owner`` is gone: torchrun then ends the others and itself."""
    while True:
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(LOOK_SECONDS)


def main() -> None:
    """Of torchrun."""
    if owner := os.environ.get(OWNER):
        threading.Thread(target=_end_with, args=(int(owner),), daemon=True).start()
    work(Job.load(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
