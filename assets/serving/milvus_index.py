"""Search on a Milvus server, under the same promises as in this process.

Milvus has no transactions: whoever searches while another one upserts sees some of the rows. The freshness path wants
whole deltas only. So a collection changes while one index object fills it, and :meth:`MilvusIndex.save` seals it: the
file names the collection, and every index loaded from the file shares it and keeps its own changes over it in this
process (:mod:`.overlay`), where deltas are anyway. A compaction, which makes a new snapshot, makes a new collection.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assets.serving.index_file import REBUILD, IndexContent, IndexFileError, read_index
from assets.serving.ivf_index import cells
from assets.serving.labels import MISSING, LabelSet
from assets.serving.milvus_server import MOST_HITS, MilvusCollection
from assets.serving.overlay import Overlay
from assets.serving.served_index import ServedIndex
from assets.serving.vector_index import Float
from assets.stream import Int

GROWTH: Final = 8
"""How many times more hits are asked for where too many of the first were hidden."""

MOST_CELLS: Final = 65_536
"""That Milvus takes for IVF_FLAT."""


def collection_of(path: Path) -> str | None:
    """Name of the collection that a saved index names; ``None`` where there is no file or the index is empty."""
    try:
        name: str | None = read_index(path, MilvusIndex.kind).header["collection"]
    except FileNotFoundError:
        return None
    return name


class MilvusIndex(ServedIndex):
    """A collection on the server that the environment names, and what changed since it was sealed.

    Args:
        dimension: of the vectors.
        namespace: its collections' names begin with it, by which abandoned ones are found.
    """

    kind = "milvus"

    def __init__(self, dimension: int, namespace: str = "index") -> None:
        super().__init__(dimension)
        self.namespace, self.threads, self.nprobe = namespace, 1, 1
        self._nlist, self._sealed = 1, False
        self._collection: MilvusCollection | None = None
        self._held = LabelSet()  # what the collection has
        self._overlay = Overlay(dimension)

    @property
    def nlist(self) -> int:
        """Number of cells of each segment."""
        return self._nlist

    @property
    def collection(self) -> str | None:
        """Its name; ``None`` as long as nothing was added."""
        return None if self._collection is None else self._collection.name

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Seal the collection and write a file that names it; changes after a former seal make a new collection."""
        if self._sealed and len(self._overlay.touched_labels):
            ids, nprobe, nlist = self.ids, self.nprobe, self.nlist
            self._rebuild(self._labels.encode(ids), self.vectors(ids))
            self.nprobe = nprobe if nlist == self.nlist else self.nlist
        if self._collection is not None:
            self._collection.seal()
        super().save(path, metadata)
        self._sealed = True

    def vectors(self, ids: Sequence[str]) -> Float:
        labels = self._labels_of(ids)
        own = self._overlay.touched(labels)
        found = np.zeros((len(labels), self.dimension), np.float32)
        if own.any():
            found[own] = np.stack([self._overlay.vector(label) for label in labels[own].tolist()])
        if not own.all():
            found[~own] = self._on_server().vectors(labels[~own])
        return found

    def discard(self) -> None:
        """Drop the collection where this object alone knows of it."""
        if self._collection is not None and not self._sealed:
            self._collection.drop()
        self._collection = None

    def _rebuild(self, labels: Int, vectors: Float) -> None:
        self.discard()
        self._overlay, self._sealed = Overlay(self.dimension), False
        self._held = LabelSet()
        self._nlist = min(cells(len(labels)), MOST_CELLS)
        self.nprobe = self._nlist
        self._put(labels, vectors)

    def _put(self, labels: Int, vectors: Float) -> None:
        if self._sealed:
            self._overlay.put(labels, vectors)
        elif len(labels):
            self._on_server().upsert(labels, vectors)
            self._held.add(labels)

    def _drop(self, labels: Int) -> None:
        if self._sealed:
            self._overlay.drop(labels)
        elif len(labels):
            self._on_server().delete(labels)
            self._held.discard(labels)

    def _search(self, queries: Float, k: int, excluded: list[Int]) -> tuple[Int, Float]:
        labels, scores = self._search_collection(queries, k, excluded)
        if not len(self._overlay):
            return labels, scores
        new_labels, new_scores = self._overlay.search(queries, k, excluded)
        labels, scores = np.concatenate([labels, new_labels], axis=1), np.concatenate([scores, new_scores], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def _search_collection(self, queries: Float, k: int, excluded: list[Int]) -> tuple[Int, Float]:
        """The collection's items that still count, more of them asked for where too many are hidden."""
        labels = np.full((len(queries), k), MISSING, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        live = self._held.without(self._overlay.touched_labels)
        count, most = len(live), len(self._held)
        if not count or not len(queries):
            return labels, scores
        hidden = np.array([int(live.contains(row).sum()) for row in excluded])
        wanted = np.minimum(k, count - hidden)  # [Q]
        pending, nprobe = np.flatnonzero(wanted > 0), self.nprobe
        fetch = min(k + int(hidden.max()) + (k if count < most else 0), most, MOST_HITS)
        while len(pending):
            found = self._on_server().search(queries[pending], fetch, nprobe)
            kept = self._kept(found, k, [excluded[row] for row in pending])
            labels[pending], scores[pending] = kept
            pending = pending[(kept[0] != MISSING).sum(axis=1) < wanted[pending]]
            if fetch == min(most, MOST_HITS) and nprobe == self.nlist:
                break
            fetch, nprobe = min(GROWTH * fetch, most, MOST_HITS), min(2 * nprobe, self.nlist)
        for row in pending.tolist() if most > MOST_HITS else []:  # more are hidden than the server gives results
            out = np.union1d(excluded[row], self._overlay.touched_labels).tolist()
            found = self._on_server().search(queries[row : row + 1], min(k, MOST_HITS), self.nlist, out)
            labels[row : row + 1], scores[row : row + 1] = self._kept(found, k, [excluded[row]])
        return labels, scores

    def _kept(self, found: tuple[Int, Float], k: int, excluded: list[Int]) -> tuple[Int, Float]:
        """[B, k] of longer results, without what is excluded or no longer counts."""
        labels, scores = found
        # Of what the server names, only labels that it was given are believed.
        out = ~self._held.contains(labels) | self._overlay.touched(labels)
        for row, hidden in enumerate(excluded):
            if len(hidden):
                out[row] |= np.isin(labels[row], hidden)
        order = np.argsort(out, axis=1, kind="stable")[:, :k]  # kept items first, still best first
        gone = np.take_along_axis(out, order, axis=1)
        labels = np.where(gone, MISSING, np.take_along_axis(labels, order, axis=1))
        scores = np.where(gone, np.float32(-np.inf), np.take_along_axis(scores, order, axis=1))
        room = ((0, 0), (0, k - labels.shape[1]))
        return np.pad(labels, room, constant_values=MISSING), np.pad(scores, room, constant_values=-np.inf)

    def _header(self) -> dict[str, Any]:
        return {"collection": self.collection, "held": len(self._held), "nprobe": self.nprobe, "nlist": self.nlist}

    def _payload(self) -> dict[str, NDArray[Any]]:
        return {}

    def _restore(self, content: IndexContent) -> None:
        self.nprobe, self._nlist = int(content.header["nprobe"]), int(content.header["nlist"])
        self._sealed = True
        name, held = content.header["collection"], int(content.header["held"])
        if not 1 <= self.nprobe <= self._nlist <= MOST_CELLS or held != len(content.labels):
            raise IndexFileError(f"an index of {len(content.labels)} items cannot be as its file says: {REBUILD}")
        self._held.add(content.labels)
        if name is None:
            return
        if not re.fullmatch(r"thaw_\w{1,200}", name):
            raise IndexFileError(f"{name!r} is no name of a collection of ours: {REBUILD}")
        self._collection = MilvusCollection(name, self.dimension)
        if not self._collection.exists():
            raise IndexFileError(f"collection {name} is no longer on the Milvus server: {REBUILD}")
        self._collection.load()
        if (count := self._collection.count()) != held:
            raise IndexFileError(f"collection {name} has {count} vectors, its index was saved with {held}: {REBUILD}")

    def _on_server(self) -> MilvusCollection:
        if self._collection is None:
            self._collection = MilvusCollection.create(self.namespace, self.dimension, self._nlist)
        return self._collection
