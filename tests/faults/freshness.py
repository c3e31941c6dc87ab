"""The freshness job, from dropped files to the index that serves, on a copy of a finished home; in a child."""

import pickle
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from orchestration.definitions import build_definitions
from orchestration.home import open_instance
from orchestration.jobs import FRESHEN
from orchestration.progress import step_lines
from orchestration.sensors import look
from tests.assets.serving.live.faults import counting
from tests.assets.serving.live.logical import logical_state, unlike
from tests.faults.clocks import shift_clock
from tests.faults.graph import own_process, tiny_settings
from tests.faults.plan import Stop
from tests.faults.points import StepPoints
from tests.faults.state import ASKING

HOUR = 3_600_000_000
LOOKS = 6
"""The first that finds nothing to do ends the attempt."""

FILES = {
    "engagements/a.csv": "user_id,item_id,timestamp\nuser-001,item-07,2024-02-10T01:00:00Z\n"
    "user-002,item-new,2024-02-10T02:00:00Z\nuser-new,item-08,2024-02-11T02:00:00Z\n",
    "engagements/b.csv": "user_id,item_id,timestamp\nuser-013,item-63,2024-02-11T05:00:00Z\n",
    "engagements/bad.csv": "user_id,item_id,timestamp\nuser-013,item-63\n",
    "items/i.csv": "item_id,title,created_at\nitem-new,A new item,2024-02-10T00:00:00Z\n",
}


def copy_and_drop(home: Path, finished: Path) -> None:
    """A copy of a finished home with files in its drop zone."""
    left_out = shutil.ignore_patterns("dbt", "dashboards", "tmp", "made", "compute_logs")
    shutil.copytree(finished, home, dirs_exist_ok=True, ignore=left_out)
    for name, content in FILES.items():
        path = tiny_settings(home).storage.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".partial").write_text(content)
        path.with_suffix(".partial").rename(path)


def freshen(home: Path, stop: Mapping[str, Any], attempt: int, shift: float = 0.0) -> list[tuple[str, str]]:
    """What daemon and runs do until nothing waits; the points that it passed.

    Args:
        stop: fields of a :class:`Stop`; empty: none.
        attempt: how often it was begun before; sensors then look hours later, past every pause.
        shift: seconds that the clock is wrong by, from the first tick on.
    """
    own_process(home)
    settings = tiny_settings(home)
    points = StepPoints(Stop(**stop) if stop else None)
    definitions = build_definitions(settings, progress=step_lines(Console(file=points, width=200)))
    with counting(points, home) if stop or not attempt else nullcontext(), open_instance(settings) as instance:
        for number in range(LOOKS):
            request = _tick(home, instance, time.time_ns() // 1000 + (attempt * LOOKS + number) * HOUR)
            if request is None:
                break
            if shift and not number:
                shift_clock(shift)  # between the tick and its run
            _carry_out(instance, definitions, request)
        else:
            raise AssertionError(f"after {LOOKS} looks something is still to do")
    return points.labelled


def _tick(home: Path, instance: dg.DagsterInstance, now: int) -> dg.RunRequest | None:
    """One tick; as with the daemon, its cursor is kept only if it comes to its end."""
    kept = home / "cursor"
    cursor = kept.read_text() if kept.exists() else None
    found = look(dg.build_sensor_context(instance=instance, cursor=cursor), tiny_settings(home), now)
    assert isinstance(found, dg.SensorResult), found
    for request in found.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    kept.write_text(found.cursor or "")
    return found.run_requests[0] if found.run_requests else None


def _carry_out(instance: dg.DagsterInstance, definitions: dg.Definitions, request: dg.RunRequest) -> None:
    result = definitions.resolve_job_def(FRESHEN).execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        tags=request.tags,
        run_config={**request.run_config, "loggers": {"progress": {}}},
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
        raise_on_error=False,
    )
    assert result.success, [event.message for event in result.all_events if event.is_failure]


def keep(home: Path, path: Path) -> int:
    """Write the served state to ``path``; how many batches its ledger holds."""
    state = logical_state(tiny_settings(home).storage, ASKING)
    path.write_bytes(pickle.dumps(state))
    return len(state.ledger)


def compare(home: Path, path: Path) -> list[str]:
    """In words, where the served state differs from the one in ``path``."""
    return unlike(pickle.loads(path.read_bytes()), logical_state(tiny_settings(home).storage, ASKING))
