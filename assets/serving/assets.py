"""The item index as an asset. Everything it decides is in the pure modules beside it."""

import time
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.instants import wall_clock
from assets.serving.live.assets import ASSETS as LIVE_ASSETS
from assets.serving.servable import servable
from assets.storage import Storage
from assets.training.registry import MODELS

if TYPE_CHECKING:  # torch and FAISS are for the steps, not for whoever loads the definitions
    from assets.serving.live.generation import OpenGeneration


class IndexRun(dg.Config):
    """What one materialization of the index may do besides its maintenance.

    Attributes:
        build: build a generation and switch to it, where the checkpoint to serve is not the one that serves.
        retrain: train the quantizer anew, even where nothing else asks for a new snapshot.
        replace: let the roster's best model serve even where a model serves that won a contest.
    """

    build: bool = True
    retrain: bool = False
    replace: bool = False


@dg.asset(
    key=keys.ITEM_INDEX,
    deps=[
        keys.TABLES,
        keys.FRESH_ITEM_EMBEDDINGS,
        *(keys.checkpoint(model) for model in MODELS if servable(model)),
    ],
    group_name=keys.SERVING,
    kinds={"faiss", "safetensors", "lmdb"},
    owners=[keys.OWNER],
    description=(
        "Every item available after the last engagement, as a vector of the roster's best net (validation ndcg@10; the"
        " best counting model where the roster has no net), searchable by inner product: a snapshot and the deltas"
        " since. A new checkpoint gets an index of its own, built aside and swapped in, unless what serves won a"
        " contest; otherwise the snapshot is made anew when deltas, the day of the trend or the quantizer ask for it."
    ),
)
def item_index(
    context: dg.AssetExecutionContext,
    config: IndexRun,
    storage: dg.ResourceParam[Storage],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    from assets.serving.live.build import renew
    from assets.serving.live.damage import index_damage
    from assets.serving.live.generation import open_generation, writer_lock
    from assets.serving.live.maintain import maintain_index
    from assets.serving.live.removal import reconcile
    from assets.serving.promotion import reason_to_build, won_contest
    from assets.serving.record import note_serving
    from assets.storage import locked
    from assets.stream import load_tables

    started, now = time.perf_counter(), wall_clock()
    chosen = reason_to_build(storage, settings, config.replace) if config.build else None
    kept = won_contest(storage) if config.build and chosen is None else None
    if kept is not None:
        context.log.info(kept)
    if chosen is not None:
        context.log.info(f"building an index of {chosen.model}: {chosen.reason}")
        seed = settings.training.seed
        renew(storage, settings, load_tables(storage), chosen.model, seed, now, progress=context.log.info)
    with locked(writer_lock(storage)), open_generation(storage) as opened:
        reconcile(opened, settings, now)
        damage = index_damage(opened) if config.build else None
        if damage is not None:
            context.log.warning(f"{damage}; made anew now")
        maintained = maintain_index(opened, settings, now, force=config.retrain or damage is not None)
        note_serving(opened, now)
        metadata: dict[str, Any] = {
            "model": opened.record.model,
            "origin": opened.record.origin,
            "generation": opened.generation.name,
            "items": maintained.items,
            "dimension": maintained.dimension,
            "nlist": maintained.nlist,
            "nprobe": maintained.nprobe,
            "recall_at_10": maintained.recall,
            "queries": maintained.queries,
            "p50_ms": maintained.p50_ms,
            "p99_ms": maintained.p99_ms,
            "snapshot": maintained.reason or ("first" if chosen else "kept"),
            "deltas": maintained.deltas,
            "delta_items": maintained.delta_items,
            "build_seconds": time.perf_counter() - started,
            "path": dg.MetadataValue.path(opened.generation.snapshots / maintained.file),
        }
        if kept is not None:
            metadata["kept"] = kept
        if config.build:  # a search costs a load of the index: not in the runs that are to be quick
            metadata["example"] = dg.MetadataValue.md(_example(opened))
    return dg.MaterializeResult(metadata=metadata)


def _example(opened: "OpenGeneration") -> str:
    from assets.serving.live.maintain import K, load_index
    from assets.serving.snapshot import example_search, user_sample

    with opened.store.read() as reader:
        sample, index = user_sample(reader, opened.model, 1, wall_clock()), load_index(reader, opened.generation)
        found = index.search(sample.vectors, K, sample.seen)
        return example_search(reader, sample, found.ids[0], found.scores[0])


ASSETS: list[dg.AssetsDefinition] = [*LIVE_ASSETS, item_index]
