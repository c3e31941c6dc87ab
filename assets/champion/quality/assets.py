"""The champion's quality over time as an asset, per partition of landed engagements."""

from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.partitions import LANDED, SINGLE_RUN
from assets.storage import Storage
from dashboards.figures import inline_png

if TYPE_CHECKING:
    from assets.champion.quality.measure import Measured


@dg.asset(
    key=keys.QUALITY_OVER_TIME,
    deps=[keys.FRESH_ITEM_EMBEDDINGS],
    partitions_def=LANDED,
    backfill_policy=SINGLE_RUN,
    group_name=keys.CHAMPION,
    kinds={"torch", "parquet", "matplotlib"},
    owners=[keys.OWNER],
    description=(
        "What serves and the floor, ranked on the engagements of each landed partition since the champion's cutoff,"
        " with 95 % intervals over users; what the champion recommends there, and how far embeddings moved. Days that"
        " the decay alert compares and that this champion was never measured on are measured too. Ends with the"
        " alert's judgement."
    ),
)
def quality_over_time(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.champion.quality.alert import look_for_decay
    from assets.champion.quality.files import SHORT, alert_path, table_path
    from assets.champion.quality.measure import headline, measure_partitions

    asked = context.partition_keys
    measured = measure_partitions(storage, settings, asked, context.log.info)
    accounts = {account.partition: account for account in measured.accounts}
    for partition in asked:
        held = accounts.get(partition)
        counts = {"cases": 0, "ranked": 0} if held is None else {"cases": held.cases, "ranked": held.ranked}
        context.add_asset_metadata({**counts, **headline(measured, partition)}, partition_key=partition)
    # On one partition: every materialization keeps its metadata for good.
    context.add_asset_metadata(_figure(storage, settings, measured), partition_key=asked[-1])
    alert = look_for_decay(storage, settings)
    also = sorted(set(accounts) - set(asked))
    if also:
        context.log.info(f"measured too, for the alert: {', '.join(also)}")
    return dg.MaterializeResult(
        metadata={
            "champion": f"{measured.model} {measured.checkpoint[:SHORT]}",
            "partitions_measured": len(accounts),
            "of_those_for_the_alert": len(also),
            "alert": "not judged: nothing measured" if alert is None else alert.reason,
            "alerted": dg.MetadataValue.bool(alert is not None and alert.alerted),
            "path": dg.MetadataValue.path(table_path(storage, "quality")),
            "alert_path": dg.MetadataValue.path(alert_path(storage)),
            "seconds": round(measured.seconds, 3),
        }
    )


def _figure(storage: Storage, settings: Settings, measured: "Measured") -> dict[str, dg.MetadataValue]:
    """Champions and floor over partitions, where any has a case of a user with history."""
    from assets.champion.quality.contenders import K
    from assets.champion.quality.files import read_table
    from dashboards.quality_over_time import quality_png

    quality = read_table(storage, "quality")
    if not (quality["slice"] == "overall").any():
        return {}
    days = {"reference": measured.windows.reference, "recent": measured.windows.recent}
    title = f"{storage.dataset}: quality of what serves, per landed partition"
    png = quality_png(quality, K, days, settings.evaluation.min_cases, title)
    return {"figure": dg.MetadataValue.md(inline_png(png, "quality"))}


ASSETS: list[dg.AssetsDefinition] = [quality_over_time]
