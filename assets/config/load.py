"""Settings from defaults, a YAML file and the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from assets.config.base import ConfigError
from assets.config.settings import Settings

RANDOM_LEAVE_ONE_OUT: Final = {"kind": "leave_one_out", "held_out_by": "random"}


TIMELESS: Final = ("book-crossing",)
"""Datasets whose engagements have no time: :data:`RANDOM_LEAVE_ONE_OUT` is their split unless another is configured."""


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from defaults, the YAML file at ``THAW_CONFIG``, the environment and ``overrides``, later ones winning.

    Raises:
        ConfigError: naming the file or variable and the key, for an unreadable file, an unknown key or a bad value.
    """
    environment = os.environ if environment is None else environment
    values = _read_yaml(environment.get("THAW_CONFIG"))
    if dataset := environment.get("THAW_DATASET"):
        values["dataset"] = dataset
    if models := environment.get("THAW_MODELS"):
        values["models"] = tuple(name.strip() for name in models.split(",") if name.strip())
    if home := environment.get("THAW_HOME"):
        values["home"] = Path(home).resolve()
    if data_dir := environment.get("THAW_DATA_DIR"):
        values["data_dir"] = Path(data_dir).resolve()
    values.update(overrides)
    values = _split_without_times(values)
    try:
        return Settings.model_validate(values)  # in YAML a key may be a number or a truth, which no keyword can be
    except ValidationError as error:
        source = environment.get("THAW_CONFIG") or "the environment"
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"configuration from {source} is not valid: {problems}") from error


def _split_without_times(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the split that a dataset without times has, where they name no kind of split.

    Raises:
        ConfigError: when they name one that asks for times.
    """
    given = values.get("split", {})
    if values.get("dataset") not in TIMELESS or not isinstance(given, dict):
        return values
    split = {**({} if "kind" in given else RANDOM_LEAVE_ONE_OUT), **given}
    if {name: split.get(name) for name in RANDOM_LEAVE_ONE_OUT} != RANDOM_LEAVE_ONE_OUT:
        raise ConfigError(
            f"dataset {values['dataset']} has no times, so it cannot be split by split.kind {split['kind']}: leave"
            " split.kind out, or set it to leave_one_out with held_out_by random"
        )
    return {**values, "split": split}


def _read_yaml(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"THAW_CONFIG={path} cannot be read: {error}") from error
    if not isinstance(content or {}, dict):
        raise ConfigError(f"THAW_CONFIG={path} must hold a mapping of settings")
    return content or {}
