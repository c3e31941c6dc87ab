"""``thaw together``: a training that torchrun does on several machines, written down for them."""

import shlex
from typing import Annotated

import typer

from orchestration.options import Dataset, settings_of

app = typer.Typer()


@app.command()
def together(model: Annotated[str, typer.Argument(help="a registered net")], dataset: Dataset = None) -> None:
    """Write what several machines need to train a net together, and print what to start on each of them.

    When they are done, making the model's checkpoint takes what they trained; the command for it is printed.
    """
    from assets.config import ConfigError  # noqa: PLC0415 - with all below imports torch
    from assets.training.distributed.apart import write_job  # noqa: PLC0415
    from assets.training.distributed.launch import WORKER  # noqa: PLC0415
    from assets.training.seeds import for_seed, seeds_of  # noqa: PLC0415
    from assets.transforms.export import TablesError  # noqa: PLC0415

    settings = settings_of(dataset, None)
    try:
        jobs = [write_job(model, for_seed(settings, seed)) for seed in seeds_of(model, settings)]
    except (ConfigError, TablesError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo("On each of NODES machines, with PROCESSES of them on each; HOST is one of the machines:")
    for job in jobs:
        typer.echo(
            "torchrun --nnodes NODES --nproc-per-node PROCESSES --rdzv-backend c10d --rdzv-endpoint HOST:29500"
            f" -m {WORKER} {shlex.quote(str(job))}"
        )
    step = f"""'key:"training/{model}"'"""
    typer.echo(f"Then, where the data root lies: thaw run --select {step} && thaw run")
