"""Vectors and lists of everything at once, as opposed to those that follow engagements."""

from typing import Literal

from pydantic import Field, model_validator

from assets.config.base import StrictModel


class BulkConfig(StrictModel):
    """Who computes the vectors of all items and the lists of all users, as files."""

    engine: Literal["process", "ray"] = Field("process", description="this process, or Ray Data on a cluster")
    workers: int | None = Field(None, ge=1, description="Ray's; each loads the checkpoint and the tables once; none: 2")
    cpus_per_worker: float | None = Field(None, gt=0, description="what Ray reserves for a worker; none: half a core")
    rows: int = Field(4096, ge=1, description="items or users at once")
    k: int = Field(100, ge=1, description="items of a list")

    @model_validator(mode="after")
    def _of_effect(self) -> "BulkConfig":
        if self.engine != "ray" and (self.workers is not None or self.cpus_per_worker is not None):
            raise ValueError("workers and cpus_per_worker are Ray's: set engine to ray")
        return self
