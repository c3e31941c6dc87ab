"""Studies on test windows as assets: the tables of the HRNN-meta paper on the data at hand.

None is part of ``refresh_all``: they train many nets. ``thaw studies`` runs them.
"""

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from assets.config import ConfigError, Settings
from assets.partitions import FRAMES, SINGLE_RUN
from assets.storage import Storage
from dashboards.figures import inline_png

if TYPE_CHECKING:
    import pandas as pd


def _study_asset(name: str, description: str) -> dg.AssetsDefinition:
    """The asset of the study in the module of that name, whose ``make`` writes its files and gives its table."""

    @dg.asset(
        key=[keys.STUDIES, name],
        deps=[keys.TABLES],
        group_name=keys.STUDIES,
        kinds={"torch", "parquet"},
        owners=[keys.OWNER],
        description=description,
    )
    def study(
        context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult:
        make = import_module(f"assets.evaluation.studies.{name}").make  # torch: not with the definitions
        return _study(name, storage, lambda: make(storage, settings, context.log.info))

    return study


feature_groups = _study_asset(
    "feature_groups",
    (
        "Perplexity of test engagements from counts to everything, a group of features at a time, without a trend and "
        "with it (HRNN-meta, Table 1). Variants that are trained already and rest on the same tables are kept."
    ),
)

sessions = _study_asset(
    "sessions",
    (
        "Hit@5 and training time of gru, hrnn and hgru at a small and a large hidden size (HRNN-meta, Table 3). "
        "Variants that are trained already and rest on the same tables are kept."
    ),
)

ratings = _study_asset(
    "ratings",
    (
        "RMSE of predicted ratings of test engagements: nets without and with feedback against rolling averages and "
        "matrix factorization (HRNN-meta, Table 4). Predictions that rest on the same tables are kept."
    ),
)

cold_items = _study_asset(
    "cold_items",
    (
        "Held-out items, which nobody has engaged with, ranked by their features for every user, against random choice "
        "(HRNN-meta, Table 7). Needs split.kind held_out_items. Trainings that rest on the same tables are kept."
    ),
)

time_sensitivity = _study_asset(
    "time_sensitivity",
    (
        "How the top items of hrnn_meta change with the time since a user's last engagement, for three users and on "
        "average over all (HRNN-meta, Table 2)."
    ),
)


def _study(name: str, storage: Storage, make: Callable[[], "pd.DataFrame"]) -> dg.MaterializeResult:
    """What a study's asset says when ``make`` has written its files and given its table."""
    from assets.evaluation.studies.files import figure_path, table_path, text_path

    started = time.perf_counter()
    table = make()
    metadata: dict[str, dg.MetadataValue | int | float] = {
        "dagster/row_count": len(table),
        "table": dg.MetadataValue.md(text_path(storage, name).read_text(encoding="utf-8")),
        "seconds": round(time.perf_counter() - started, 2),
        "path": dg.MetadataValue.path(table_path(storage, name)),
    }
    if (figure := figure_path(storage, name)).exists():
        metadata["figure"] = dg.MetadataValue.md(inline_png(figure.read_bytes(), name))
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    key=keys.FRAMES,
    deps=[keys.TABLES],
    group_name=keys.STUDIES,
    kinds={"python"},
    owners=[keys.OWNER],
    description=(
        "The test windows of the split as partitions of studies/online_frames: adds those that are new and removes"
        " those that another split had. Then a backfill can make them."
    ),
)
def frames(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.evaluation.studies.frames import frame_table, read_frames

    table = frame_table(read_frames(storage, settings), storage.read_table("test_cases"))
    wanted, held = table["frame"].tolist(), context.instance.get_dynamic_partitions(keys.FRAME_PARTITIONS)
    if held != wanted:  # a range follows the order in which partitions were added: so all of them anew
        for key in held:
            context.instance.delete_dynamic_partition(keys.FRAME_PARTITIONS, key)
        context.instance.add_dynamic_partitions(keys.FRAME_PARTITIONS, wanted)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(table), "frames": dg.MetadataValue.md(table.to_markdown(index=False))}
    )


@dg.asset(
    key=keys.ONLINE_FRAMES,
    deps=[keys.FRAMES, keys.TABLES],
    partitions_def=FRAMES,
    backfill_policy=SINGLE_RUN,
    group_name=keys.STUDIES,
    kinds={"torch", "parquet"},
    owners=[keys.OWNER],
    description=(
        "One frame of the test period, ranked by nets frozen at the cutoff, by nets retrained just before it, each with"
        " and without trend correction, and by the counts of recent days (HRNN-meta, section 4.5). A frame that is made"
        " already and rests on the same tables and configuration is kept."
    ),
)
def online_frames(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.evaluation.studies.online import NAMES
    from assets.evaluation.studies.online_files import frame_path, run_frames

    if not (context.has_partition_key or context.has_partition_key_range):
        raise ConfigError(
            "studies/online_frames is made per frame: use `thaw studies --only online`, or a backfill in `thaw ui`"
        )
    started = time.perf_counter()
    results = run_frames(storage, settings, context.partition_keys, context.log.info)
    for key, result in results.items():
        context.add_asset_metadata(
            {
                "dagster/row_count": len(result.rows),
                "cases": len(result.rows) // len(NAMES),
                **{f"{what} seconds": round(seconds, 2) for what, seconds in result.seconds.items()},
                "path": dg.MetadataValue.path(frame_path(storage, result.frame)),
            },
            partition_key=key,
        )
    return dg.MaterializeResult(metadata={"seconds": round(time.perf_counter() - started, 2)})


@dg.asset(
    key=keys.ONLINE,
    deps=[keys.ONLINE_FRAMES],
    group_name=keys.STUDIES,
    kinds={"matplotlib", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Every frame of studies/online_frames: retrained and frozen nets, with and without trend correction, against"
        " recent popularity (HRNN-meta, Fig. 5)."
    ),
)
def online(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.evaluation.studies.online_measures import BAR, compare
    from assets.evaluation.studies.online_page import publish

    started = time.perf_counter()
    published = publish(storage, settings)
    result = compare(published.table, BAR)
    context.log.info(f"{result.mean.value:+.4f} HR@10 against recent popularity, above it in {result.above} frames")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(published.table),
            "bar held": result.held,
            "table": dg.MetadataValue.md(published.text),
            "figure": dg.MetadataValue.md(inline_png(published.figure, "retraining")),
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(published.path),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [
    feature_groups,
    sessions,
    ratings,
    cold_items,
    time_sensitivity,
    frames,
    online_frames,
    online,
]
