"""Studies of training as assets: the hyper-parameter sweep, the gamma sweep and gate values.

None is part of ``refresh_all``: sweeps train many nets, and gate values are for people. A selection runs them.
"""

import time

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage
from assets.training.registry import MODELS
from dashboards.figures import inline_png

GAMMA_MODEL = "cdn"
NETS = [model for model, entry in MODELS.items() if entry.kind == "net"]


@dg.asset(
    key=keys.SWEEP,
    deps=[keys.TABLES],
    group_name=keys.STUDIES,
    kinds={"torch", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Hyper-parameters of the roster's nets, each of a grid fitted before the validation tail and measured on it. "
        "Finished trials are kept; test windows are never read."
    ),
)
def sweep(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.config import ConfigError
    from assets.storage import write_text
    from assets.training.registry import roster
    from assets.training.studies.grids import grid_of
    from assets.training.studies.sweep import sweep as run_sweep
    from assets.training.studies.sweep import trials
    from assets.training.studies.tables import markdown

    started, models = time.perf_counter(), [model for model in roster(settings) if model in NETS]
    grids = {model: grid_of(model, settings.training.grids) for model in models}
    if not models:
        raise ConfigError("models: no net in the roster, so there are no hyper-parameters to sweep")
    for model, grid in grids.items():
        trials(model, grid, settings)  # a wrong key of the last model should not cost the sweep of the first
    metadata: dict[str, dg.MetadataValue] = {}
    count = 0
    for model, grid in grids.items():
        rows = run_sweep(storage, model, grid, settings, context.log.info)
        page = markdown(rows, model, storage.dataset)
        write_text(storage.sweeps / f"{model}.md", page)
        metadata[model] = dg.MetadataValue.md(page)
        count += len(rows)
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "dagster/row_count": count,
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(storage.sweeps),
        }
    )


@dg.asset(
    key=keys.GAMMA_SWEEP,
    deps=[keys.TABLES],
    group_name=keys.STUDIES,
    kinds={"torch", "png"},
    owners=[keys.OWNER],
    description=(
        f"How {GAMMA_MODEL}'s regularizer rate moves NDCG@50 of head and tail on the validation tail (CDN, Fig. 4)."
    ),
)
def gamma_sweep(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.storage import write_bytes, write_text
    from assets.training.studies.figures import gamma_png, gamma_table
    from assets.training.studies.grids import GAMMA
    from assets.training.studies.sweep import sweep as run_sweep
    from assets.training.studies.tables import markdown

    started = time.perf_counter()
    rows = run_sweep(storage, GAMMA_MODEL, GAMMA, settings, context.log.info)
    measured = rows[rows["error"] == ""]
    if measured.empty:
        raise dg.Failure(f"every trial failed: {rows['error'].iloc[0]}")
    figure = gamma_png(gamma_table(measured), f"{storage.dataset}: {GAMMA_MODEL}")
    page = markdown(rows, GAMMA_MODEL, storage.dataset)
    path = write_bytes(storage.sweeps / f"{GAMMA_MODEL}_gamma.png", figure)
    write_text(path.with_suffix(".md"), page)
    return dg.MaterializeResult(
        metadata={
            "figure": dg.MetadataValue.md(inline_png(figure, "gamma sweep")),
            "table": dg.MetadataValue.md(page),
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(path),
        }
    )


@dg.asset(
    key=keys.GATES,
    deps=[keys.TABLES, *(keys.checkpoint(model) for model in NETS)],
    group_name=keys.STUDIES,
    kinds={"torch", "parquet", "png"},
    owners=[keys.OWNER],
    description=(
        "Mean gate values of the roster's trained item towers per slice: memorization and generalization experts of "
        "CDN (Fig. 3), experts of IHM."
    ),
)
def gates(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    import pandas as pd

    from assets.config import ConfigError
    from assets.storage import write_bytes, write_parquet, write_text
    from assets.stream import load_tables
    from assets.training.checkpoints import load_recommender
    from assets.training.registry import roster
    from assets.training.seeds import seeds_of
    from assets.training.studies.figures import gates_png
    from assets.training.studies.gates import gate_rows, gates_markdown, item_gates

    tables, found, without = load_tables(storage), [], []
    for model in (each for each in roster(settings) if each in NETS):
        for seed in seeds_of(model, settings):
            weights = item_gates(load_recommender(storage, model, seed, tables), tables)
            if weights:
                found.append(gate_rows(model, seed, weights, tables.catalog.slices))
            elif model not in without:
                without.append(model)
    if not found:
        raise ConfigError(
            "models: no item tower of the roster has a learned gate; CDN's have, and IHM's with heads > 1"
        )
    table = pd.concat(found, ignore_index=True)
    figure, page = gates_png(table, f"{storage.dataset}: gate values"), gates_markdown(table, without)
    write_parquet(storage.gates / "gates.parquet", table)
    write_text(storage.gates / "gates.md", page)
    path = write_bytes(storage.gates / "gates.png", figure)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(table),
            "figure": dg.MetadataValue.md(inline_png(figure, "gate values")),
            "table": dg.MetadataValue.md(page),
            "path": dg.MetadataValue.path(path),
        }
    )


ASSETS = [sweep, gamma_sweep, gates]
