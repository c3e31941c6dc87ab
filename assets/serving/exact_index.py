"""Exact search by brute force: the oracle of every other index."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.serving.index_file import IndexContent, IndexFileError
from assets.serving.labels import MISSING
from assets.serving.vector_index import Float, VectorIndex
from assets.stream import Int, batches

SCORES_PER_CHUNK = 8_000_000
"""Scores held at once (32 MB of float32)."""


class ExactIndex(VectorIndex):
    """Brute force: every inner product, always right."""

    kind = "exact"

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self._matrix = np.zeros((0, dimension), np.float32)  # row = label; rows of free labels hold zeros
        self._live: tuple[Int, Float] | None = None

    def vectors(self, ids: Sequence[str]) -> Float:
        return self._matrix[self._labels_of(ids)]

    def _rebuild(self, labels: Int, vectors: Float) -> None:
        self._matrix = np.zeros((0, self.dimension), np.float32)
        self._put(labels, vectors)

    def _put(self, labels: Int, vectors: Float) -> None:
        self._live = None
        missing = int(labels.max(initial=-1)) + 1 - len(self._matrix)
        if missing > 0:
            self._matrix = np.concatenate([self._matrix, np.zeros((missing, self.dimension), np.float32)])
        self._matrix[labels] = vectors

    def _drop(self, labels: Int) -> None:
        self._live = None
        self._matrix[labels] = 0

    def _search(self, queries: Float, k: int, excluded: list[Int]) -> tuple[Int, Float]:
        labels = np.full((len(queries), k), MISSING, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        if self._live is None:
            labelled = np.sort(self._labels.encode(self._labels.ids))
            self._live = labelled, self._matrix[labelled]
        live, matrix = self._live  # [N], [N, D]
        for part in batches(len(queries), max(1, SCORES_PER_CHUNK // max(1, len(live)))):
            products = queries[part] @ matrix.T  # [B, N]
            for row, hidden in zip(products, excluded[part], strict=True):
                row[np.searchsorted(live, hidden)] = -np.inf
            top = _top(products, k)  # [B, min(k, N)]
            found = np.take_along_axis(products, top, axis=1)
            width = top.shape[1]
            scores[part, :width] = found
            labels[part, :width] = np.where(np.isneginf(found), MISSING, live[top])
        return labels, scores

    def _payload(self) -> dict[str, NDArray[Any]]:
        return {"vectors": self._matrix[self._labels.encode(self._labels.ids)]}

    def _restore(self, content: IndexContent) -> None:
        vectors, wanted = content.arrays["vectors"], (len(content.labels), self.dimension)
        if vectors.dtype != np.float32 or vectors.shape != wanted:
            raise IndexFileError(f"its vectors are {vectors.dtype} {vectors.shape}, not float32 {wanted}")
        self._put(content.labels, vectors)


def _top(products: Float, k: int) -> Int:
    """[B, min(k, N)] columns of the largest products of each row, descending."""
    if k < products.shape[1]:
        columns = np.argpartition(-products, k - 1, axis=1)[:, :k]
    else:
        columns = np.broadcast_to(np.arange(products.shape[1]), products.shape).copy()
    order = np.argsort(-np.take_along_axis(products, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
