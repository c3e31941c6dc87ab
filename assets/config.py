"""Typed configuration, written once. Unknown keys are rejected.

Values come from defaults, then a YAML file, then the environment.

Environment: ``THAW_DATASET``, ``THAW_MODELS`` (comma-separated roster), ``THAW_HOME`` (where ``data/`` and
``.dagster/`` lie; default: the project root), ``THAW_DATA_DIR`` (local copies of datasets, ``<dir>/<name>/``),
``THAW_CONFIG`` (YAML file with any part of :class:`Settings`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from assets.schema import ItemEmbeddings, UserHistory
from assets.storage import Storage

PROJECT_ROOT = Path(__file__).resolve().parent.parent

MEDIAN: Final = 0.5
HELD_OUT_SHARES: Final = {"held_out_items": 0.5, "held_out_users": 0.2}
"""What of all ids the kinds that hold ids out hold out, unless told: HRNN-meta paper, Table 7 and section 4.1."""
DEFAULT_HEAD_SHARE: Final = 0.2
"""The Pareto principle's share (CDN paper, section 4.1)."""

CUT_IN_TIME: Final = ("median_time", "quantile", "fraction")
"""Kinds of split whose cutoff is an instant of the source's time."""

KINDS_WITH: Final = {
    "fraction": ("fraction",),
    "frame": ("fraction",),
    "held_out_by": ("leave_one_out",),
    "held_out_share": tuple(HELD_OUT_SHARES),
    "held_out_seed": tuple(HELD_OUT_SHARES),
    "windows": ("median_time", "quantile"),
    "cut_by": ("median_time", "quantile"),
    "validation_fraction": (*CUT_IN_TIME, *HELD_OUT_SHARES),
}
"""Settings of the split that some kinds only have -> those kinds."""


RANDOM_LEAVE_ONE_OUT: Final = {"kind": "leave_one_out", "held_out_by": "random"}
TIMELESS: Final = ("book-crossing",)
"""Datasets whose engagements have no time: :data:`RANDOM_LEAVE_ONE_OUT` is their split unless another is configured."""


class ConfigError(ValueError):
    """A configuration value is wrong; the message names the source and the key."""


