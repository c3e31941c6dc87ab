"""Inverted-file search (FAISS): approximate, with vectors that can be replaced and removed while the index lives.

``IndexIVFFlat`` with a hashtable direct map. Never wrapped in ``IndexIDMap2``: after a removal that one silently
returns wrong ids. FAISS also accepts a label twice without a word, so every upsert removes before it adds.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from assets.serving.exact_index import ExactIndex
from assets.serving.index_file import IndexContent
from assets.serving.labels import MISSING
from assets.serving.selfcheck import recall_of
from assets.serving.vector_index import Exclude, Float, VectorIndex
from assets.stream import Int, batches

HASHTABLE = faiss.DirectMap.Hashtable  # type: ignore[attr-defined]  # the stubs lack it

POINTS_PER_LIST = 39
"""FAISS's k-means wants at least this many training points per centroid, and warns below."""

QUERIES_PER_CALL = 256
"""Queries searched together; each call fetches as many extra results as its longest list of excluded items."""


@dataclass(frozen=True)
class Change:
    """Removals and then upserts, checked and assigned to cells: what is left to do takes little time and cannot fail.

    Attributes:
        ids: [n] items to add or replace, each once.
        vectors: [n, D].
        cells: [n] the cell each vector belongs to.
        removed: items to remove; unknown ones are passed over.
    """

    ids: list[str]
    vectors: Float
    cells: Int
    removed: list[str]


