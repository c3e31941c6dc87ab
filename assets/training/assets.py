"""One asset per registered model: its checkpoints, one for every seed."""

import time
from typing import Any

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage
from assets.training.registry import MODELS, ModelEntry

KINDS = {"net": {"torch"}, "counting": {"numpy"}}


def _checkpoint_asset(model: str, entry: ModelEntry) -> dg.AssetsDefinition:
    @dg.asset(
        key=keys.checkpoint(model),
        deps=[keys.TABLES],
        group_name=keys.TRAINING,
        kinds=KINDS[entry.kind],
        owners=[keys.OWNER],
        description=(
            f"{entry.description} Fitted before the validation tail, then refitted on all before the cutoff; once for "
            "every seed of training.seeds."
        ),
    )
    def checkpoint(
        context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult:
        # Imported here: torch and Lightning would cost every load of the definitions some seconds.
        from assets.stream import load_tables
        from assets.training.distributed.apart import discard, trained_apart
        from assets.training.distributed.launch import train_as_configured
        from assets.training.saving import save_checkpoint
        from assets.training.seeds import for_seed, seeds_of

        tables, seconds, runs = load_tables(storage), [], []
        for seed in seeds_of(model, settings):
            started, own = time.perf_counter(), for_seed(settings, seed)
            apart = trained_apart(model, own)
            runs.append(apart or train_as_configured(model, tables, own))
            save_checkpoint(storage, runs[-1])
            if apart is not None:
                discard(model, own)
            seconds.append(time.perf_counter() - started)
            context.log.info(f"{model}, seed {seed}: {runs[-1].metrics['validation']} in {seconds[-1]:.1f} s")
        return dg.MaterializeResult(metadata=_metadata(storage, runs, seconds))

    return checkpoint


def _metadata(storage: Storage, runs: list[Any], seconds: list[float]) -> dict[str, Any]:
    """What the first seed's training gave, and where there are more, a row for each."""
    from assets.training.figures import loss_curve, loss_table, parameters

    trained, folder = runs[0], str(storage.checkpoint(runs[0].model, runs[0].seed))
    metadata: dict[str, Any] = {
        **{f"validation {name}": value for name, value in trained.metrics["validation"].items()},
        "seed": trained.seed,
        "seconds": round(sum(seconds), 2),
        "parameters": parameters(trained),
        "epochs": trained.best_epoch,
        "config": dg.MetadataValue.json(trained.config),
        "checkpoint": dg.MetadataValue.path(folder),
    }
    if trained.weights is not None:
        metadata["loss curve"] = dg.MetadataValue.md(loss_curve(trained))
        metadata["loss table"] = dg.MetadataValue.md(loss_table(trained))
    if len(runs) > 1:
        metadata["seeds"] = dg.MetadataValue.md(_seed_table(runs, seconds))
    return metadata


def _seed_table(runs: list[Any], seconds: list[float]) -> str:
    import pandas as pd

    rows = [
        {"seed": run.seed, **run.metrics["validation"], "epochs": run.best_epoch, "seconds": round(each, 2)}
        for run, each in zip(runs, seconds, strict=True)
    ]
    return pd.DataFrame(rows).to_markdown(index=False)


ASSETS = [_checkpoint_asset(model, entry) for model, entry in MODELS.items()]