class StrictModel(BaseModel):
    """Base of every configuration: immutable, unknown keys rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EngagementRule(StrictModel):
    """Which interactions count as engagements (default: every row), and which users and items the tables keep."""

    minimum_value: float | None = Field(None, description="keep interactions whose value is at least this")
    event_types: tuple[str, ...] = Field((), description="keep these event types; empty keeps all")
    k_core: int = Field(
        0, ge=0, description="keep users and items with at least this many kept engagements each; 0 keeps all"
    )
    k_core_counts: Literal["before_cutoff", "all_looking_ahead"] = Field(
        "before_cutoff",
        description="engagements that k_core counts. before_cutoff: what is known at the cutoff; users and items that"
        " come later stay. all_looking_ahead: those of test time too, as published experiments do",
    )
    k_core_passes: int | None = Field(
        None,
        ge=1,
        description="how often k_core counts and leaves out; none: until all that is kept has enough. 1: as the"
        " preprocessing of SASRec, whose kept users and items may have fewer",
    )

    @model_validator(mode="after")
    def _core_is_asked_for(self) -> Self:
        if self.k_core == 1:
            raise ValueError("k_core 1 leaves nothing out: use 0 for none, or 2 and more")
        if not self.k_core and (self.k_core_counts != "before_cutoff" or self.k_core_passes is not None):
            raise ValueError("k_core_counts and k_core_passes are for a k_core of 2 and more")
        return self

    @property
    def looks_ahead(self) -> bool:
        """Whether what is kept depends on engagements of test time."""
        return self.k_core_counts == "all_looking_ahead"


class SplitConfig(StrictModel):
    """The split, and what counts as head and tail (DESIGN section 3). A setting without effect is refused."""

    kind: Literal["median_time", "quantile", "fraction", "leave_one_out", "held_out_items", "held_out_users"] = (
        "median_time"
    )
    quantile: float | None = Field(
        None, gt=0, lt=1, description="of all timestamps, where the cutoff lies; for kind quantile"
    )
    fraction: float = Field(
        0.7, gt=0, lt=1, description="of all engagements, the earliest, that are train time; for kind fraction"
    )
    frame: Literal["hour", "day", "week"] = Field(
        "day", description="length of the test windows of fraction, which follow each other from the cutoff on"
    )
    held_out_by: Literal["time", "random"] = Field(
        "time", description="which two engagements of a user leave_one_out holds out: the latest, or any"
    )
    held_out_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of the items or users, what is held out; none: 0.5 of the items, 0.2 of the users",
    )
    held_out_seed: int = Field(0, description="which items held_out_items holds out, or users held_out_users")
    windows: int = Field(5, ge=1, le=50, description="of kinds median_time and quantile")
    cut_by: Literal["duration", "count"] = Field("duration", description="how the test period is cut into windows")
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of train engagements, the latest, that form the validation tail"
    )
    head_rule: Literal["count", "pareto"] = Field("count", description="what makes an item head: its count or its rank")
    head_share: float = Field(
        DEFAULT_HEAD_SHARE,
        gt=0,
        lt=1,
        description="share of the catalog, the most frequent items, that pareto calls head",
    )
    tail_max_count: int = Field(
        10, ge=1, description="head_rule count: items with 1..this many train engagements are tail"
    )
    qualified_user_min: int = Field(10, ge=1, description="train engagements that qualify a user for item histories")
    history_length: int = Field(50, ge=1, description="latest rows kept per user or item history")

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        if (self.kind == "quantile") != (self.quantile is not None):
            raise ValueError("kind quantile needs a quantile, and no other kind has one")
        for name, kinds in KINDS_WITH.items():
            if self.kind not in kinds and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for kind {' or '.join(kinds)}")
        if self.head_rule != "pareto" and self.head_share != DEFAULT_HEAD_SHARE:
            raise ValueError("head_share is for head_rule pareto")
        return self

    @property
    def cuts_in_time(self) -> bool:
        """Whether the cutoff is an instant of the source's time, so that test is what happened after train."""
        return self.kind in CUT_IN_TIME

    @property
    def cutoff_quantile(self) -> float:
        """Where kinds that cut in time do; the others do not ask."""
        if self.kind == "fraction":
            return self.fraction
        return MEDIAN if self.quantile is None else self.quantile

    @property
    def share_held_out(self) -> float:
        """Of the items or users, what kinds that hold ids out do; the others do not ask."""
        if self.held_out_share is not None:
            return self.held_out_share
        return HELD_OUT_SHARES.get(self.kind, HELD_OUT_SHARES["held_out_items"])

    @property
    def test_windows(self) -> int | None:
        """How many test windows there are; None where the data decide: as many frames as reach its end."""
        if self.kind == "fraction":
            return None
        return self.windows if self.cuts_in_time else 1

    @property
    def test_cut(self) -> Literal["duration", "count", "frame"]:
        """How the test period is cut into windows."""
        return "frame" if self.kind == "fraction" else self.cut_by


class Protocol(StrictModel):
    """One way to evaluate frozen weights (DESIGN section 5)."""

    user_history: UserHistory = UserHistory.ROLLING
    item_embeddings: ItemEmbeddings = ItemEmbeddings.REFRESHED


class EvaluationConfig(StrictModel):
    """Full-ranking evaluation."""

    protocols: tuple[Protocol, ...] = (
        Protocol(),
        Protocol(user_history=UserHistory.FROZEN, item_embeddings=ItemEmbeddings.FROZEN),
    )
    ks: tuple[int, ...] = (5, 10, 20, 50)
    max_cases: int = Field(
        60_000, ge=1, description="test cases every model is ranked on; of more, so many are drawn, the same for all"
    )
    bootstrap_samples: int = Field(500, ge=2)
    smoothing: float = Field(0.02, gt=0, description="added to every item's (decayed) count, so that logs are finite")
    min_cases: int = Field(100, ge=1, description="results with fewer cases are flagged")

    @property
    def headline(self) -> Protocol:
        """The protocol that leaderboards show: the first one."""
        return self.protocols[0]


class SampledConfig(StrictModel):
    """Ranking among sampled negatives, for comparison with published tables (DESIGN section 5)."""

    negatives: int = Field(100, ge=1, description="drawn per case")
    seed: int = Field(0, description="of the draws; every model and training seed meets the same negatives")
    ks: tuple[int, ...] = (10, 50)
    protocols: tuple[Protocol, ...] = (
        Protocol(),
        Protocol(user_history=UserHistory.FROZEN),
        Protocol(user_history=UserHistory.FROZEN, item_embeddings=ItemEmbeddings.FROZEN),
    )