class IvfIndex(VectorIndex):
    """Searches the ``nprobe`` cells nearest to the query out of ``nlist``.

    Until :meth:`tune` has found a smaller one, ``nprobe`` is ``nlist``: exact, and as slow as brute force.

    Args:
        dimension: of the vectors.
        threads: that FAISS may use; default: ``OMP_NUM_THREADS`` or every processor.
    """

    kind = "ivf"

    def __init__(self, dimension: int, threads: int | None = None) -> None:
        super().__init__(dimension)
        self.threads = threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        self._faiss = _new_index(dimension)
        self.nprobe = 1

    @property
    def nlist(self) -> int:
        """Number of cells."""
        return int(self._faiss.nlist)

    def vectors(self, ids: Sequence[str]) -> Float:
        labels = self._labels_of(ids)
        return self._faiss.reconstruct_batch(labels) if len(labels) else np.zeros((0, self.dimension), np.float32)

    def prepare(self, ids: Sequence[str], vectors: Float, removed: Sequence[str] = ()) -> Change:
        """The slow part of a change: checking it and finding its cells. Other threads may search meanwhile.

        Nearly all of an upsert's time in a large index goes into the cells: 40 of 50 ms for 10,000 vectors of dimension
        64 in 2,000 cells. The change fits every index with the same cells, such as one loaded from the same file.

        Args:
            vectors: [n, D]; where an id comes twice, its last vector wins.

        Raises:
            ValueError: for a wrong shape or a vector that is not finite.
        """
        vectors = self._checked(ids, vectors)
        last = {item: row for row, item in enumerate(ids)}
        vectors = vectors[list(last.values())]
        return Change(list(last), vectors, self._cells(vectors), list(removed))

    def apply(self, change: Change) -> None:
        """The quick part of a change, with no search running."""
        self.remove(change.removed)
        self._add(self._labels.add(change.ids), change.vectors, change.cells)

    def tune(self, queries: Float, target: float = 0.98, k: int = 10, exclude: Exclude | None = None) -> float:
        """Set ``nprobe`` to about the smallest at which recall@k on ``queries`` [Q, D] reaches ``target``.

        Doubles from 1, then bisects. Without queries it stays ``nlist``.

        Returns:
            The recall on these queries, which flatters: measure on others.
        """
        self.nprobe = self.nlist
        if len(queries) == 0 or self.size == 0:
            return 1.0
        exact = ExactIndex(self.dimension)
        exact.build(self.ids, self.vectors(self.ids))
        expected = exact.search(queries, k, exclude)

        def reached(nprobe: int) -> float:
            self.nprobe = nprobe
            return recall_of(self.search(queries, k, exclude), expected, exact, queries, exclude)

        low, high = 0, 1  # recall at low is below the target; high doubles until it is not
        while high < self.nlist and reached(high) < target:
            low, high = high, min(2 * high, self.nlist)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if reached(middle) < target else (low, middle)
        return reached(high)

    def _rebuild(self, labels: Int, vectors: Float) -> None:
        faiss.omp_set_num_threads(self.threads)
        self._faiss = _new_index(self.dimension, cells(len(vectors)), vectors)
        self.nprobe = self.nlist
        if len(labels):
            self._faiss.add_with_ids(vectors, labels)

    def _put(self, labels: Int, vectors: Float) -> None:
        if len(labels):
            self._add(labels, vectors, self._cells(vectors))

    def _cells(self, vectors: Float) -> Int:
        """[n] the cell each vector belongs to."""
        faiss.omp_set_num_threads(self.threads)
        return self._faiss.quantizer.search(vectors, 1)[1][:, 0] if len(vectors) else np.empty(0, np.int64)

    def _add(self, labels: Int, vectors: Float, cells: Int) -> None:
        """Add or replace, given the cells; ``add_core`` takes addresses, so the arrays must be of the right type."""
        if len(labels) == 0:
            return
        self._drop(labels)
        vectors, labels = np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(labels, np.int64)
        cells = np.ascontiguousarray(cells, np.int64)
        addresses = [faiss.swig_ptr(array) for array in (vectors, labels, cells)]
        self._faiss.add_core(len(labels), *addresses)

    def _drop(self, labels: Int) -> None:
        faiss.omp_set_num_threads(self.threads)
        if len(labels):
            self._faiss.remove_ids(labels)

    def _search(self, queries: Float, k: int, excluded: list[Int]) -> tuple[Int, Float]:
        faiss.omp_set_num_threads(self.threads)
        labels = np.full((len(queries), k), MISSING, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        hidden = np.fromiter(map(len, excluded), np.int64, len(excluded))
        wanted = np.minimum(k, self.size - hidden)  # [Q]
        pending, nprobe = np.argsort(hidden, kind="stable"), self.nprobe
        while len(pending) and self.size:
            for part in batches(len(pending), QUERIES_PER_CALL):
                rows = pending[part]
                labels[rows], scores[rows] = self._probe(queries[rows], k, [excluded[row] for row in rows], nprobe)
            if nprobe >= self.nlist:
                break
            # the probed cells may hold fewer items than wanted, or only excluded ones: look further for those queries
            pending = pending[(labels[pending] != MISSING).sum(axis=1) < wanted[pending]]
            nprobe = min(2 * nprobe, self.nlist)
        return labels, scores

    def _probe(self, queries: Float, k: int, excluded: list[Int], nprobe: int) -> tuple[Int, Float]:
        """[B, k] labels and scores of one FAISS call, excluded items filtered out of a longer result."""
        counts = np.fromiter(map(len, excluded), np.int64, len(excluded))
        fetch = int(min(k + counts.max(initial=0), self.size))
        scores, labels = self._faiss.search(queries, fetch, params=_probing(nprobe))  # [B, fetch]
        if counts.any():
            stride = int(labels.max(initial=0)) + 2
            row = np.arange(len(queries))
            pairs = np.concatenate(
                [label[label < stride] + stride * at for at, label in zip(row, excluded, strict=True)]
            )
            labels[np.isin(labels + stride * row[:, None], pairs)] = MISSING
            order = np.argsort(labels == MISSING, axis=1, kind="stable")[:, :k]  # kept items first, still best first
            labels, scores = np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)
        room = ((0, 0), (0, k - labels[:, :k].shape[1]))
        labels = np.pad(labels[:, :k], room, constant_values=MISSING)
        scores = np.pad(scores[:, :k], room, constant_values=-np.inf)
        return labels, np.where(labels == MISSING, np.float32(-np.inf), scores)

    def _header(self) -> dict[str, Any]:
        return {"nprobe": self.nprobe, "nlist": self.nlist}

    def _payload(self) -> dict[str, NDArray[Any]]:
        return {"faiss": faiss.serialize_index(self._faiss)}

    def _restore(self, content: IndexContent) -> None:
        self._faiss = faiss.deserialize_index(content.arrays["faiss"])
        self.nprobe = int(content.header["nprobe"])


def cells(items: int) -> int:
    """Number of cells for a catalog: about 2 sqrt(n), or as many as k-means has points for; one for small catalogs."""
    return max(1, min(round(2 * math.sqrt(items)), items // POINTS_PER_LIST))


def _probing(nprobe: int) -> Any:
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = nprobe
    return parameters


def _new_index(dimension: int, nlist: int = 1, training: Float | None = None) -> Any:
    """An empty, trained index whose labels can be removed; a single cell needs no training data."""
    quantizer = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFFlat(quantizer, dimension, nlist, faiss.METRIC_INNER_PRODUCT)
    if training is None or nlist == 1:
        quantizer.add(np.zeros((1, dimension), np.float32))
        index.is_trained = True
    else:
        index.train(training)
    index.set_direct_map_type(HASHTABLE)
    return index
