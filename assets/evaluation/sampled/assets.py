"""The sampled protocols as assets: ranks per model, metrics, and the papers' own tables.

They are not part of ``refresh_all``: they cost about as much as full ranking and serve comparison with published tables
only. ``thaw report`` runs them, and so does a selection.
"""

import time

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage
from assets.training.registry import MODELS

METRICS_SHOWN = 12


def sampled_asset(model: str) -> dg.AssetsDefinition:
    """The asset that ranks one model's targets among sampled negatives."""

    @dg.asset(
        key=keys.sampled(model),
        deps=[keys.checkpoint(model), keys.TABLES],
        group_name=keys.EVALUATION,
        kinds={"torch", "parquet"},
        owners=[keys.OWNER],
        description=(
            f"Where targets came among sampled negatives of their own bucket, ranked by {model}: the clean protocol "
            "and the one that mimics the reference code."
        ),
    )
    def sample(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
        from assets.evaluation.progress import case_progress
        from assets.evaluation.sampled.run import sample_model, sampled_path

        with case_progress(f"sampling {model}") as advance:
            sampled = sample_model(storage, settings, model, advance)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(sampled.ranks),
                "fewer_negatives_than_asked": sampled.short,
                "legacy_cases_with_target_among_negatives": round(sampled.with_copies, 4),
                "cases_per_second": round(sampled.cases_per_second),
                "seconds": round(sampled.seconds, 2),
                "path": dg.MetadataValue.path(sampled_path(storage, model)),
            }
        )

    return sample


@dg.asset(
    key=keys.SAMPLED_METRICS,
    deps=[keys.TABLES, *(keys.sampled(model) for model in MODELS)],
    group_name=keys.EVALUATION,
    kinds={"pandas", "parquet"},
    owners=[keys.OWNER],
    description="Tidy metrics of the roster under both sampled protocols, with bootstrap intervals over users.",
)
def sampled_metrics(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from tqdm import tqdm

    from assets.evaluation.sampled.run import gather_sampled, sampled_means_path
    from assets.training.registry import roster

    started = time.perf_counter()
    with tqdm(total=len(roster(settings)), desc="bootstrap", unit=" models") as bar:
        means = gather_sampled(storage, settings, lambda _: bar.update())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(means),
            "models": list(roster(settings)),
            "sample": dg.MetadataValue.md(means.head(METRICS_SHOWN).to_markdown(index=False)),
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(sampled_means_path(storage)),
        }
    )


@dg.asset(
    key=keys.SAMPLED_TABLES,
    deps=[keys.SAMPLED_METRICS],
    group_name=keys.EVALUATION,
    kinds={"markdown"},
    owners=[keys.OWNER],
    description="Both sampled protocols laid out like the IHM paper's Tables 1 and 2, published figures beside ours.",
)
def sampled_tables(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from assets.evaluation.sampled.run import build_sampled_tables, sampled_tables_path
    from assets.storage import write_text

    boards = build_sampled_tables(storage, settings)
    path = write_text(sampled_tables_path(storage), "\n".join(board.markdown() for board in boards))
    return dg.MaterializeResult(
        metadata={
            **{f"table {place}": dg.MetadataValue.md(board.markdown()) for place, board in enumerate(boards)},
            "path": dg.MetadataValue.path(path),
        }
    )


@dg.asset(
    key=keys.LEAVE_ONE_OUT,
    deps=[keys.METRICS],
    group_name=keys.EVALUATION,
    kinds={"markdown"},
    owners=[keys.OWNER],
    description="HR@50 and NDCG@50 laid out like the CDN paper's Tables 2 to 5; for split kind leave_one_out.",
)
def leave_one_out(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from assets.evaluation.sampled.run import build_leave_one_out, leave_one_out_path
    from assets.storage import write_text

    board = build_leave_one_out(storage, settings)
    path = write_text(leave_one_out_path(storage), board.markdown())
    return dg.MaterializeResult(
        metadata={"table": dg.MetadataValue.md(board.markdown()), "path": dg.MetadataValue.path(path)}
    )


ASSETS: list[dg.AssetsDefinition] = [
    *(sampled_asset(model) for model in MODELS),
    sampled_metrics,
    sampled_tables,
    leave_one_out,
]
