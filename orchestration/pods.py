"""What Kubernetes gives the pods of steps and runs: an executor for the batch jobs, and tags for the others."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

import dagster as dg

from assets import keys
from assets.config import ConfigError, Settings
from assets.config.deployment import MEASURED

POD_TAG: Final = "dagster-k8s/config"
VOLUME: Final = "dataset"
SHOWN: Final = 5
"""Steps that a message names, at most."""

ON_VOLUME: Final = (keys.SERVING, keys.CHAMPION, keys.MONITORING)
"""Stages that read or write what stays on one machine."""


def steps_of(definitions: Iterable[dg.AssetsDefinition]) -> dict[str, str]:
    """The steps of assets and checks -> the stage whose memory they take."""
    stages = {}
    for definition in definitions:
        key = next(iter(definition.keys), None) or next(iter(definition.check_keys)).asset_key
        stage = key.path[0]
        stages[definition.node_def.name] = keys.TRANSFORMS if stage in keys.BUILT else stage
    return stages


def executor_of(settings: Settings, steps: Mapping[str, str]) -> dg.ExecutorDefinition:
    """Who executes the steps of ``refresh_all`` and ``refresh_data``.

    Args:
        steps: as :func:`steps_of` gives them.

    Raises:
        ConfigError: for resources of a step that is not in the graph.
        ImportError: without the extra, naming it.
    """
    held = settings.steps
    if held.executor == "in_process":
        return dg.in_process_executor
    for name in set(held.resources or {}) - {*MEASURED, *steps}:
        closest = ", ".join(get_close_matches(name, steps, SHOWN))
        raise ConfigError(f"steps.resources.{name} is no stage and no step; closest are {closest}")
    try:
        from dagster_k8s import k8s_job_executor  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError("steps.executor kubernetes needs dagster-k8s: pip install .[kubernetes]") from error
    config: dict[str, Any] = {
        "per_step_k8s_config": {step: pod_of(stage, settings, step) for step, stage in steps.items()}
    }
    if held.max_concurrent is not None:
        config["max_concurrent"] = held.max_concurrent
    executor: dg.ExecutorDefinition = k8s_job_executor.configured(config, name="k8s")
    return executor


def pod_of(stage: str, settings: Settings, step: str = "") -> dict[str, Any]:
    """What a pod gets, as Dagster's tag ``dagster-k8s/config`` has it: requests, the memory as limit, the volume."""
    given = settings.steps.resources_of(stage, step)
    container: dict[str, Any] = {
        "resources": {"requests": {"cpu": given.cpu, "memory": given.memory}, "limits": {"memory": given.memory}}
    }
    pod: dict[str, Any] = {"container_config": container}
    claim = settings.steps.volume_claim
    if claim is not None and stage in ON_VOLUME:
        container["volume_mounts"] = [{"name": VOLUME, "mount_path": str(settings.storage.base)}]
        pod["pod_spec_config"] = {"volumes": [{"name": VOLUME, "persistent_volume_claim": {"claim_name": claim}}]}
    return pod


def job_tags(stage: str, settings: Settings) -> dict[str, Any]:
    """Tags for the pod of a job whose steps share one process; none where there are no pods."""
    return {} if settings.steps.executor == "in_process" else {POD_TAG: pod_of(stage, settings)}
