"""The item index as an asset. Everything it decides is in the pure modules beside it."""

import time

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage
from assets.training.registry import MODELS, roster


@dg.asset(
    key=keys.ITEM_INDEX,
    deps=[keys.TABLES, *(keys.checkpoint(model) for model in MODELS)],
    group_name=keys.SERVING,
    kinds={"faiss", "safetensors"},
    owners=[keys.OWNER],
    description=(
        "Every item available after the last engagement, as a vector of the roster's best net (validation ndcg@10; the"
        " best counting model where the roster has no net), searchable by inner product. One file that names its model"
        " and tables; approximate search is measured against exact search on users it was not tuned with."
    ),
)
def item_index(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    from assets.serving.build import build_item_index, index_path, measure_item_index
    from assets.serving.selection import best_model
    from assets.serving.snapshot import example_search
    from assets.stream import load_tables
    from assets.training.checkpoints import load_recommender, read_manifest

    seed = settings.training.seed
    manifests = {name: read_manifest(storage, name, seed) for name in roster(settings)}
    name = best_model(manifests)
    tables = load_tables(storage)
    model = load_recommender(storage, name, seed, tables)
    started = time.perf_counter()
    index = build_item_index(storage, tables, model, manifests[name], settings.index.queries)
    seconds = time.perf_counter() - started
    measured, sample = measure_item_index(index, tables, model, settings.index.queries)
    first = index.search(sample.vectors[:1], measured.k, sample.seen[:1])
    return dg.MaterializeResult(
        metadata={
            "model": name,
            "items": index.size,
            "dimension": index.dimension,
            "nlist": index.nlist,
            "nprobe": index.nprobe,
            "recall_at_10": measured.recall,
            "queries": measured.queries,
            "p50_ms": measured.p50_ms,
            "p99_ms": measured.p99_ms,
            "build_seconds": seconds,
            "example": dg.MetadataValue.md(example_search(tables, sample, first.ids[0], first.scores[0])),
            "path": dg.MetadataValue.path(index_path(storage)),
        }
    )


ASSETS = [item_index]
