"""Which engines hold a generation's state, written beside it when it is built: other settings make a new one.

Without ``engines.json`` both are in the generation's folder: LMDB, and FAISS in files. On a server a generation has a
namespace of its own, random, because several homes may share the server.
"""

import json
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from assets.config import IndexKind, Settings, StoreKind, StrictModel
from assets.serving.store.interface import KeyValueStore
from assets.serving.store.meta import GENERATION, get_meta
from assets.storage import write_json

if TYPE_CHECKING:  # FAISS is loaded by those who search
    from assets.serving.served_index import ServedIndex

FILE: Final = "engines.json"


class Engines(StrictModel):
    """What holds a generation's state.

    Attributes:
        store: kind of the key-value store.
        index: kind of the vector index.
        trust_server: see ``store.trust_server``.
        namespace: what the generation's keys and collections on servers begin with; empty where it has none.
    """

    store: StoreKind = "lmdb"
    index: IndexKind = "ivf"
    trust_server: bool = False
    namespace: str = ""

    @property
    def in_words(self) -> str:
        return f"store {self.store}, index {self.index}"


def configured(settings: Settings) -> Engines:
    """The engines that the settings ask for, without a namespace."""
    return Engines(store=settings.store.kind, index=settings.index.kind, trust_server=settings.store.trust_server)


def write_engines(folder: Path, settings: Settings) -> None:
    """Write which engines a generation that is built now has; no file where they are the default ones."""
    chosen = configured(settings)
    if chosen != Engines():
        named = chosen.model_copy(update={"namespace": f"{folder.name}_{uuid.uuid4().hex[:8]}"})
        write_json(folder / FILE, named.model_dump(mode="json"))


def read_engines(folder: Path) -> Engines:
    """The engines of the generation in ``folder``."""
    try:
        return Engines(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Engines()


def other_engines(folder: Path, settings: Settings) -> str | None:
    """How the generation in ``folder`` is not kept as the settings say, in words; ``None`` where it is."""
    held, wanted = read_engines(folder), configured(settings)
    if held.model_copy(update={"namespace": ""}) == wanted:
        return None
    return f"generation {folder.name} has {held.in_words}, the settings ask for {wanted.in_words}"


def open_store(engines: Engines, path: Path) -> KeyValueStore:
    """The generation's store: in the folder ``path`` or on a server."""
    if engines.store == "redis":
        from assets.serving.store.redis_store import RedisStore  # noqa: PLC0415 - an extra

        return RedisStore(engines.namespace, engines.trust_server)
    from assets.serving.store.lmdb_store import LmdbStore  # noqa: PLC0415 - not where another one serves

    return LmdbStore(path)


def is_there(engines: Engines, path: Path) -> bool:
    """Whether the servers of a generation answer and hold something of it; true where it has none.

    Milvus Lite, which one process at a time may open, is not asked: what it holds are files.

    Args:
        path: as :func:`open_store` takes it.
    """
    try:
        if engines.store == "redis":
            with open_store(engines, path) as store, store.read() as reader:
                if get_meta(reader, GENERATION) is None:
                    return False
        if engines.index == "milvus":
            from assets.serving.milvus_server import collections, is_remote  # noqa: PLC0415 - an extra

            return not is_remote() or bool(collections(engines.namespace))
    except (OSError, ValueError):  # each engine's fault is the former, an address that cannot be one the latter
        return False
    return True


def new_index(engines: Engines, dimension: int) -> "ServedIndex":
    """An empty index of the generation's kind."""
    if engines.index == "milvus":
        from assets.serving.milvus_index import MilvusIndex  # noqa: PLC0415 - an extra

        return MilvusIndex(dimension, engines.namespace)
    from assets.serving.ivf_index import IvfIndex  # noqa: PLC0415 - loads FAISS

    return IvfIndex(dimension)


def load_saved_index(engines: Engines, path: Path) -> "ServedIndex":
    """The index that ``path`` holds or names.

    Raises:
        FileNotFoundError: when there is no such file.
        assets.serving.index_file.IndexFileError: when it is damaged, or what it names is gone.
    """
    if engines.index == "milvus":
        from assets.serving.milvus_index import MilvusIndex  # noqa: PLC0415 - an extra

        return MilvusIndex.load(path)
    from assets.serving.ivf_index import IvfIndex  # noqa: PLC0415 - loads FAISS

    return IvfIndex.load(path)


def drop_unnamed_collections(engines: Engines, kept: list[Path]) -> None:
    """Drop what no file in ``kept`` names: collections of replaced snapshots, and those that killed builds left."""
    if engines.index == "milvus":
        from assets.serving.milvus_index import collection_of  # noqa: PLC0415 - an extra
        from assets.serving.milvus_server import drop_collections  # noqa: PLC0415

        drop_collections(engines.namespace, {name for path in kept if (name := collection_of(path))})


def drop_state(engines: Engines) -> None:
    """Delete what a generation has on servers; its folder is the caller's."""
    if engines.store == "redis":
        from assets.serving.store.redis_store import RedisStore  # noqa: PLC0415 - an extra

        with RedisStore(engines.namespace, trust_server=True) as store:
            store.drop()
    if engines.index == "milvus":
        from assets.serving.milvus_server import drop_collections  # noqa: PLC0415 - an extra

        drop_collections(engines.namespace)


def keep_engines_only(folder: Path) -> None:
    """Remove from a generation's folder all but what says where its state on servers is."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != FILE:
            path.unlink()
