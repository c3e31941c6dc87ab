"""Everything at once, for other systems: the embeddings of all items and the best items of all users, as Parquet.

embeddings.parquet       item_id, embedding (list of float32, without the trend)
recommendations.parquet  user_id, rank (from 1), item_id, score; users with a history, seen items left out
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.serving.retrieval.answers import Recommendations
from assets.serving.retrieval.retriever import Retriever
from assets.serving.vector_index import Float
from assets.storage import atomic_path
from assets.stream import batches

ITEMS_PER_BATCH: Final = 16_384
USERS_PER_BATCH: Final = 256
"""What is held at once: bounds memory."""

EMBEDDINGS: Final = pa.schema([("item_id", pa.string()), ("embedding", pa.list_(pa.float32()))])
RECOMMENDATIONS: Final = pa.schema(
    [("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())]
)

Progress = Callable[[str, int, int], None]
"""Called with what is exported, how much is done and how much there is."""


@dataclass(frozen=True)
class Exported:
    """The files, and how many items and users they hold."""

    embeddings: Path
    recommendations: Path
    items: int
    users: int


def export(retriever: Retriever, folder: Path, k: int = 10, progress: Progress = lambda *_: None) -> Exported:
    """Write both files into ``folder``, each in one rename, from the index as it is loaded.

    Raises:
        ValueError: when k is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    embeddings, recommendations = folder / "embeddings.parquet", folder / "recommendations.parquet"
    items = _write(embeddings, EMBEDDINGS, _embeddings(retriever, progress))
    users = retriever.users()
    _write(recommendations, RECOMMENDATIONS, _recommendations(retriever, users, k, progress))
    return Exported(embeddings, recommendations, items, len(users))


def _write(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> int:
    rows = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _embeddings(retriever: Retriever, progress: Progress) -> Iterator[pa.Table]:
    done = 0
    for ids, vectors in retriever.embeddings(ITEMS_PER_BATCH):
        done += len(ids)
        yield pa.table([pa.array(ids, pa.string()), _lists(vectors)], schema=EMBEDDINGS)
        progress("items", done, retriever.size)


def _recommendations(retriever: Retriever, users: Sequence[str], k: int, progress: Progress) -> Iterator[pa.Table]:
    for part in batches(len(users), USERS_PER_BATCH):
        yield _rows(retriever.recommend(users[part], k))
        progress("users", min(part.stop, len(users)), len(users))


def _rows(answers: Sequence[Recommendations]) -> pa.Table:
    counts = [len(answer.results) for answer in answers]
    results = [result for answer in answers for result in answer.results]
    columns = [
        np.repeat(np.array([answer.user_id for answer in answers], dtype=object), counts),
        np.concatenate([np.arange(1, count + 1) for count in counts]),
        [result.item_id for result in results],
        [result.score for result in results],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, RECOMMENDATIONS, strict=True)]
    return pa.table(arrays, schema=RECOMMENDATIONS)


def _lists(vectors: Float) -> pa.Array:
    ends = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.ascontiguousarray(vectors).ravel(), pa.float32()))
