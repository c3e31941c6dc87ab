"""Pool slots of runs whose process is gone.

A process that is killed while it holds a pool slot leaves the slot taken and the run "started": the next run would
wait for ever. Runs made by the command line, and those that the landing sensor requests, carry the tags of
:func:`process_tags`; runs that somebody launches in the UI carry none and are left to the daemon.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dagster as dg

from assets.storage import is_running

PID_TAG: Final = "thaw/pid"
HOST_TAG: Final = "thaw/host"
BIRTH_TAG: Final = "thaw/process_birth"
"""Tells a process from a later one that got the same id; absent where the system does not say."""

UNFINISHED: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def process_tags() -> dict[str, str]:
    """Tags that name this process, for the run it is about to execute."""
    tags = {PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()}
    if birth := process_birth(os.getpid()):
        tags[BIRTH_TAG] = birth
    return tags


def process_birth(pid: int) -> str | None:
    """Boot id and start tick of a process on Linux; None elsewhere, or where there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The name, in parentheses, may hold spaces; the start tick is the 20th field behind it.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{boot}/{fields[19]}"


def is_dead(tags: Mapping[str, str], host: str) -> bool:
    """Whether the process that ``tags`` name was on ``host`` and is gone; False where that cannot be known."""
    pid = tags.get(PID_TAG, "")
    if not pid.isdigit() or tags.get(HOST_TAG) != host:
        return False
    if not is_running(int(pid)):
        return True
    birth = process_birth(int(pid))
    return birth is not None and tags.get(BIRTH_TAG, birth) != birth


def free_dead_slots(instance: dg.DagsterInstance) -> list[str]:
    """Report runs whose process is gone as failed and free what they hold of every pool.

    Returns:
        Ids of the runs reported failed. (Slots of finished runs whose process is gone are freed too.)
    """
    host = socket.gethostname()
    unfinished = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    dead = [run for run in unfinished if is_dead(run.tags, host)]
    for run in dead:
        pid = run.tags[PID_TAG]
        instance.report_run_failed(run, f"Process {pid} on {host} is gone: it was killed, or the machine restarted.")
    gone = {run.run_id for run in dead}
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if run_id in gone or (holder is not None and holder.is_finished and is_dead(holder.tags, host)):
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return sorted(gone)
