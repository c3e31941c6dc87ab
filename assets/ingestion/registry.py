"""Every dataset Thaw knows. A new one is one file in ``datasets/`` and one line here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assets.config import ConfigError, Settings
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.content import TextOptions
from assets.ingestion.datasets import (
    amazon,
    book_crossing,
    files,
    mapped,
    ml_100k,
    movielens,
    movietweetings_100k,
    simulated,
)
from assets.storage import DATASET_NAME

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


def find(name: str, data_dir: Path | None = None) -> Adapter[Any]:
    """The dataset called ``name``; of Amazon's categories any, and any folder of ``data_dir`` with a mapping.

    Raises:
        ConfigError: listing the known names, or for a mapping that is not valid or that a registered name hides.
    """
    if data_dir is not None and mapped.is_mapped(name, data_dir):
        if name in DATASETS and name != files.DATASET.name:
            raise ConfigError(f"{data_dir / name / mapped.MAPPING}: {name} is a dataset of its own; rename the folder")
        return mapped.dataset(name, data_dir)
    if name in DATASETS:
        return DATASETS[name]
    if name.startswith(amazon.PREFIX) and name.removeprefix(amazon.PREFIX) and DATASET_NAME.fullmatch(name):
        return amazon.dataset(name)
    own = "".join(f", {one}" for one in mapped.mapped_names(data_dir) if one not in DATASETS)
    raise ConfigError(
        f"unknown dataset {name!r}; known: {', '.join(DATASETS)}, amazon-<category>{own}, and folders of THAW_DATA_DIR "
        f"with a {mapped.MAPPING}"
    )


def listed(data_dir: Path | None) -> dict[str, Adapter[Any]]:
    """Every dataset by name: the registered ones, then folders of ``data_dir`` with a mapping.

    Raises:
        ConfigError: for a mapping that is not valid.
    """
    own = {name: mapped.dataset(name, data_dir) for name in mapped.mapped_names(data_dir)} if data_dir else {}
    return {**DATASETS, **own}


def options_of(dataset: Adapter[Any], settings: Settings) -> AdapterOptions:
    """The dataset's options as ``settings.datasets`` gives them, defaults elsewhere.

    Raises:
        ConfigError: naming the key, for an unknown dataset in ``datasets``, an unknown option or a bad value.
    """
    for name in settings.datasets:
        _found_in_settings(name, settings.data_dir)
    try:
        options: AdapterOptions = dataset.options(**settings.datasets.get(dataset.name, {}))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'options'}: {one['msg']}" for one in error.errors())
        known = ", ".join(dataset.options.model_fields)
        raise ConfigError(f"datasets.{dataset.name} is not valid: {problems}. Known options: {known}") from error
    return options


def _found_in_settings(name: str, data_dir: Path | None) -> None:
    try:
        find(name, data_dir)
    except ConfigError as error:
        raise ConfigError(f"datasets.{name}: {error}") from error  # a name alone would not tell where it is written


def text_options(settings: Settings) -> TextOptions | None:
    """What the content of the dataset's items is made of, those that land included; ``None``: of no text.

    Items may land for a dataset that is not registered: nothing is known of its text.

    Raises:
        ConfigError: as :func:`options_of`, or for a mapping that is not valid.
    """
    try:
        dataset = find(settings.dataset, settings.data_dir)
    except ConfigError:
        if settings.data_dir is not None and mapped.is_mapped(settings.dataset, settings.data_dir):
            raise
        return None
    return options_of(dataset, settings).text
