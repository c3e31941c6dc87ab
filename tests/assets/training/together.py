"""Runs a function in several forked processes that gloo connects; forks share the imports, which take seconds."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed

from assets.training.distributed.team import Processes


def in_processes(size: int, folder: Path, run: Callable[[Processes], object], tables_from: int | None = None) -> None:
    """Run ``run`` in every process; what it saves under ``folder`` is all that comes back.

    Raises:
        AssertionError: with the traceback of a process that failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_one, args=(rank, size, folder, run, tables_from), daemon=True) for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    errors = [path.read_text() for path in sorted(folder.glob("error-*"))]
    assert not errors, "\n".join(errors)
    assert [process.exitcode for process in processes] == [0] * size


def _one(rank: int, size: int, folder: Path, run: Callable[[Processes], object], tables_from: int | None) -> None:
    os.environ |= {name: str(size) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    os.environ |= {name: str(rank) for name in ("RANK", "LOCAL_RANK")}
    code = 1
    try:
        torch.set_num_threads(1)
        distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
        run(Processes(distributed.new_group(), tables_from))
        distributed.barrier()
        code = 0
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
    os._exit(code)
