"""Building the item index and measuring it: all that the asset and its check do, without Dagster."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.ranking import Recommender
from assets.serving.exact_index import ExactIndex
from assets.serving.ivf_index import IvfIndex
from assets.serving.selfcheck import SelfCheck, self_check
from assets.serving.snapshot import UserSample, item_snapshot, user_sample
from assets.storage import Storage
from assets.stream import DatasetTables
from assets.training.checkpoints import checkpoint_digest

K = 10
TARGET_RECALL = 0.98
"""What nprobe is tuned to: above what the check demands, because other users are measured than tuned with."""

TUNING, MEASURED = slice(1, None, 2), slice(0, None, 2)
"""The two halves of the sampled users."""


class StaleIndexError(RuntimeError):
    """The saved index does not belong to the checkpoint that is on disk now."""


def index_path(storage: Storage) -> Path:
    """The one file of the item index."""
    return storage.index / "item_index.safetensors"


def build_item_index(
    storage: Storage, tables: DatasetTables, model: Recommender, manifest: Mapping[str, Any], queries: int
) -> IvfIndex:
    """Build an index of every available item and save it.

    Args:
        manifest: of the checkpoint that ``model`` was loaded from.
        queries: users whose vectors tune it; as many others are left for :func:`measure_item_index`.

    Returns:
        The index as loaded from the file that was written.
    """
    items = item_snapshot(tables, model)
    index = IvfIndex(items.vectors.shape[1])
    index.build(items.item_ids, items.vectors)
    sample = user_sample(tables, model, 2 * queries, int(manifest["seed"])).take(TUNING)
    index.tune(sample.vectors, TARGET_RECALL, K, sample.seen)
    index.save(
        index_path(storage),
        {
            "model": manifest["model"],
            "seed": manifest["seed"],
            "checkpoint": checkpoint_digest(manifest),
            "tables": manifest["data_version"],
            "instant": f"{items.instant}Z",
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return IvfIndex.load(index_path(storage))


def measure_item_index(
    index: IvfIndex, tables: DatasetTables, model: Recommender, queries: int
) -> tuple[SelfCheck, UserSample]:
    """Measure ``index`` with users it was not tuned with, their seen items excluded, against exact search.

    Returns:
        The measurements, and the users they were made with.
    """
    sample = user_sample(tables, model, 2 * queries, int(index.metadata["seed"])).take(MEASURED)
    exact = ExactIndex(index.dimension)
    exact.build(index.ids, index.vectors(index.ids))
    return self_check(index, exact, sample.vectors, K, sample.seen), sample


def require_fresh(index: IvfIndex, manifest: Mapping[str, Any]) -> None:
    """Insist that ``index`` was built from the checkpoint that ``manifest`` describes.

    Raises:
        StaleIndexError: when it was built from another one.
    """
    if index.metadata.get("checkpoint") != checkpoint_digest(manifest):
        raise StaleIndexError(
            f"the index was built from another checkpoint of {index.metadata.get('model')} than the one on disk:"
            " materialize serving/item_index"
        )
