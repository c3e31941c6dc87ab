"""Everything a run can be told, in one model."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from assets.config.base import StrictModel
from assets.config.bulk import BulkConfig
from assets.config.deployment import ObjectsConfig, StateConfig, StepsConfig
from assets.config.evaluation import EvaluationConfig, SampledConfig, StudiesConfig
from assets.config.limits import LimitsConfig
from assets.config.monitoring import DashboardConfig, DriftConfig, NotifierConfig, QualityConfig, RetrainingConfig
from assets.config.serving import FreshnessConfig, IndexConfig, ServiceConfig, StoreConfig
from assets.config.split import EngagementRule, SplitConfig
from assets.config.training import TrainingConfig
from assets.config.transforms import TransformsConfig
from assets.storage import DATASET_NAME, Storage

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent


class Settings(StrictModel):
    """Everything a run can be told."""

    dataset: str = Field("simulated", pattern=f"^{DATASET_NAME.pattern}$")
    models: tuple[str, ...] = Field((), description="roster; empty means every registered model of the default roster")
    engagement: EngagementRule = EngagementRule()
    split: SplitConfig = SplitConfig()
    transforms: TransformsConfig = TransformsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    sampled: SampledConfig = SampledConfig()
    studies: StudiesConfig = StudiesConfig()
    training: TrainingConfig = TrainingConfig()
    index: IndexConfig = IndexConfig()
    bulk: BulkConfig = BulkConfig()
    store: StoreConfig = StoreConfig()
    freshness: FreshnessConfig = FreshnessConfig()
    service: ServiceConfig = ServiceConfig()
    drift: DriftConfig = DriftConfig()
    quality: QualityConfig = QualityConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    notifier: NotifierConfig = NotifierConfig()
    dashboard: DashboardConfig = DashboardConfig()
    limits: LimitsConfig = LimitsConfig()
    state: StateConfig = StateConfig()
    steps: StepsConfig = StepsConfig()
    objects: ObjectsConfig = ObjectsConfig()
    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per dataset name: options of its adapter"
    )
    home: Path = PROJECT_ROOT
    data_dir: Path | None = Field(None, description="local copies of datasets, one folder per name")

    @model_validator(mode="after")
    def _core_counts_what_is_known(self) -> Self:
        if self.engagement.k_core and not self.engagement.looks_ahead and not self.split.cuts_in_time:
            raise ValueError(
                f"engagement.k_core counts what lies before the cutoff, and split.kind {self.split.kind} has no cutoff"
                " in time: set engagement.k_core_counts to all_looking_ahead"
            )
        return self

    @model_validator(mode="after")
    def _core_has_an_engine(self) -> Self:
        if self.engagement.k_core and self.transforms.engine != "duckdb":
            raise ValueError(
                f"engagement.k_core peels users and items until nothing changes, which transforms.engine"
                f" {self.transforms.engine} has no SQL for: set transforms.engine to duckdb, or k_core to 0"
            )
        return self

    @model_validator(mode="after")
    def _pods_share_what_they_make(self) -> Self:
        if self.steps.executor == "kubernetes" and self.objects.url is None:
            raise ValueError("steps.executor kubernetes: pods share no disk; set objects.url to where they leave files")
        return self

    @property
    def storage(self) -> Storage:
        return Storage(root=self.home / "data", dataset=self.dataset)
