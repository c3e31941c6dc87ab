"""Checks of the item index."""

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.instants import wall_clock
from assets.serving.live.checks import CHECKS as LIVE_CHECKS
from assets.storage import Storage


@dg.asset_check(
    asset=keys.ITEM_INDEX,
    name=keys.INDEX_RECALL,
    blocking=True,
    description=(
        "Approximate search of the index as it serves, its deltas included, finds what exact search finds: recall@10,"
        " measured anew."
    ),
)
def index_recall(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.serving.live.generation import open_generation
    from assets.serving.live.maintain import measure_index

    with open_generation(storage) as opened:
        measured, _, _ = measure_index(opened, settings.index.queries, wall_clock())
    return _verdict(measured.recall, measured.queries, settings, {**measured.as_dict()})


@dg.asset_check(
    asset=keys.ITEM_INDEX,
    description="The latest snapshot of the index found what exact search finds: recall@10, measured as it was made.",
)
def snapshot_recall(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.serving.live.generation import require_current
    from assets.serving.store.meta import SNAPSHOT, get_meta

    with require_current(storage).open_store() as store, store.read() as reader:
        snapshot = get_meta(reader, SNAPSHOT)
    return _verdict(snapshot["recall"], snapshot["queries"], settings, {"file": snapshot["file"]})


def _verdict(
    recall: float, queries: int, settings: Settings, metadata: dict[str, float | int | str]
) -> dg.AssetCheckResult:
    minimum = settings.index.minimum_recall
    return dg.AssetCheckResult(
        passed=recall >= minimum,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"recall@10 is {recall:.4f} over {queries} users, wanted {minimum}",
        metadata={"minimum_recall": minimum, "recall": recall, **metadata},
    )


CHECKS: list[dg.AssetChecksDefinition] = [*LIVE_CHECKS, index_recall, snapshot_recall]
