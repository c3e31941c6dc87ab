"""The check of the item index."""

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage


@dg.asset_check(
    asset=keys.ITEM_INDEX,
    blocking=True,
    description="Approximate search of the saved file finds what exact search finds: recall@10, measured anew.",
)
def index_recall(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.serving.build import index_path, measure_item_index, require_fresh
    from assets.serving.ivf_index import IvfIndex
    from assets.stream import load_tables
    from assets.training.checkpoints import load_recommender, read_manifest

    index = IvfIndex.load(index_path(storage))
    model, seed = index.metadata["model"], index.metadata["seed"]
    require_fresh(index, read_manifest(storage, model, seed))
    tables = load_tables(storage)
    recommender = load_recommender(storage, model, seed, tables)
    measured, _ = measure_item_index(index, tables, recommender, settings.index.queries)
    minimum = settings.index.minimum_recall
    return dg.AssetCheckResult(
        passed=measured.recall >= minimum,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"recall@{measured.k} is {measured.recall:.4f} over {measured.queries} users, wanted {minimum}",
        metadata={"minimum_recall": minimum, **measured.as_dict()},
    )


CHECKS = [index_recall]
