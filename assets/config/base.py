"""What every part of the configuration shares."""

from pydantic import BaseModel, ConfigDict


class ConfigError(ValueError):
    """A configuration value is wrong; the message names the source and the key."""


class StrictModel(BaseModel):
    """Base of every configuration: immutable, unknown keys rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)
