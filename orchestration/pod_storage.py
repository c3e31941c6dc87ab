"""The resource ``storage`` where steps have pods of their own: the files that each brings and leaves.

The graph, the settings and the steps' code are those of one process. A pod has an empty disk, so the resource
``storage`` fetches what the step reads before it and sends what it made after it. Dagster starts what follows a step as
soon as its assets are recorded, before they are sent, so a pod waits for its inputs: those that Dagster's records name.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.objects.store import ObjectsError, ObjectStore
from assets.storage import Storage
from orchestration.mirror import fetch, send, stage_of, store_of
from orchestration.slots import PID_TAG
from orchestration.unchanged import Unit
from orchestration.units import known_of

STEP_VARIABLE: Final = "DAGSTER_RUN_STEP_KEY"
"""Set by dagster-k8s in the pod of a step."""

LOOK_SECONDS: Final = 1.0


def storage_resource(settings: Settings, units: Callable[[], Sequence[Unit]]) -> dg.ResourceDefinition:
    """The storage of the dataset, filled from objects before use; what the run made is sent afterwards.

    Args:
        units: of the definitions, asked for when a run begins.
    """

    def storage(context: dg.InitResourceContext) -> Iterator[Storage]:
        store, instance, run = store_of(settings), context.instance, context.run
        if store is None or instance is None or run is None or run.tags.get(PID_TAG) == str(os.getpid()):
            yield settings.storage  # `thaw run` fetches before it plans, and sends when its accounts are written
            return
        every = list(units())
        chosen, direct = around(every, os.environ.get(STEP_VARIABLE))
        known = known_of(instance, every).runs
        wait_for(store, settings, direct, known)
        fetch(store, settings, chosen)
        yield settings.storage
        made = {asset: run_id for asset, run_id in known_of(instance, every).runs.items() if run_id == run.run_id}
        send(store, settings, _own(every, os.environ.get(STEP_VARIABLE)), made)

    return dg.ResourceDefinition(resource_fn=storage)


def around(units: Sequence[Unit], step: str | None) -> tuple[list[Unit], list[Unit]]:
    """Units whose files a step may read, and of those the ones that it follows directly.

    A run in one process, and a step that is no unit's, may read all. The warehouse goes only to what follows it.
    """
    own = _own(units, step)
    if step is None or not own:
        return list(units), []
    by_name = {unit.name: unit for unit in units}
    is_check = own[0].name != step
    direct = own if is_check else [by_name[name] for name in own[0].parents]
    before, waiting = set[str](), [*direct]
    while waiting:
        unit = waiting.pop()
        if unit.name not in before:
            before.add(unit.name)
            waiting += [by_name[name] for name in unit.parents]
    far = {unit.name for unit in units if _is_warehouse(unit)} - {unit.name for unit in direct}
    return [unit for unit in units if unit.name in before - far], direct


def _is_warehouse(unit: Unit) -> bool:
    return unit.assets[0].partition("/")[0] in keys.BUILT


def _own(units: Sequence[Unit], step: str | None) -> list[Unit]:
    """The unit that a step makes or checks; all, for a run in one process."""
    if step is None:
        return list(units)
    return [unit for unit in units if step == unit.name or step in map(_step_of_check, unit.checks)]


def _step_of_check(check: str) -> str:
    """Dagster's name of the step of ``stage/name:check``."""
    return check.replace("/", "__").replace(":", "_")


def wait_for(
    store: ObjectStore,
    settings: Settings,
    units: Sequence[Unit],
    runs: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Return when objects hold of each unit what its latest run made.

    Raises:
        ObjectsError: naming the stage, the runs and the way out, after ``objects.wait_seconds``.
    """
    deadline = clock() + settings.objects.wait_seconds
    for unit in units:
        stage, wanted = stage_of(unit, settings), runs.get(unit.assets[0])
        if stage is None or wanted is None:
            continue
        while (manifest := store.manifest(stage.name)) is None or manifest.run_id != wanted:
            if clock() >= deadline:
                found = f"that of run {manifest.run_id}" if manifest else "none"
                raise ObjectsError(
                    f"stage {stage.name} of run {wanted} is not in {store.url}, but {found}, after"
                    f" {settings.objects.wait_seconds:g} s (objects.wait_seconds): run `thaw push` where it was made,"
                    " or materialize it again"
                )
            pause(LOOK_SECONDS)
