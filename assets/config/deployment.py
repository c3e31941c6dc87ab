"""Past one machine: where Dagster keeps its state, who executes steps, and which objects hold the data root."""

import re
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from assets.config.base import StrictModel

_CPU: Final = re.compile(r"[1-9][0-9]*m|[0-9]+(\.[0-9]+)?")
_MEMORY: Final = re.compile(r"[1-9][0-9]*(Ki|Mi|Gi|Ti)")


class StateConfig(StrictModel):
    """Dagster's own records: runs, events, schedules, slots of pools."""

    kind: Literal["sqlite", "postgres"] = Field(
        "sqlite",
        description="sqlite, beside dagster.yaml; postgres, a schema per dataset of the database that THAW_POSTGRES_URL"
        " names (pip install .[postgres])",
    )


class ObjectsConfig(StrictModel):
    """Objects that hold what steps made, so that another machine can go on from there."""

    url: str | None = Field(
        None,
        description="s3://bucket/prefix, file:///folder or another of fsspec's (pip install .[objects]); credentials"
        " come from the environment. none: files stay on this machine",
    )
    attempts: int = Field(4, ge=1, description="at a request, with pauses of 0.5 s, 1 s, 2 s and so on")
    wait_seconds: float = Field(
        600.0, ge=0, description="for what another machine made and is still sending, before a step gives up"
    )

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^@?#]+", url):
            raise ValueError(
                f"objects.url {url!r} is none: write s3://bucket/prefix or file:///folder, and leave names and"
                " passwords to the environment"
            )
        return url


class StepResources(StrictModel):
    """What Kubernetes reserves for a pod; memory is its limit too."""

    cpu: str = Field("1", description="cores, e.g. 2 or 500m")
    memory: str = Field("2Gi", description="e.g. 4Gi; a pod that takes more is killed")

    @field_validator("cpu")
    @classmethod
    def _is_cpu(cls, value: str) -> str:
        if not _CPU.fullmatch(value) or value.strip("0.") == "":
            raise ValueError(f"cpu {value!r} is no number of cores: write 2, 0.5 or 500m")
        return value

    @field_validator("memory")
    @classmethod
    def _is_memory(cls, value: str) -> str:
        if not _MEMORY.fullmatch(value):
            raise ValueError(f"memory {value!r} is no size: write 4Gi or 512Mi")
        return value


MEASURED: Final = {
    "ingestion": StepResources(cpu="2", memory="4Gi"),
    "transforms": StepResources(cpu="2", memory="5Gi"),
    "quality": StepResources(cpu="2", memory="5Gi"),
    "training": StepResources(cpu="2", memory="10Gi"),
    "evaluation": StepResources(cpu="2", memory="10Gi"),
    "serving": StepResources(cpu="2", memory="11Gi"),
    "champion": StepResources(cpu="2", memory="10Gi"),
    "monitoring": StepResources(cpu="1", memory="6Gi"),
}
"""By stage. Peaks at ten million engagements on two cores (docs/results/scale.json), rounded up by 0.5 GiB or more:
3.3, 3.8, 4.1, 8.0 (``two_tower``), 8.6, 9.3 GiB and, for drift, 5.1; a contest trains and ranks. All steps of that
run shared a process, so a pod of its own needs less."""


OF_SEVERAL_ASSETS: Final = ("dbt_models", "ingest")
"""Steps that are not called after their stage; all others are ``<stage>__<name>``."""


class StepsConfig(StrictModel):
    """Who executes the steps of ``refresh_all`` and ``refresh_data``."""

    executor: Literal["in_process", "kubernetes"] = Field(
        "in_process", description="the run's own process, or a pod per step (pip install .[kubernetes])"
    )
    max_concurrent: int | None = Field(None, ge=1, description="pods of one run at once; none: no bound")
    resources: dict[str, StepResources] | None = Field(
        None, description="by stage (training, ...) or step (training__sasrec, ...); others have measured defaults"
    )
    volume_claim: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        description="persistent volume claim that is the dataset's folder, live/ and champion/ in it, for pods of what"
        " serves, judges and shows it",
    )

    @model_validator(mode="after")
    def _of_effect(self) -> Self:
        given = [name for name in ("max_concurrent", "resources", "volume_claim") if getattr(self, name) is not None]
        if self.executor != "kubernetes" and given:
            raise ValueError(f"steps.{given[0]} is for pods: set steps.executor to kubernetes")
        return self

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        for name in self.resources or {}:
            if name.partition("__")[0] not in MEASURED and name not in OF_SEVERAL_ASSETS:
                raise ValueError(
                    f"steps.resources.{name} is no stage and no step: stages are {', '.join(MEASURED)}; steps"
                    f" {', '.join(OF_SEVERAL_ASSETS)}, and those of stages, such as training__sasrec"
                )
        return self

    def resources_of(self, stage: str, step: str) -> StepResources:
        """What a step's pod gets: its own entry, its stage's, the measured one."""
        own = self.resources or {}
        return own.get(step) or own.get(stage) or MEASURED.get(stage) or StepResources()
