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
    MONITORING,
)
"""Every stage, in the order of the data; a stage is also an asset group."""

RAW_INTERACTIONS: Final[Key] = [INGESTION, "interactions"]
RAW_ITEMS: Final[Key] = [INGESTION, "items"]
RAW_USERS: Final[Key] = [INGESTION, "users"]

TABLES: Final[Key] = [TRANSFORMS, "tables"]
DATA_DOCS: Final[Key] = [QUALITY, "data_docs"]

SWEEP: Final[Key] = [STUDIES, "sweep"]
GAMMA_SWEEP: Final[Key] = [STUDIES, "gamma_sweep"]
GATES: Final[Key] = [STUDIES, "gates"]

METRICS: Final[Key] = [EVALUATION, "metrics"]
LEADERBOARD: Final[Key] = [EVALUATION, "leaderboard"]
DECAY: Final[Key] = [EVALUATION, "decay"]
COMPARISONS: Final[Key] = [EVALUATION, "comparisons"]
SAMPLED_METRICS: Final[Key] = [EVALUATION, "sampled_metrics"]
SAMPLED_TABLES: Final[Key] = [EVALUATION, "sampled_tables"]
LEAVE_ONE_OUT: Final[Key] = [EVALUATION, "leave_one_out"]
ITEM_INDEX: Final[Key] = [SERVING, "item_index"]
ENGAGEMENT_DRIFT: Final[Key] = [MONITORING, "engagement_drift"]
DASHBOARD: Final[Key] = [MONITORING, "dashboard"]

WAREHOUSE_POOL: Final = "warehouse"
"""Pool of every op that opens the DuckDB file, readers too: DuckDB admits one process at a time."""

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
