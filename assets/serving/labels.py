"""Item ids as the int64 labels that vector indexes store. Internal to an index: labels mean nothing outside of it."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from assets.stream import Int

MISSING = -1
"""Label of an id that is not in the index, and of an empty slot in a search result."""


class Labels:
    """A one-to-one map from the item ids in an index to small integers; labels of removed items are given out again."""

    def __init__(self, ids: Iterable[str] = (), labels: Iterable[int] = ()) -> None:
        self._label = {item: int(label) for item, label in zip(ids, labels, strict=True)}
        capacity = max(self._label.values(), default=-1) + 1
        self._ids: NDArray[np.object_] = np.full(capacity, None, dtype=object)
        for item, label in self._label.items():
            self._ids[label] = item
        self._free = [label for label in range(capacity) if self._ids[label] is None]

    def __len__(self) -> int:
        return len(self._label)

    def __contains__(self, item: object) -> bool:
        return item in self._label

    @property
    def ids(self) -> list[str]:
        """Every id, in the order of its first addition."""
        return list(self._label)

    def add(self, ids: Sequence[str]) -> Int:
        """[n] labels of ``ids``, giving new ones to the ids that have none."""
        labels = np.empty(len(ids), np.int64)
        for row, item in enumerate(ids):
            label = self._label.get(item)
            if label is None:
                label = self._take(item)
            labels[row] = label
        return labels

    def discard(self, ids: Sequence[str]) -> Int:
        """[m] labels that the known ones among ``ids`` had; unknown ids are passed over."""
        gone = [label for item in dict.fromkeys(ids) if (label := self._label.pop(item, None)) is not None]
        self._free.extend(gone)
        labels = np.asarray(gone, np.int64)
        self._ids[labels] = None
        return labels

    def encode(self, ids: Sequence[str]) -> Int:
        """[n] labels; :data:`MISSING` for ids that are not in the index."""
        return np.fromiter((self._label.get(item, MISSING) for item in ids), np.int64, len(ids))

    def decode(self, labels: Int) -> NDArray[np.object_]:
        """Ids of ``labels``, any shape; ``None`` for :data:`MISSING`."""
        known = labels >= 0
        ids = np.full(labels.shape, None, dtype=object)
        ids[known] = self._ids[labels[known]]
        return ids

    def _take(self, item: str) -> int:
        label = self._free.pop() if self._free else len(self._label)
        if label >= len(self._ids):
            room = np.full(max(1024, len(self._ids)), None, dtype=object)
            self._ids = np.concatenate([self._ids, room])
        self._label[item] = label
        self._ids[label] = item
        return label


class LabelSet:
    """A set of labels, a byte for each up to the largest: many are looked up at once."""

    def __init__(self) -> None:
        self._held: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return int(self._held.sum())

    @property
    def labels(self) -> Int:
        """Every label in it, ascending."""
        return np.flatnonzero(self._held)

    def add(self, labels: Int) -> None:
        """Add labels [n], none of them :data:`MISSING`."""
        missing = int(labels.max(initial=-1)) + 1 - len(self._held)
        if missing > 0:
            self._held = np.concatenate([self._held, np.zeros(max(missing, len(self._held)), np.bool_)])
        self._held[labels] = True

    def contains(self, labels: Int) -> NDArray[np.bool_]:
        """Which of ``labels`` (any shape, :data:`MISSING` allowed) are in it."""
        known = (labels >= 0) & (labels < len(self._held))
        found = np.zeros(labels.shape, np.bool_)
        found[known] = self._held[labels[known]]
        return found

    def without(self, labels: Int) -> "LabelSet":
        """A new set of those that are not among ``labels`` [n]."""
        rest = LabelSet()
        rest._held = self._held.copy()
        rest.discard(labels)
        return rest

    def discard(self, labels: Int) -> None:
        """Remove labels [n], none of them :data:`MISSING`; those that are not in it are passed over."""
        self._held[labels[labels < len(self._held)]] = False
