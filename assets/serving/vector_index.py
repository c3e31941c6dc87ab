"""One small interface for vector search over item ids.

Scores are inner products. An index is self-describing: it holds the item ids themselves and, once saved, says in its
file's header which model and tables it was made from. One thread may change an index at a time, with no search running.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from assets.serving.index_file import REBUILD, IndexContent, IndexFileError, read_index, write_index
from assets.serving.labels import MISSING, Labels
from assets.stream import Int

Float = NDArray[np.float32]
Exclude = Sequence[Sequence[str]]
"""Per query, the item ids that must not be returned; ids that are not in the index are passed over."""


@dataclass(frozen=True)
class SearchResult:
    """Best first; ties in any order.

    Attributes:
        ids: [Q, k] item ids (str), ``None`` where fewer than k items could be returned.
        scores: [Q, k] float32 inner products, ``-inf`` where the id is ``None``.
    """

    ids: NDArray[np.object_]
    scores: Float


class VectorIndex(ABC):
    """Maximum inner product search over items named by string ids."""

    kind: ClassVar[str]

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"an index needs a dimension of at least 1, got {dimension}")
        self.dimension = dimension
        self.metadata: dict[str, Any] = {}
        self._labels = Labels()

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self._labels)

    @property
    def ids(self) -> list[str]:
        """Ids of all items."""
        return self._labels.ids

    def __contains__(self, item: object) -> bool:
        return item in self._labels

    def build(self, ids: Sequence[str], vectors: Float) -> None:
        """Replace whatever the index holds by ``vectors`` [n, D].

        Raises:
            ValueError: for a repeated id, a wrong shape or a vector that is not finite.
        """
        vectors = self._checked(ids, vectors)
        if len(set(ids)) != len(ids):
            raise ValueError(f"item {_first_repeated(ids)!r} is given twice: an index holds one vector per item")
        self._labels = Labels()
        self._rebuild(self._labels.add(ids), vectors)

    def upsert(self, ids: Sequence[str], vectors: Float) -> int:
        """Add items or replace their vectors [n, D]; where an id comes twice, its last vector wins.

        Returns:
            How many items were new.

        Raises:
            ValueError: for a wrong shape or a vector that is not finite; the index is as it was.
        """
        vectors = self._checked(ids, vectors)
        last = {item: row for row, item in enumerate(ids)}
        before = self.size
        self._put(self._labels.add(list(last)), vectors[list(last.values())])
        return self.size - before

    def remove(self, ids: Sequence[str]) -> int:
        """Remove items.

        Returns:
            How many were there; unknown ids are passed over.
        """
        labels = self._labels.discard(ids)
        self._drop(labels)
        return len(labels)

    def search(self, queries: Float, k: int, exclude: Exclude | None = None) -> SearchResult:
        """The k items of highest inner product with each query.

        Args:
            queries: [Q, D].
            k: items per query, at least 1.
            exclude: per query, ids that must not be returned.

        Raises:
            ValueError: for a wrong shape, a query that is not finite, or k < 1.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(
                f"queries have shape {queries.shape}, the index holds vectors of dimension {self.dimension}"
            )
        if not np.isfinite(queries).all():
            raise ValueError(f"query {_first_bad_row(queries)} is not finite")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if exclude is not None and len(exclude) != len(queries):
            raise ValueError(f"{len(exclude)} lists of excluded items for {len(queries)} queries")
        excluded = (
            [self._known(row) for row in exclude] if exclude is not None else [np.empty(0, np.int64)] * len(queries)
        )
        labels, scores = self._search(queries, k, excluded)
        return SearchResult(self._labels.decode(labels), scores)

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write everything to one file, atomically. ``metadata`` (JSON values) replaces :attr:`metadata`."""
        self.metadata = dict(self.metadata if metadata is None else metadata)
        ids = self._labels.ids
        header = {"dimension": self.dimension, "metadata": self.metadata, **self._header()}
        write_index(path, IndexContent(self.kind, ids, self._labels.encode(ids), self._payload(), header))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: when there is no such file.
            assets.serving.index_file.IndexFileError: when the file is truncated, corrupted or of another kind.
        """
        content = read_index(path, cls.kind)
        try:
            index = cls(int(content.header["dimension"]))
            index.metadata = content.header["metadata"]
            index._labels = Labels(content.ids, content.labels)
            index._restore(content)
        except (IndexFileError, KeyError, TypeError) as error:
            raise IndexFileError(f"{path} does not hold the index that it says it holds: {error}; {REBUILD}") from error
        return index

    @abstractmethod
    def vectors(self, ids: Sequence[str]) -> Float:
        """[n, D] stored vectors of ``ids``.

        Raises:
            KeyError: naming an id that the index lacks.
        """

    @abstractmethod
    def _rebuild(self, labels: Int, vectors: Float) -> None: ...

    @abstractmethod
    def _put(self, labels: Int, vectors: Float) -> None: ...

    @abstractmethod
    def _drop(self, labels: Int) -> None: ...

    @abstractmethod
    def _search(self, queries: Float, k: int, excluded: list[Int]) -> tuple[Int, Float]: ...

    @abstractmethod
    def _payload(self) -> dict[str, NDArray[Any]]: ...

    @abstractmethod
    def _restore(self, content: IndexContent) -> None: ...

    def _header(self) -> dict[str, Any]:
        return {}

    def _known(self, ids: Sequence[str]) -> Int:
        labels = np.unique(self._labels.encode(ids))
        return labels[labels != MISSING]

    def _labels_of(self, ids: Sequence[str]) -> Int:
        labels = self._labels.encode(ids)
        if (labels == MISSING).any():
            raise KeyError(f"item {ids[int(np.argmin(labels))]!r} is not in the index")
        return labels

    def _checked(self, ids: Sequence[str], vectors: Float) -> Float:
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.shape != (len(ids), self.dimension):
            raise ValueError(
                f"{len(ids)} items of dimension {self.dimension} need vectors of that shape, got {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError(f"the vector of item {ids[_first_bad_row(vectors)]!r} is not finite")
        return vectors


def _first_bad_row(rows: Float) -> int:
    return int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])


def _first_repeated(ids: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(item for item in ids if item in seen or seen.add(item))  # type: ignore[func-returns-value]
