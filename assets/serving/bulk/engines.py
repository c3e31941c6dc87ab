"""Who maps the blocks: this process, or Ray Data's workers. Results are the same rows in the same order."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from assets.config import Settings
from assets.config.bulk import BulkConfig
from assets.serving.bulk.blocks import Block, Job
from assets.serving.bulk.embedder import Source
from assets.storage import Storage, atomic_path
from assets.training.distributed.ray_launch import start_ray, stop_ray

Engine = Callable[[Job, BulkConfig], Iterator[pa.Table]]


def in_process(job: Job, config: BulkConfig) -> Iterator[pa.Table]:
    """One block after another."""
    block = Block(job)
    with pq.ParquetFile(job.table) as file:
        for batch in file.iter_batches(config.rows, columns=[job.column]):
            yield block(pa.table(batch))


def on_ray(job: Job, config: BulkConfig) -> Iterator[pa.Table]:
    """Blocks in the order of the table, computed by actors that each load the checkpoint once.

    Actors get a fraction of a core by default: pools of whole ones hung on two cores, where reading takes one too.

    Raises:
        ModuleNotFoundError: without the extra.
    """
    started = start_ray()
    import ray  # noqa: PLC0415 - takes seconds

    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        mapped = ray.data.read_parquet(str(job.table), columns=[job.column]).map_batches(
            RayBlock,
            fn_constructor_kwargs={"job": dump(job)},
            batch_format="pyarrow",
            batch_size=config.rows,
            num_cpus=config.cpus_per_worker or 0.5,
            compute=ray.data.ActorPoolStrategy(size=config.workers or 2),
        )
        yield from mapped.iter_batches(batch_format="pyarrow", batch_size=None)
    finally:
        if started:
            stop_ray()


class RayBlock:
    """:class:`Block` in a process of Ray."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.block = Block(load(job))

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self.block(batch)


def dump(job: Job) -> dict[str, Any]:
    """A job as plain values, which any version of a process can read."""
    storage = {name: str(value) for name, value in asdict(job.source.storage).items()}
    vectors = None if job.vectors is None else str(job.vectors)
    return {"storage": storage, "model": job.source.model, "seed": job.source.seed, "vectors": vectors, "k": job.k}


def load(values: dict[str, Any]) -> Job:
    """Inverse of :func:`dump`."""
    storage = Storage(root=Path(values["storage"]["root"]), dataset=values["storage"]["dataset"])
    vectors = None if values["vectors"] is None else Path(values["vectors"])
    return Job(Source(storage, values["model"], values["seed"]), vectors, values["k"])


ENGINES: Final[Mapping[str, Engine]] = {"process": in_process, "ray": on_ray}


def write(job: Job, config: BulkConfig, path: Path) -> Path:
    """The whole result as one Parquet file, a block in memory at a time; the old file stays until the new one is whole.

    Raises:
        ValueError: when the table has no rows.
    """
    writer: pq.ParquetWriter | None = None
    with atomic_path(path) as aside:
        try:
            for block in ENGINES[config.engine](job, config):
                writer = writer or pq.ParquetWriter(aside, block.schema)
                writer.write_table(block)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ValueError(f"{job.table} has no rows: there is nothing to compute")
    return path


def folder(storage: Storage) -> Path:
    """Where results lie."""
    return storage.base / "bulk"


def embed_items(settings: Settings, model: str) -> Path:
    """Write every item's vector, in the order of the items' table."""
    job = Job(Source(settings.storage, model, settings.training.seed))
    return write(job, settings.bulk, folder(settings.storage) / f"{model}-items.parquet")


def score_users(settings: Settings, model: str) -> Path:
    """Write every user's best items by the vectors of :func:`embed_items`, which runs first."""
    vectors = embed_items(settings, model)
    job = Job(Source(settings.storage, model, settings.training.seed), vectors, settings.bulk.k)
    return write(job, settings.bulk, folder(settings.storage) / f"{model}-lists.parquet")
