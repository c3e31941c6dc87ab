"""One asset per registered model: its checkpoint."""

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
        description=f"{entry.description} Fitted before the validation tail, then refitted on all before the cutoff.",
    )
    def checkpoint(
        context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult:
        # Imported here: torch and Lightning would cost every load of the definitions some seconds.
        from assets.stream import load_tables
        from assets.training.checkpoints import save_checkpoint
        from assets.training.train import train

        started = time.perf_counter()
        trained = train(model, load_tables(storage), settings)
        folder = save_checkpoint(storage, trained)
        seconds = time.perf_counter() - started
        context.log.info(f"{model}: {trained.metrics['validation']} in {seconds:.1f} s")
        return dg.MaterializeResult(metadata=_metadata(trained, str(folder), seconds))

    return checkpoint


def _metadata(trained: Any, folder: str, seconds: float) -> dict[str, Any]:
    from assets.training.figures import loss_curve, loss_table, parameters

    metadata: dict[str, Any] = {
        **{f"validation {name}": value for name, value in trained.metrics["validation"].items()},
        "seed": trained.seed,
        "seconds": round(seconds, 2),
        "parameters": parameters(trained),
        "epochs": trained.best_epoch,
        "config": dg.MetadataValue.json(trained.config),
        "checkpoint": dg.MetadataValue.path(folder),
    }
    if trained.weights is not None:
        metadata["loss curve"] = dg.MetadataValue.md(loss_curve(trained))
        metadata["loss table"] = dg.MetadataValue.md(loss_table(trained))
    return metadata


ASSETS = [_checkpoint_asset(model, entry) for model, entry in MODELS.items()]
