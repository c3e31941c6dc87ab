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
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: materialize serving/item_index first")
    try:
        with safe_open(path, framework="numpy") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise IndexFileError(f"{path} is not a whole index file ({error}): {REBUILD}") from error
    if header.get("format") != FORMAT:
        raise IndexFileError(f"{path} has format {header.get('format')!r}, expected {FORMAT!r}: {REBUILD}")
    if header.pop("digest", None) != _digest(tensors, header):
        raise IndexFileError(f"{path} is corrupted (its content does not match its digest): {REBUILD}")
    if header["kind"] != kind:
        raise IndexFileError(f"{path} holds an index of kind {header['kind']!r}, not {kind!r}")
    ids = unpack_ids(tensors.pop("ids"), tensors.pop("id_ends"))
    return IndexContent(kind, ids, tensors.pop("labels"), tensors, json.loads(header["header"]))


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
