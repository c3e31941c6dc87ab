"""Training."""

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from assets.config.base import StrictModel


class ParallelConfig(StrictModel):
    """Nets trained by several processes together: the same batches, and weights that differ by rounding alone."""

    processes: int = Field(1, ge=1, description="of one training; 1 with torchrun: none is started")
    launcher: Literal["torchrun", "ray"] = Field("torchrun", description="torchrun: on this machine; ray: on a cluster")
    split_tables_from: int | None = Field(
        None, ge=2, description="id tables of this many rows or more are divided among the processes; none: copied"
    )
    cpus_per_process: float | None = Field(None, gt=0, description="what Ray reserves for a process; none: 1")

    @model_validator(mode="after")
    def _of_effect(self) -> Self:
        if self.split_tables_from is not None and self.processes == 1:
            raise ValueError("split_tables_from divides tables among processes: set processes to 2 or more")
        if self.cpus_per_process is not None and self.launcher != "ray":
            raise ValueError("cpus_per_process is what Ray reserves: set launcher to ray")
        return self

    @property
    def used(self) -> bool:
        """Whether processes are started at all."""
        return self.processes > 1 or self.launcher == "ray"


SEEDS: Final = 2**32
"""How many there are: numpy's generators take no other."""


class TrainingConfig(StrictModel):
    """What every training shares; a model's own hyper-parameters are in ``assets.training.presets``."""

    seed: int = Field(0, ge=0, lt=SEEDS)
    seeds: int = Field(1, ge=1, description="nets are trained with this many seeds, counting up from seed")
    max_epochs: int | None = Field(None, ge=1, description="overrides every preset's number of epochs")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: ParallelConfig = ParallelConfig()
    hyper_parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per model name: preset fields to replace"
    )
    grids: dict[str, tuple[dict[str, Any], ...]] = Field(
        default_factory=dict,
        description="per model name: the overrides that studies/sweep tries, in place of its documented grid",
    )

    @model_validator(mode="after")
    def _has_every_seed(self) -> Self:
        if self.seed + self.seeds > SEEDS:
            raise ValueError(f"seed {self.seed} and {self.seeds - 1} after it: seeds end at {SEEDS - 1}")
        return self
