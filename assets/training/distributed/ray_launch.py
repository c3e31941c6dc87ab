"""The same worker under Ray Train: Ray places the processes on a cluster's machines and connects them."""

import os
from typing import Any, Final

from assets.config import PROJECT_ROOT
from assets.training.distributed.job import Job, failure


def run_on_ray(job: Job) -> None:
    """Start the job's processes where ``RAY_ADDRESS`` leads, or in a cluster of this machine, and wait for them.

    Raises:
        ModuleNotFoundError: without the extra.
        TogetherError: when a process fails; with its message.
    """
    started = start_ray()
    from ray.train import RunConfig, ScalingConfig  # noqa: PLC0415 - takes seconds
    from ray.train.torch import TorchTrainer  # noqa: PLC0415

    training = job.settings.training
    trainer = TorchTrainer(
        work_on_ray,
        train_loop_config=job.dump(),
        scaling_config=ScalingConfig(
            num_workers=training.parallel.processes,
            use_gpu=_on_gpus(training.device),
            resources_per_worker={"CPU": training.parallel.cpus_per_process or 1},
        ),
        run_config=RunConfig(name="run", storage_path=str(job.folder / "ray")),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise failure(job, f"Ray Train stopped ({type(error).__name__})") from error
    finally:
        if started:
            stop_ray()


def _on_gpus(device: str) -> bool:
    """Whether processes get a GPU each; ``auto`` goes by this machine, which may have none where the others do."""
    import torch  # noqa: PLC0415

    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def work_on_ray(values: dict[str, Any]) -> None:
    """The worker, in a process that Ray has already connected to the others."""
    from assets.training.distributed.worker import work  # noqa: PLC0415

    work(Job.load(values))


STARTS: Final = 3
SLOW: Final = "timed out during startup"
"""What Ray says when its own processes did not answer within 30 s, which no setting prolongs: a busy machine, once."""


def start_ray() -> bool:
    """Connect to Ray, or start it here; returns whether that was done now.

    Raises:
        ModuleNotFoundError: without the extra.
    """
    try:
        import ray  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("ray is not installed: pip install .[ray], or choose another engine") from error
    if ray.is_initialized():
        return False
    # Processes import the project from where it is installed, and its folder where it is run from a checkout.
    path = os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(include_dashboard=False, configure_logging=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
        except Exception as error:
            ray.shutdown()  # what has started of it
            if attempt == STARTS or SLOW not in str(error):
                raise
        else:
            break
    return True


def stop_ray() -> None:
    """End the connection, and what :func:`start_ray` started."""
    import ray  # noqa: PLC0415

    ray.shutdown()
