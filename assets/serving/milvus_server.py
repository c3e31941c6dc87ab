"""Collections on a Milvus server: the only module that speaks to one.

The address is ``THAW_MILVUS_URI`` (``http://host:19530``, or the path of a Milvus Lite folder, which one process at a
time may open), the secret ``THAW_MILVUS_TOKEN`` (``user:password`` or an API key).
"""

import functools
import os
import re
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from assets.serving.labels import MISSING
from assets.serving.vector_index import Float
from assets.stream import Int, batches

if TYPE_CHECKING:
    from pymilvus import MilvusClient

URI: Final = "THAW_MILVUS_URI"
TOKEN: Final = "THAW_MILVUS_TOKEN"

LABEL, VECTOR = "label", "vector"
MOST_HITS: Final = 16_384
"""Results that Milvus gives to one query at most."""

BYTES_PER_REQUEST: Final = 4_000_000
"""Of vectors; Milvus refuses requests of more than 64 MB, and small ones let others in between."""

QUERIES_PER_REQUEST: Final = 256
CONNECT_SECONDS: Final = 10.0


class IndexFaultError(OSError):
    """The index server failed or is not there: no fault of what was to be indexed."""


@contextmanager
def faults() -> Iterator[None]:
    """Milvus' errors as those of the machine."""
    from pymilvus.exceptions import MilvusException  # noqa: PLC0415 - an extra

    try:
        yield
    except MilvusException as error:
        raise IndexFaultError(f"Milvus ({URI}): {error}") from error


def connect() -> "MilvusClient":
    """The client for the server that the environment names; a process has one for each address.

    Raises:
        IndexFaultError: when it names none, the extra is missing or the server cannot be reached.
    """
    address = os.environ.get(URI)
    if not address:
        raise IndexFaultError(f"index.kind is milvus and {URI} is not set: set it to http://host:19530")
    try:
        import pymilvus  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise IndexFaultError("index.kind is milvus and its client is not installed: pip install .[milvus]") from error
    return _client(address, os.environ.get(TOKEN, ""), os.getpid())


@functools.lru_cache(maxsize=4)
def _client(address: str, token: str, _process: int) -> "MilvusClient":
    from pymilvus import MilvusClient  # noqa: PLC0415 - an extra

    with faults():
        return MilvusClient(uri=address, token=token, timeout=CONNECT_SECONDS)


def is_remote() -> bool:
    """Whether the environment names a server, and not the folder of a Milvus Lite."""
    return "://" in os.environ.get(URI, "")


def prefix(namespace: str) -> str:
    """What the names of a namespace's collections begin with."""
    return "thaw_" + re.sub(r"[^A-Za-z0-9]", "_", namespace) + "_"


def collections(namespace: str) -> list[str]:
    """Names of the collections of ``namespace``."""
    with faults():
        return sorted(name for name in connect().list_collections() if name.startswith(prefix(namespace)))


def drop_collections(namespace: str, kept: Collection[str] = ()) -> list[str]:
    """Drop the collections of ``namespace`` but for those ``kept``; returns their names."""
    gone = [name for name in collections(namespace) if name not in kept]
    with faults():
        for name in gone:
            connect().drop_collection(name)
    return gone


class MilvusCollection:
    """One collection of labelled vectors. What a call has written, every later call sees (strong consistency)."""

    def __init__(self, name: str, dimension: int) -> None:
        self.name, self._dimension = name, dimension
        self._client = connect()

    @classmethod
    def create(cls, namespace: str, dimension: int, nlist: int) -> "MilvusCollection":
        """A new, empty one, whose segments will have ``nlist`` cells each."""
        from pymilvus import DataType, MilvusClient  # noqa: PLC0415 - an extra

        name = prefix(namespace) + uuid.uuid4().hex[:16]
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(LABEL, DataType.INT64, is_primary=True)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
        made = cls(name, dimension)
        with faults():
            index = made._client.prepare_index_params()
            # "params" within params: pymilvus 3 spreads the outer ones, and Milvus Lite reads the inner ones alone.
            built = {"params": {"nlist": nlist}}
            index.add_index(VECTOR, index_type="IVF_FLAT", metric_type="IP", params=built)
            made._client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
        return made

    def exists(self) -> bool:
        with faults():
            return bool(self._client.has_collection(self.name))

    def load(self) -> None:
        """Let it be searched, after the server was started anew."""
        with faults():
            self._client.load_collection(self.name)

    def count(self) -> int:
        """Number of vectors."""
        with faults():
            return int(self._client.query(self.name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def upsert(self, labels: Int, vectors: Float) -> None:
        """Add or replace ``vectors`` [n, D], each label once."""
        with faults():
            for part in batches(len(labels), self._rows_per_request()):
                rows = [
                    {LABEL: label, VECTOR: vector}
                    for label, vector in zip(labels[part].tolist(), vectors[part], strict=True)
                ]
                self._client.upsert(self.name, rows)

    def delete(self, labels: Int) -> None:
        """Remove ``labels``; unknown ones are passed over."""
        with faults():
            for part in batches(len(labels), MOST_HITS // 2):
                self._client.delete(self.name, ids=labels[part].tolist())

    def vectors(self, labels: Int) -> Float:
        """[n, D] the vectors of ``labels``, each of which is there."""
        found = np.zeros((len(labels), self._dimension), np.float32)
        with faults():
            for part in batches(len(labels), min(MOST_HITS // 2, self._rows_per_request())):
                asked = labels[part].tolist()
                rows = self._client.get(self.name, ids=asked, output_fields=[LABEL, VECTOR])
                held = {row[LABEL]: row[VECTOR] for row in rows}
                found[part] = np.array([held[label] for label in asked], np.float32)
        return found

    def search(self, queries: Float, k: int, nprobe: int, hidden: Sequence[int] = ()) -> tuple[Int, Float]:
        """[Q, k] labels and scores, best first; :data:`MISSING` and ``-inf`` where there are no more.

        Args:
            k: at most :data:`MOST_HITS`.
            hidden: labels that must not be returned to any of the queries.
        """
        labels = np.full((len(queries), k), MISSING, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        but = f"{LABEL} not in {[int(label) for label in hidden]}" if len(hidden) else ""
        with faults():
            for part in batches(len(queries), QUERIES_PER_REQUEST):
                found = self._client.search(
                    self.name,
                    data=list(queries[part]),
                    limit=k,
                    output_fields=[LABEL],
                    search_params={"metric_type": "IP", "params": {"nprobe": nprobe}},
                    filter=but,
                )
                for row, hits in zip(range(*part.indices(len(queries))), found, strict=True):
                    labels[row, : len(hits)] = [hit[LABEL] for hit in hits]
                    scores[row, : len(hits)] = [hit["distance"] for hit in hits]
        return labels, scores

    def seal(self) -> None:
        """Write what is in memory to the server's storage, where it gets its cells."""
        with faults():
            self._client.flush(self.name)

    def drop(self) -> None:
        with faults():
            self._client.drop_collection(self.name)

    def _rows_per_request(self) -> int:
        return max(1, BYTES_PER_REQUEST // (4 * self._dimension))