class TrainingConfig(StrictModel):
    """What every training shares; a model's own hyper-parameters are in ``assets.training.presets``."""

    seed: int = 0
    seeds: int = Field(1, ge=1, description="nets are trained with this many seeds, counting up from seed")
    max_epochs: int | None = Field(None, ge=1, description="overrides every preset's number of epochs")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    hyper_parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per model name: preset fields to replace"
    )
    grids: dict[str, tuple[dict[str, Any], ...]] = Field(
        default_factory=dict,
        description="per model name: the overrides that studies/sweep tries, in place of its documented grid",
    )


class OnlineConfig(StrictModel):
    """Retraining before every frame of the test period (HRNN-meta paper, section 4.5 and Fig. 5)."""

    model: str = Field("hrnn_meta", description="the net that is retrained")
    window_days: float = Field(
        70, gt=0, description="engagements so long before a frame are trained on: ten frames of a week, as the paper's"
    )
    epochs: int = Field(5, ge=1, description="of every training, at the cutoff and before each frame; as the paper's")


class StudiesConfig(StrictModel):
    """Studies of test windows (``thaw studies``)."""

    max_cases: int = Field(
        20_000, ge=1, description="test cases that a variant is ranked on; of more, so many are drawn, the same for all"
    )
    online: OnlineConfig = OnlineConfig()


class IndexConfig(StrictModel):
    """Vector index of item embeddings."""

    minimum_recall: float = Field(0.95, gt=0, le=1, description="recall@10 against exact search below this fails")
    queries: int = Field(1000, ge=1, description="user embeddings the self-check searches with")


class TriggerConfig(StrictModel):
    """When a touched item is embedded again (IHM paper, section 4: real-time embedding inference)."""

    on_engagement: bool = Field(True, description="every engagement triggers; else every `every`-th one does")
    every: int = Field(10, ge=1, description="engagements since the last embedding that trigger, without on_engagement")
    minimum_interval_seconds: float = Field(
        0.0, ge=0, description="between two embeddings of one item; what comes sooner waits"
    )
    maximum_wait_seconds: float = Field(
        3600.0, ge=0, description="a touched item that nothing triggered is embedded after this long"
    )


class FreshnessConfig(StrictModel):
    """The path from a landed file to a searchable item."""

    partition: Literal["day", "hour"] = Field("day", description="span of a partition of landed engagements, UTC")
    trigger: TriggerConfig = TriggerConfig()
    retention_days: int = Field(
        365, ge=1, description="a row this much older than the latest engagement is set aside: it may be a repetition"
    )
    max_quarantine_share: float = Field(
        0.05, ge=0, le=1, description="refuse a landed file of which more than this share of rows is set aside"
    )
    files_per_run: int = Field(2000, ge=1, description="landed files that one run takes, at most")
    partitions_per_run: int = Field(31, ge=1, description="partitions that one run takes, at most")
    sensor_seconds: int = Field(5, ge=1, description="between two looks at the landing folder")
    attempts: int = Field(5, ge=1, description="runs for the same files before they are left to a person")
    compact_share: float = Field(
        0.2, gt=0, description="the index is compacted when its deltas hold this share of the catalog"
    )
    ats_p95_seconds: float = Field(60.0, gt=0, description="action-to-serving latency that a check allows")
    new_item_days: float = Field(7.0, gt=0, description="items available for at most this long count as new")


