"""Evaluation as assets: ranks per model, the tidy metrics, the leaderboard, decay, and models against each other."""

import time

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage
from assets.training.registry import MODELS
from dashboards.figures import inline_png

METRICS_SHOWN = 12


def ranks_asset(model: str) -> dg.AssetsDefinition:
    """The asset that ranks every test case with one model's checkpoints."""

    @dg.asset(
        key=keys.ranks(model),
        deps=[keys.checkpoint(model), keys.TABLES],
        group_name=keys.EVALUATION,
        kinds={"torch", "parquet"},
        owners=[keys.OWNER],
        description=(
            f"Where each test engagement's item came in {model}'s full ranking of the catalog at its refresh: one row "
            "per case, protocol and seed, weights frozen, every window; and how likely the item was (nll)."
        ),
    )
    def rank(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
        from assets.evaluation.files import ranks_path
        from assets.evaluation.progress import case_progress
        from assets.evaluation.run import rank_model

        with case_progress(f"ranking {model}") as advance:
            ranked = rank_model(storage, settings, model, advance)
        info = ranked.info
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(ranked.ranks),
                "cases": info.cases,
                "seeds": list(info.basis.seeds),
                "protocols": list(info.basis.protocols),
                "repeats_dropped": info.repeats_dropped,
                "off_catalog": info.off_catalog,
                "without_history": int((~ranked.ranks["has_history"]).sum()),
                "cases_per_second": round(ranked.cases_per_second),
                "seconds": round(ranked.seconds, 2),
                "tables_version": info.basis.tables,
                "path": dg.MetadataValue.path(ranks_path(storage, model)),
            }
        )

    return rank


@dg.asset(
    key=keys.METRICS,
    deps=[keys.TABLES, *(keys.ranks(model) for model in MODELS)],
    group_name=keys.EVALUATION,
    kinds={"pandas", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Tidy metrics of the roster: a row per model, seed, protocol, window, slice, metric and k, with a 95 % "
        "interval from a bootstrap over users; and beside it the same over seeds."
    ),
)
def metrics(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from tqdm import tqdm

    from assets.evaluation.run import gather_metrics
    from assets.training.registry import roster

    started = time.perf_counter()
    models = roster(settings)
    with tqdm(total=len(models), desc="bootstrap", unit=" models") as bar:
        table = gather_metrics(storage, settings, lambda _: bar.update())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(table),
            "models": list(models),
            "bootstrap_samples": settings.evaluation.bootstrap_samples,
            "sample": dg.MetadataValue.md(table.head(METRICS_SHOWN).to_markdown(index=False)),
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(storage.metrics),
        }
    )


@dg.asset(
    key=keys.LEADERBOARD,
    deps=[keys.METRICS],
    group_name=keys.EVALUATION,
    kinds={"markdown"},
    owners=[keys.OWNER],
    description="Models compared over all windows under the headline protocol, floors marked; the best first.",
)
def leaderboard(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from assets.evaluation.files import leaderboard_path, leaderboard_text_path
    from assets.evaluation.run import build_leaderboard, build_lists_table
    from assets.storage import write_text

    board = build_leaderboard(storage, settings)
    path = write_text(leaderboard_path(storage), board.markdown())
    write_text(leaderboard_text_path(storage), board.text())
    return dg.MaterializeResult(
        metadata={
            "leaderboard": dg.MetadataValue.md(board.markdown()),
            "recommended lists": dg.MetadataValue.md(build_lists_table(storage, settings)),
            "path": dg.MetadataValue.path(path),
        }
    )


@dg.asset(
    key=keys.DECAY,
    deps=[keys.METRICS],
    group_name=keys.EVALUATION,
    kinds={"matplotlib", "png"},
    owners=[keys.OWNER],
    description=(
        "Quality of frozen weights from window to window, per slice, and each window over the first, with 95 % "
        "intervals; floors dashed."
    ),
)
def decay(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from assets.evaluation.files import decay_path, decay_text_path, relative_decay_path
    from assets.evaluation.report import decay_table
    from assets.evaluation.run import build_decay, floors
    from assets.storage import write_bytes, write_text
    from assets.training.registry import roster
    from dashboards.decay import SLICES, decay_png

    result, protocol = build_decay(storage, settings), settings.evaluation.headline
    title = f"{storage.dataset}: {protocol.user_history} user history, {protocol.item_embeddings} items"
    figures = {
        decay_path(storage): decay_png(
            result.metrics, roster(settings), floors(settings), result.shown, settings.evaluation.min_cases, title
        ),
        relative_decay_path(storage): decay_png(
            result.points,
            roster(settings),
            floors(settings),
            result.shown,
            settings.evaluation.min_cases,
            f"{title}; each window over the first",
            ratios_of=result.metrics,
        ),
    }
    for path, png in figures.items():
        write_bytes(path, png)
    tables = [
        decay_table(result.metrics, result.relative, metric, k, name) for metric, k in result.shown for name in SLICES
    ]
    text = "\n\n".join(tables)
    write_text(decay_text_path(storage), text + "\n")
    absolute, relative = (inline_png(png, title) for png in figures.values())
    return dg.MaterializeResult(
        metadata={
            "figure": dg.MetadataValue.md(absolute),
            "relative to the first window": dg.MetadataValue.md(relative),
            "decay": dg.MetadataValue.md(text),
            "path": dg.MetadataValue.path(decay_path(storage)),
        }
    )


@dg.asset(
    key=keys.COMPARISONS,
    deps=[keys.TABLES, *(keys.ranks(model) for model in MODELS)],
    group_name=keys.EVALUATION,
    kinds={"pandas", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Every model against every other on the same cases, per slice and window, and how the difference changed since "
        "the first window; paired 95 % intervals over users. Headline protocol."
    ),
)
def comparisons(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from tqdm import tqdm

    from assets.evaluation.files import comparisons_path, comparisons_text_path
    from assets.evaluation.pairs import changes_markdown, pairs_markdown
    from assets.evaluation.run import build_comparisons, pair_metrics
    from assets.storage import write_text
    from assets.training.registry import roster

    started, models = time.perf_counter(), roster(settings)
    with tqdm(total=len(models), desc="paired bootstrap", unit=" models") as bar:
        table = build_comparisons(storage, settings, lambda _: bar.update())
    text = "\n\n".join(
        render(table, reference, metric)
        for reference in models
        for metric in pair_metrics(settings)
        for render in (pairs_markdown, changes_markdown)
    )
    write_text(comparisons_text_path(storage), text + "\n")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(table),
            "comparisons": dg.MetadataValue.md(text),
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(comparisons_path(storage)),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [
    *(ranks_asset(model) for model in MODELS),
    metrics,
    leaderboard,
    decay,
    comparisons,
]
