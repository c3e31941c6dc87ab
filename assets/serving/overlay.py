"""What changed over a part of an index that cannot change: the new vectors, and which of the old no longer count."""

import numpy as np
from numpy.typing import NDArray

from assets.serving.labels import MISSING, LabelSet
from assets.serving.vector_index import Float
from assets.stream import Int


class Overlay:
    """Labels that were put or dropped since, the former with their vectors; searched by brute force."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._vectors: dict[int, Float] = {}
        self._touched = LabelSet()
        self._stacked: tuple[Int, Float] | None = None

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self._vectors)

    def put(self, labels: Int, vectors: Float) -> None:
        """Add or replace ``vectors`` [n, D]."""
        self._touch(labels)
        self._vectors.update(zip(labels.tolist(), np.array(vectors, np.float32), strict=True))

    def drop(self, labels: Int) -> None:
        """Let nothing be under ``labels``."""
        self._touch(labels)
        for label in labels.tolist():
            self._vectors.pop(label, None)

    def touched(self, labels: Int) -> NDArray[np.bool_]:
        """Which of ``labels`` (any shape, :data:`MISSING` allowed) this has the last word on."""
        return self._touched.contains(labels)

    @property
    def touched_labels(self) -> Int:
        """Every label that this has the last word on."""
        return self._touched.labels

    def vector(self, label: int) -> Float:
        """[D] the vector under a label that was put."""
        return self._vectors[label]

    def search(self, queries: Float, k: int, excluded: list[Int]) -> tuple[Int, Float]:
        """[Q, k] labels and scores, best first; :data:`MISSING` and ``-inf`` where there are no more."""
        found = np.full((len(queries), k), MISSING, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        if not self._vectors:
            return found, best
        if self._stacked is None:
            held = np.fromiter(self._vectors, np.int64, len(self._vectors))
            self._stacked = held, np.stack(list(self._vectors.values()))
        labels, matrix = self._stacked
        scores = queries @ matrix.T  # [Q, n]
        for row, hidden in zip(scores, excluded, strict=True):
            if len(hidden):
                row[np.isin(labels, hidden)] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        top = np.take_along_axis(scores, order, axis=1)
        found[:, : order.shape[1]] = np.where(np.isneginf(top), MISSING, labels[order])
        best[:, : order.shape[1]] = top
        return found, best

    def _touch(self, labels: Int) -> None:
        self._stacked = None
        self._touched.add(labels)
