"""Damages to a finished home, and what the reader that meets each first has to say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.config import Settings
from assets.serving.live.generation import open_generation, require_current
from assets.serving.retrieval.retriever import Retriever
from assets.stream import load_tables
from assets.training.checkpoints import load_recommender
from assets.transforms.export import verify_tables
from tests.faults import graph


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Keep the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(path: Path) -> None:
    path.unlink()


def fill(path: Path) -> None:
    """Something else altogether."""
    path.write_bytes(b"not what it was\n" * 600)


Find = Callable[[Settings], Path]
Read = Callable[[Settings], Any]


def weights(settings: Settings) -> Path:
    return next(settings.storage.checkpoint(graph.NET, 0).glob("weights-*.safetensors"))


def checkpoint_manifest(settings: Settings) -> Path:
    return settings.storage.checkpoint(graph.NET, 0) / "manifest.json"


def index_file(settings: Settings) -> Path:
    return next(require_current(settings.storage).snapshots.glob("*.safetensors"))


def served_weights(settings: Settings) -> Path:
    return next(require_current(settings.storage).checkpoint.glob("weights-*.safetensors"))


def store_file(settings: Settings) -> Path:
    return require_current(settings.storage).store / "data.mdb"


def generation_record(settings: Settings) -> Path:
    return require_current(settings.storage).folder / "generation.json"


def pointer(settings: Settings) -> Path:
    return settings.storage.live / "current.json"


def read_checkpoint(settings: Settings) -> None:
    load_recommender(settings.storage, graph.NET, 0, load_tables(settings.storage))


def read_index(settings: Settings) -> None:
    with Retriever.open(settings.storage, settings):
        pass


def read_generation(settings: Settings) -> None:
    with open_generation(settings.storage):
        pass


def read_tables(settings: Settings) -> None:
    verify_tables(settings.storage)


@dataclass(frozen=True)
class Damage:
    """What is done to which file.

    Attributes:
        reader: that meets it first, and
        says: parts of what it says; no reader: nothing reads the file before it is made again.
    """

    find: Find
    act: Callable[[Path], None]
    reader: Read | None = None
    says: tuple[str, ...] = ()


DAMAGES = {
    "checkpoint, a byte": Damage(weights, flip, read_checkpoint, ("damaged", "materialize training/sasrec again")),
    "checkpoint, cut short": Damage(weights, cut, read_checkpoint, ("damaged", "materialize training/sasrec again")),
    "checkpoint, manifest cut short": Damage(
        checkpoint_manifest, cut, read_checkpoint, ("is not JSON", "materialize training/sasrec with seed 0 again")
    ),
    "index file, a byte": Damage(index_file, flip, read_index, ("materialize serving/item_index",)),
    "index file, cut short": Damage(index_file, cut, read_index, ("not a whole index file", "serving/item_index")),
    "index file, removed": Damage(index_file, remove, read_index, ("is missing", "thaw run")),
    "served checkpoint, a byte": Damage(served_weights, flip, read_generation, ("damaged", "thaw run")),
    "store, other content": Damage(store_file, fill, read_generation, ("store", "thaw run")),
    "generation's record, cut short": Damage(generation_record, cut, read_generation, ("is damaged", "thaw run")),
    "pointer, cut short": Damage(pointer, cut, read_generation, ("thaw run",)),
    "exported table, cut short": Damage(
        lambda s: s.storage.table("items"), cut, read_tables, ("items.parquet", "materialize transforms/tables again")
    ),
    "raw table, cut short": Damage(lambda s: s.storage.raw_table("interactions"), cut),
    "ranks, cut short": Damage(lambda s: s.storage.evaluation / "ranks" / f"{graph.NET}.parquet", cut),
    "warehouse, removed": Damage(lambda s: s.storage.warehouse, remove),
    "warehouse, other content": Damage(lambda s: s.storage.warehouse, fill),
}


def names(home: Path) -> list[str]:
    """Of every damage; a function of a child, like the other."""
    del home
    return list(DAMAGES)


def damage_and_read(home: Path, name: str) -> tuple[str | None, tuple[str, ...]]:
    """Do the damage; what the reader says of it, and what it has to."""
    settings, chosen = graph.tiny_settings(home), DAMAGES[name]
    chosen.act(chosen.find(settings))
    if chosen.reader is None:
        return None, ()
    try:
        chosen.reader(settings)
    except Exception as error:
        return f"{type(error).__name__}: {error}", chosen.says
    return "nothing", chosen.says
