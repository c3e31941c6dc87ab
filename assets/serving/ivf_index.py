"""Inverted-file search (FAISS): approximate, with vectors that can be replaced and removed while the index lives.

``IndexIVFFlat`` with a hashtable direct map. Never wrapped in ``IndexIDMap2``: after a removal that one silently
returns wrong ids. FAISS also accepts a label twice without a word, so every upsert removes before it adds.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from assets.serving.faiss_file import read_ivf
from assets.serving.index_file import IndexContent, IndexFileError
from assets.serving.labels import MISSING
from assets.serving.served_index import Change, ServedIndex
from assets.serving.vector_index import Float
from assets.stream import Int, batches

HASHTABLE = faiss.DirectMap.Hashtable  # type: ignore[attr-defined]  # the stubs lack it

POINTS_PER_LIST = 39
"""FAISS's k-means wants at least this many training points per centroid, and warns below."""

QUERIES_PER_CALL = 256
"""Queries searched together; each call fetches as many extra results as its longest list of excluded items."""


class IvfIndex(ServedIndex):
    """Searches the ``nprobe`` cells nearest to the query out of ``nlist``.

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
        """See :meth:`ServedIndex.prepare`.

        Nearly all of an upsert's time in a large index goes into the cells: 40 of 50 ms for 10,000 vectors of dimension
        64 in 2,000 cells.
        """
        change = super().prepare(ids, vectors, removed)
        return replace(change, cells=self._cells(change.vectors))

    def apply(self, change: Change) -> None:
        """The quick part of a change, with no search running."""
        self.remove(change.removed)
        self._add(self._labels.add(change.ids), change.vectors, change.cells)

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
        self._faiss = read_ivf(content.arrays["faiss"], self.dimension, content.labels)
        self.nprobe = int(content.header["nprobe"])
        if not 1 <= self.nprobe <= self.nlist:
            raise IndexFileError(f"it would search {self.nprobe} of {self.nlist} cells")


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
