"""Every dataset Thaw knows. A new one is one file in ``datasets/`` and one line here."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assets.config import ConfigError, Settings
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.datasets import amazon, book_crossing, files, ml_100k, movielens, movietweetings_100k, simulated

_REGISTERED: tuple[Adapter[Any], ...] = (
    simulated.DATASET,
    ml_100k.DATASET,
    *movielens.DATASETS,
    movietweetings_100k.DATASET,
    movietweetings_100k.FULL,
    *amazon.NAMED,
    book_crossing.DATASET,
    files.DATASET,
)
DATASETS: Mapping[str, Adapter[Any]] = {dataset.name: dataset for dataset in _REGISTERED}


def find(name: str) -> Adapter[Any]:
    """The dataset called ``name``; of Amazon's categories any.

    Raises:
        ConfigError: listing the known names.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name.startswith(amazon.PREFIX) and name.removeprefix(amazon.PREFIX):
        return amazon.dataset(name)
    raise ConfigError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}, amazon-<category>")


def options_of(dataset: Adapter[Any], settings: Settings) -> AdapterOptions:
    """The dataset's options as ``settings.datasets`` gives them, defaults elsewhere.

    Raises:
        ConfigError: naming the key, for an unknown dataset in ``datasets``, an unknown option or a bad value.
    """
    for name in settings.datasets:
        find(name)
    try:
        options: AdapterOptions = dataset.options(**settings.datasets.get(dataset.name, {}))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'options'}: {one['msg']}" for one in error.errors())
        known = ", ".join(dataset.options.model_fields)
        raise ConfigError(f"datasets.{dataset.name} is not valid: {problems}. Known options: {known}") from error
    return options
