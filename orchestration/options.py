"""Options that commands share, and what they become."""

import os
from typing import Annotated

import typer
from pydantic import ValidationError

from assets.config import ConfigError, Settings, TrainingConfig, load_settings
from assets.config.data_format import DataFormatError, require_format
from orchestration.exits import exit_on

Dataset = Annotated[str | None, typer.Option(help="registered dataset; default: THAW_DATASET or 'simulated'")]
Models = Annotated[str | None, typer.Option(help="comma-separated roster; default: THAW_MODELS or the default roster")]
Seeds = Annotated[int | None, typer.Option(min=1, help="train the nets with this many seeds")]


def settings_of(dataset: str | None, models: str | None = None, *, registered: bool = True) -> Settings:
    """Settings from the environment and the options; also exported, for the processes that Dagster starts.

    The data root is brought up to date, or the command ends here, before it writes.

    Args:
        registered: the dataset must be one that this machine knows; not where only its tables are read.
    """
    if dataset:
        os.environ["THAW_DATASET"] = dataset
    if models:
        os.environ["THAW_MODELS"] = models
    try:
        settings = load_settings()
        _check_names(settings, registered)
    except (ConfigError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    with exit_on(DataFormatError):
        require_format(settings.storage)
    return settings


def with_seeds(settings: Settings, seeds: int | None) -> Settings:
    """The settings with as many training seeds as the option ``--seeds`` asks for; as they are without it.

    Raises:
        typer.BadParameter: when there are not so many from ``training.seed`` on.
    """
    if seeds is None:
        return settings
    try:
        training = TrainingConfig.model_validate(settings.training.model_dump() | {"seeds": seeds})
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise typer.BadParameter(problems, param_hint="--seeds") from error
    return settings.model_copy(update={"training": training})


def _check_names(settings: Settings, registered: bool) -> None:
    """Fail on an unknown dataset or model before anything heavy starts."""
    from assets.ingestion.registry import find  # noqa: PLC0415 - keeps `thaw --help` fast
    from assets.training.registry import roster  # noqa: PLC0415

    if registered:
        find(settings.dataset, settings.data_dir)
    roster(settings)
