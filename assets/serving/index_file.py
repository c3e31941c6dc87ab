"""The one file that a saved index is: safetensors, so that nothing is ever unpickled, with a digest over everything.

Tensors: ``labels`` [n] int64, ``ids`` (all item ids as one run of UTF-8 bytes) with ``id_ends`` [n] int64, and the
arrays of the index's kind. Header: ``format``, ``kind``, ``header`` (JSON) and ``digest`` (SHA-256 over all of it).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from assets.storage import write_bytes
from assets.stream import Int

FORMAT = "thaw-index-1"
MOST_DIMENSIONS = 1 << 16
FREE_LABELS, LABELS_PER_ITEM = 1_000_000, 100
"""Labels are places in arrays, so the largest one says how much memory a file takes. Labels of removed items are given
out again: to lie beyond these bounds, an index must have lost more than 99 % of its items and a million of them."""

REBUILD = "materialize serving/item_index to write it again"


class IndexFileError(ValueError):
    """A file is not a whole, unchanged index of the kind asked for."""


@dataclass(frozen=True)
class IndexContent:
    """What a saved index holds.

    Attributes:
        kind: which implementation wrote it.
        ids: [n] item ids.
        labels: [n] the label each id has in ``arrays``.
        arrays: the implementation's own.
        header: JSON values: ``dimension``, ``metadata``, and the implementation's own.
    """

    kind: str
    ids: list[str]
    labels: Int
    arrays: dict[str, NDArray[Any]]
    header: dict[str, Any]


def write_index(path: Path, content: IndexContent) -> None:
    """Write atomically: a reader sees the old file or the new one."""
    ids, id_ends = pack_ids(content.ids)
    tensors = {**content.arrays, "labels": content.labels, "ids": ids, "id_ends": id_ends}
    header = {"format": FORMAT, "kind": content.kind, "header": json.dumps(content.header, sort_keys=True)}
    header["digest"] = _digest(tensors, header)
    write_bytes(path, save(tensors, metadata=header))


def read_index(path: Path, kind: str) -> IndexContent:
    """Read and verify a file written by :func:`write_index`.

    Raises:
        FileNotFoundError: when there is no such file.
        IndexFileError: when it is truncated, corrupted, of another format or of another kind.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError as error:  # told by opening: a look before would miss what is removed after it
        raise FileNotFoundError(f"{path} does not exist: materialize serving/item_index first") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise IndexFileError(f"{path} is not a whole index file ({error}): {REBUILD}") from error
    if header.get("format") != FORMAT:
        raise IndexFileError(f"{path} has format {header.get('format')!r}, expected {FORMAT!r}: {REBUILD}")
    if header.pop("digest", None) != _digest(tensors, header):
        raise IndexFileError(f"{path} is corrupted (its content does not match its digest): {REBUILD}")
    if header.get("kind") != kind:
        raise IndexFileError(f"{path} holds an index of kind {header.get('kind')!r}, not {kind!r}")
    try:
        return _content(kind, tensors, header)
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # a right digest proves no right writer
        raise IndexFileError(f"{path} is not a whole index file ({error}): {REBUILD}") from error


def _content(kind: str, tensors: dict[str, NDArray[Any]], header: dict[str, str]) -> IndexContent:
    told = json.loads(header["header"])
    if type(told["dimension"]) is not int or not 1 <= told["dimension"] <= MOST_DIMENSIONS:
        raise ValueError(f"dimension {told['dimension']!r}")
    text, ends, labels = (tensors.pop(name) for name in ("ids", "id_ends", "labels"))
    for name, array, wanted in (("ids", text, np.uint8), ("id_ends", ends, np.int64), ("labels", labels, np.int64)):
        if array.dtype != wanted or array.ndim != 1:
            raise ValueError(f"{name} is {array.dtype} of {array.ndim} dimensions")
    if len(ends) != len(labels) or (np.diff(ends, prepend=0, append=len(text)) < 0).any():
        raise ValueError("the ends of ids do not fit the ids or the labels")
    most = FREE_LABELS + LABELS_PER_ITEM * len(labels)
    if len(np.unique(labels)) < len(labels) or (len(labels) and not 0 <= labels.min() <= labels.max() < most):
        raise ValueError(f"labels repeat, or lie outside of 0 to {most}")
    ids = unpack_ids(text, ends)
    if len(set(ids)) < len(ids):
        raise ValueError("an id comes twice")
    return IndexContent(kind, ids, labels, tensors, told)


def pack_ids(ids: Sequence[str]) -> tuple[NDArray[np.uint8], Int]:
    """All ids as one run of UTF-8 bytes, and [n] where each ends: strings as tensors."""
    encoded = [item.encode() for item in ids]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([len(item) for item in encoded], dtype=np.int64)


def unpack_ids(text: NDArray[np.uint8], ends: Int) -> list[str]:
    """Inverse of :func:`pack_ids`."""
    characters = text.tobytes()
    starts = [0, *ends[:-1].tolist()] if len(ends) else []
    return [characters[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True)]


def _digest(tensors: dict[str, NDArray[Any]], header: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()