class ServiceConfig(StrictModel):
    """The HTTP service; its bearer token comes from the environment alone (``THAW_SERVICE_TOKEN``)."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    max_k: int = Field(100, ge=1)
    max_users: int = Field(100, ge=1, description="users of one request")
    max_body_bytes: int = Field(65_536, ge=1)
    poll_milliseconds: int = Field(50, ge=1, description="between two looks for new deltas")


class DriftConfig(StrictModel):
    """Drift reports, and when a landed partition is called drifted."""

    sample_rows: int = Field(20_000, ge=100, description="rows per side of a report; stated on the page")
    reference_days: float = Field(
        28, gt=0, description="engagements so long before the champion's cutoff are what landed partitions are held to"
    )
    minimum_rows: int = Field(50, ge=1, description="a partition with fewer engagements is not judged")
    keep_reports: int = Field(60, ge=1, description="newest landed partitions whose full reports are kept")
    keep_days: float = Field(
        400, gt=0, description="snapshots of the workspace older than this (event time, before the newest) are removed"
    )


class AlertConfig(StrictModel):
    """When the decay of the model that serves asks for a new one."""

    reference_days: float = Field(14, gt=0, description="of event time after its cutoff: what its quality is held to")
    recent_days: float = Field(7, gt=0, description="of event time, the latest: what is held to it")
    tolerance: float = Field(
        0.1, ge=0, lt=1, description="relative loss that is borne: alert when the 95 % interval lies wholly beyond it"
    )
    min_cases: int = Field(300, ge=1, description="on either side; with fewer nothing is said")


class RetrainingConfig(StrictModel):
    """Challengers, the contest with the champion, and promotion."""

    models: tuple[str, ...] = Field((), description="nets to train as challengers; empty: the champion's own model")
    window_days: float = Field(
        14, gt=0, description="newest window: held out from challengers, and what they and the champion are compared on"
    )
    min_cases: int = Field(300, ge=1, description="of the newest window; with fewer nobody is promoted")
    cooldown_days: float = Field(
        7,
        ge=0,
        description="of event time after a contest or a rollback in which no alert asks for another; doubled by each"
        " further contest in a row that was lost, up to four times as long",
    )
    keep: int = Field(5, ge=1, description="contests whose challengers' checkpoints are kept, the newest")
    alert: AlertConfig = AlertConfig()


class QualityConfig(StrictModel):
    """Quality of the champion per landed partition."""

    max_cases: int = Field(
        5_000, ge=1, description="engagements of a partition that are ranked; of more, so many drawn"
    )
    lists: int = Field(500, ge=1, description="of those, whose top 10 is looked at: scores, coverage, popularity")
    items: int = Field(1_000, ge=1, description="items whose embeddings are compared between two refreshes")


class NotifierConfig(StrictModel):
    """Who is told of failed runs and decay alerts; addresses come from the environment alone, they are secrets."""

    kind: Literal["log", "webhook", "slack"] = "log"
    address_variable: str = Field(
        "THAW_WEBHOOK", description="environment variable that holds the address, for webhook and slack"
    )
    timeout_seconds: float = Field(10.0, gt=0)


class DashboardConfig(StrictModel):
    """Evidently's server."""

    port: int = Field(8001, ge=1, le=65535, description="on the loopback address")


class Settings(StrictModel):
    """Everything a run can be told."""

    dataset: str = "simulated"
    models: tuple[str, ...] = Field((), description="roster; empty means every registered model of the default roster")
    engagement: EngagementRule = EngagementRule()
    split: SplitConfig = SplitConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    sampled: SampledConfig = SampledConfig()
    studies: StudiesConfig = StudiesConfig()
    training: TrainingConfig = TrainingConfig()
    index: IndexConfig = IndexConfig()
    freshness: FreshnessConfig = FreshnessConfig()
    service: ServiceConfig = ServiceConfig()
    drift: DriftConfig = DriftConfig()
    quality: QualityConfig = QualityConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    notifier: NotifierConfig = NotifierConfig()
    dashboard: DashboardConfig = DashboardConfig()
    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="per dataset name: options of its adapter"
    )
    home: Path = PROJECT_ROOT
    data_dir: Path | None = Field(None, description="local copies of datasets, one folder per name")

    @model_validator(mode="after")
    def _protocols_named_once(self) -> Self:
        if len(set(self.evaluation.protocols)) != len(self.evaluation.protocols):
            raise ValueError("evaluation.protocols lists one protocol twice")
        return self

    @model_validator(mode="after")
    def _core_counts_what_is_known(self) -> Self:
        if self.engagement.k_core and not self.engagement.looks_ahead and not self.split.cuts_in_time:
            raise ValueError(
                f"engagement.k_core counts what lies before the cutoff, and split.kind {self.split.kind} has no cutoff"
                " in time: set engagement.k_core_counts to all_looking_ahead"
            )
        return self

    @property
    def storage(self) -> Storage:
        return Storage(root=self.home / "data", dataset=self.dataset)


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
        return Settings(**values)
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
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"THAW_CONFIG={path} cannot be read: {error}") from error
    if not isinstance(content or {}, dict):
        raise ConfigError(f"THAW_CONFIG={path} must hold a mapping of settings")
    return content or {}
