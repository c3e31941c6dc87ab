"""What an engine maps: a block of rows of a Parquet table in, a block of a result out. Made once per worker."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.schema import Columns
from assets.serving.bulk.embedder import ITEMS, SCORES, VECTOR, Embedder, Float, Source, read_vectors


@dataclass(frozen=True)
class Job:
    """One result.

    Attributes:
        source: of the checkpoint.
        vectors: file of every item's vector, where lists are wanted; ``None`` where vectors are.
        k: length of a list.
    """

    source: Source
    vectors: Path | None = None
    k: int = 0

    @property
    def table(self) -> Path:
        """The Parquet table whose rows are mapped."""
        return self.source.storage.table("items" if self.vectors is None else "users")

    @property
    def column(self) -> str:
        """Its column of ids."""
        return Columns.ITEM if self.vectors is None else Columns.USER


class Block:
    """Maps blocks; loads what that needs when it is made."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.embedder = Embedder(job.source)
        self.vectors: Float | None = None
        if job.vectors is not None:
            self.vectors = read_vectors(job.vectors, self.embedder.tables.catalog.item_ids)

    def __call__(self, block: pa.Table) -> pa.Table:
        """The result's rows for a block of the job's table, in its order, without what was removed.

        Removed rows are computed, too: a block of nothing else still has columns then.
        """
        found = self._lists(block) if self.vectors is not None else self._vectors(block)
        return found.filter(pa.array(self.embedder.removed.keeps(block)))

    def _vectors(self, block: pa.Table) -> pa.Table:
        ids = block.column(self.job.column)
        vectors = self.embedder.items(np.asarray(ids.to_pylist(), dtype=object))  # [b, D]
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float32())  # [b * D]
        return pa.table({self.job.column: ids, VECTOR: pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})

    def _lists(self, block: pa.Table) -> pa.Table:
        assert self.vectors is not None
        ids = block.column(self.job.column)
        found, scores = self.embedder.lists(np.asarray(ids.to_pylist(), dtype=object), self.vectors, self.job.k)
        return pa.table(
            {
                self.job.column: ids,
                ITEMS: pa.array(found.tolist(), pa.list_(pa.string())),
                SCORES: pa.array(scores.tolist(), pa.list_(pa.float32())),
            }
        )
