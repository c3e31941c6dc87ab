"""Source ids to dense integers. Part of every checkpoint: unknown ids map to OOV, never to somebody else's row."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.storage import read_parquet, write_parquet

OOV = 0
"""Dense id of everything unknown; known ids start at 1."""


class StoredIds(Sequence[str]):
    """Ids in a file, read when the first of them is asked for; how many there are is known before.

    Args:
        count: of the ids.
        read: gives them; raises when the file is not what it should be.
    """

    def __init__(self, count: int, read: Callable[[], tuple[str, ...]]) -> None:
        self._count = count
        self._read = read

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return self._read()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        return self._ids[at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __eq__(self, other: object) -> bool:
        return self._ids == (other._ids if isinstance(other, StoredIds) else other)

    def __hash__(self) -> int:
        return hash(self._ids)


@dataclass(frozen=True)
class IdMap:
    """Known source ids, in dense order: ``ids[i]`` has dense id ``i + 1``."""

    ids: Sequence[str]

    @classmethod
    def fit(cls, values: Iterable[str]) -> Self:
        """Number the distinct ``values`` in sorted order, so that equal data gives equal maps."""
        return cls(tuple(sorted(set(values))))

    @property
    def size(self) -> int:
        """Rows an embedding table needs: the known ids and OOV."""
        return len(self.ids) + 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the ids in order; checkpoints record it and loading verifies it."""
        return hashlib.sha256("\x1f".join(self.ids).encode()).hexdigest()

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.ids, dtype=object)

    def encode(self, values: Iterable[str]) -> NDArray[np.int64]:
        """Dense ids of ``values``; :data:`OOV` for the unknown."""
        return self._index.get_indexer(pd.Index(list(values), dtype=object)).astype(np.int64) + 1

    def save(self, path: Path) -> None:
        """Write atomically as one Parquet column ``id``."""
        write_parquet(path, pd.DataFrame({"id": pd.Series(self.ids, dtype=object)}))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(tuple(read_parquet(path)["id"]))
