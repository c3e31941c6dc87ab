"""Typed configuration, written once. Unknown keys are rejected.

Values come from defaults, then a YAML file, then the environment.

Environment: ``THAW_DATASET``, ``THAW_MODELS`` (comma-separated roster), ``THAW_HOME`` (where ``data/`` and
``.dagster/`` lie; default: the project root), ``THAW_DATA_DIR`` (local copies of datasets, ``<dir>/<name>/``),
``THAW_CONFIG`` (YAML file with any part of :class:`Settings`).
"""

from assets.config.base import ConfigError, StrictModel
from assets.config.evaluation import EvaluationConfig, OnlineConfig, Protocol, SampledConfig, StudiesConfig
from assets.config.limits import LimitsConfig
from assets.config.load import RANDOM_LEAVE_ONE_OUT, TIMELESS, load_settings
from assets.config.monitoring import (
    AlertConfig,
    DashboardConfig,
    DriftConfig,
    NotifierConfig,
    QualityConfig,
    RetrainingConfig,
)
from assets.config.serving import (
    FreshnessConfig,
    IndexConfig,
    IndexKind,
    ServiceConfig,
    StoreConfig,
    StoreKind,
    TriggerConfig,
)
from assets.config.settings import PROJECT_ROOT, Settings
from assets.config.split import (
    CUT_IN_TIME,
    DEFAULT_HEAD_SHARE,
    HELD_OUT_SHARES,
    KINDS_WITH,
    MEDIAN,
    EngagementRule,
    SplitConfig,
)
from assets.config.training import TrainingConfig
from assets.config.transforms import EngineName, TransformsConfig

__all__ = [
    "CUT_IN_TIME",
    "DEFAULT_HEAD_SHARE",
    "HELD_OUT_SHARES",
    "KINDS_WITH",
    "MEDIAN",
    "PROJECT_ROOT",
    "RANDOM_LEAVE_ONE_OUT",
    "TIMELESS",
    "AlertConfig",
    "ConfigError",
    "DashboardConfig",
    "DriftConfig",
    "EngagementRule",
    "EngineName",
    "EvaluationConfig",
    "FreshnessConfig",
    "IndexConfig",
    "IndexKind",
    "LimitsConfig",
    "NotifierConfig",
    "OnlineConfig",
    "Protocol",
    "QualityConfig",
    "RetrainingConfig",
    "SampledConfig",
    "ServiceConfig",
    "Settings",
    "SplitConfig",
    "StoreConfig",
    "StoreKind",
    "StrictModel",
    "StudiesConfig",
    "TrainingConfig",
    "TransformsConfig",
    "TriggerConfig",
    "load_settings",
]
