"""Asset keys, ``[stage, name]``, in one place, so that the order of data never forces an order of imports.

Plain lists: Dagster accepts them wherever a key is wanted, and this module stays free of it.
"""

from typing import Final

Key = list[str]

INGESTION: Final = "ingestion"
STAGING: Final = "staging"
SPLITS: Final = "splits"
SLICES: Final = "slices"
HISTORIES: Final = "histories"
TRANSFORMS: Final = "transforms"
QUALITY: Final = "quality"
TRAINING: Final = "training"
STUDIES: Final = "studies"
EVALUATION: Final = "evaluation"
SERVING: Final = "serving"
CHAMPION: Final = "champion"
MONITORING: Final = "monitoring"

STAGES: Final = (
    INGESTION,
    STAGING,
    SPLITS,
    SLICES,
    HISTORIES,
    TRANSFORMS,
    QUALITY,
    TRAINING,
    STUDIES,
    EVALUATION,
    SERVING,
    CHAMPION,
    MONITORING,
)
"""Every stage, in the order of the data; a stage is also an asset group."""

BUILT: Final = (STAGING, SPLITS, SLICES, HISTORIES)
"""Stages of dbt's models, which one step builds."""

RAW_INTERACTIONS: Final[Key] = [INGESTION, "interactions"]
RAW_ITEMS: Final[Key] = [INGESTION, "items"]
RAW_USERS: Final[Key] = [INGESTION, "users"]

TABLES: Final[Key] = [TRANSFORMS, "tables"]
DATA_DOCS: Final[Key] = [QUALITY, "data_docs"]

SWEEP: Final[Key] = [STUDIES, "sweep"]
GAMMA_SWEEP: Final[Key] = [STUDIES, "gamma_sweep"]
GATES: Final[Key] = [STUDIES, "gates"]
FEATURE_GROUPS: Final[Key] = [STUDIES, "feature_groups"]
SESSIONS: Final[Key] = [STUDIES, "sessions"]
RATINGS: Final[Key] = [STUDIES, "ratings"]
COLD_ITEMS: Final[Key] = [STUDIES, "cold_items"]
TIME_SENSITIVITY: Final[Key] = [STUDIES, "time_sensitivity"]
FRAMES: Final[Key] = [STUDIES, "frames"]
ONLINE_FRAMES: Final[Key] = [STUDIES, "online_frames"]
ONLINE: Final[Key] = [STUDIES, "online"]

METRICS: Final[Key] = [EVALUATION, "metrics"]
LEADERBOARD: Final[Key] = [EVALUATION, "leaderboard"]
DECAY: Final[Key] = [EVALUATION, "decay"]
COMPARISONS: Final[Key] = [EVALUATION, "comparisons"]
SAMPLED_METRICS: Final[Key] = [EVALUATION, "sampled_metrics"]
SAMPLED_TABLES: Final[Key] = [EVALUATION, "sampled_tables"]
LEAVE_ONE_OUT: Final[Key] = [EVALUATION, "leave_one_out"]
LANDED_ENGAGEMENTS: Final[Key] = [INGESTION, "landed_engagements"]
ITEM_FEATURES: Final[Key] = [SERVING, "item_features"]
FRESH_ITEM_EMBEDDINGS: Final[Key] = [SERVING, "fresh_item_embeddings"]
FRESHNESS_REPORT: Final[Key] = [SERVING, "freshness_report"]
ITEM_INDEX: Final[Key] = [SERVING, "item_index"]
QUALITY_OVER_TIME: Final[Key] = [CHAMPION, "quality_over_time"]
CHALLENGER: Final[Key] = [CHAMPION, "challenger"]
CONTEST: Final[Key] = [CHAMPION, "contest"]
PROMOTION: Final[Key] = [CHAMPION, "promotion"]
ENGAGEMENT_DRIFT: Final[Key] = [MONITORING, "engagement_drift"]
PARTITION_DRIFT: Final[Key] = [MONITORING, "partition_drift"]
EVIDENTLY_WORKSPACE: Final[Key] = [MONITORING, "evidently_workspace"]
DASHBOARD: Final[Key] = [MONITORING, "dashboard"]

STATE_EQUALS_BATCH: Final = "state_equals_batch"
INDEX_RECALL: Final = "index_recall"
"""Names of checks, of FRESH_ITEM_EMBEDDINGS and ITEM_INDEX, that some jobs leave out."""

LANDED_PARTITIONS: Final = "landed"
"""Name of the dynamic partitions of landed engagements: a UTC day or hour each."""

FRAME_PARTITIONS: Final = "frames"
"""Name of the dynamic partitions of retraining: a test window of the split each."""

PER_PARTITION: Final = (LANDED_ENGAGEMENTS, ITEM_FEATURES, FRESH_ITEM_EMBEDDINGS, FRESHNESS_REPORT)
"""What is made per partition of landed engagements by the run that the landing sensor requests, in its order."""

WATCHED: Final = (QUALITY_OVER_TIME, PARTITION_DRIFT)
"""What follows a landed partition by itself, in runs of its own: it must not stand before the next file."""

RETRAINING: Final = (CHALLENGER, CONTEST, PROMOTION)
"""What the job that retrains makes, in its order."""

WAREHOUSE_POOL: Final = "warehouse"
"""Pool of every op that opens the DuckDB file, readers too: DuckDB admits one process at a time."""

TRAINING_POOL: Final = "training"
"""Pool of what trains nets outside ``thaw run``: each takes all cores."""

OWNER: Final = "team:thaw"


def checkpoint(model: str) -> Key:
    """Key of a model's trained checkpoint."""
    return [TRAINING, model]


def ranks(model: str) -> Key:
    """Key of a model's per-case ranks."""
    return [EVALUATION, f"{model}_ranks"]


def sampled(model: str) -> Key:
    """Key of a model's per-case ranks among sampled negatives."""
    return [EVALUATION, f"{model}_sampled"]
