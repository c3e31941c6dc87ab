"""A generation's store of any size without a dataset: made-up items and users whose histories are all full.

Written in chunks, so that a catalog of a million needs no more memory than one of a thousand; says nothing about
quality. The net has random weights: what embedding costs does not depend on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from assets.config import EngagementRule, load_settings
from assets.idmap import IdMap
from assets.ingestion.tables import INTERACTIONS_SCHEMA
from assets.schema import Columns
from assets.serving.live.generation import Generation, GenerationRecord, OpenGeneration
from assets.serving.live.items import created_instants, encoded_details
from assets.serving.live.model import LiveModel
from assets.serving.store.interface import KeyValueStore, Table, Writer
from assets.serving.store.meta import EPOCH, ITEMS, WATERMARK, put_meta
from assets.serving.store.records import (
    ENTRY,
    PENDING,
    USER_ENTRY,
    Records,
    id_keys,
    new_items,
    number_keys,
    pack,
    pack_runs,
)
from assets.storage import Storage, write_json
from assets.stream import Int, batches
from assets.training.checkpoints import FORMAT, MANIFEST, LoadedNet
from assets.training.encoding import Encodings
from assets.training.presets import FitPreset, preset
from assets.training.saving import save_maps, save_weights
from models.registry import build_net

MODEL: Final = "ihm_sasrec"
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
CUTOFF: Final = np.datetime64("2024-01-01", "us")
START: Final = int(CUTOFF.astype(np.int64))
"""Event clock, microseconds: everything in a made-up store is older, what is landed is newer."""

SPAN: Final = 90 * DAY
"""Of the engagements in a made-up store."""

GENRES: Final = tuple(f"genre-{number:02}" for number in range(20))
CHUNK: Final = 20_000
"""Items or users that one transaction writes."""

SEED: Final = 0


@dataclass(frozen=True)
class Sizes:
    """How large a made-up store is.

    Attributes:
        items: in the catalog, all available.
        users: all of them qualified for item histories.
        item_history: entries of every item's history.
        user_history: entries of every user's history, and items that each has seen.
        dim: D of the embeddings.
    """

    items: int
    users: int
    item_history: int
    user_history: int
    dim: int = 64


def item_names(numbers: Int) -> list[str]:
    """Ids of items; the number in an id is the item's in the store."""
    return [f"item-{number:07}" for number in numbers.tolist()]


def user_names(numbers: Int) -> list[str]:
    """Ids of users; the dense id of user number n is n + 1."""
    return [f"user-{number:07}" for number in numbers.tolist()]


def random_model(sizes: Sizes) -> LiveModel:
    """``ihm_sasrec`` with random weights, which knows every item and user, and reads histories of ``sizes``."""
    manifest = {"model": MODEL, "kind": "net", "seed": SEED, "bounds": {"cutoff": str(CUTOFF)}}
    return LiveModel.of_net(manifest, random_net(sizes))


def random_net(sizes: Sizes) -> LoadedNet:
    """Its net, with the encodings of a checkpoint."""
    overrides = {
        "dim": sizes.dim,
        "items.history_length": sizes.item_history,
        "users.history_length": sizes.user_history,
    }
    training = load_settings({}).training.model_copy(update={"hyper_parameters": {MODEL: overrides}})
    config = preset(MODEL, training, "made-up")
    assert isinstance(config, FitPreset)
    users = IdMap(tuple(user_names(np.arange(sizes.users))))
    encodings = Encodings(
        users=users,
        items=IdMap(tuple(item_names(np.arange(sizes.items)))),
        history_users=users,
        user_features={},
        item_features={"genre": IdMap(GENRES)},
        event_types=IdMap(("view",)),
    )
    torch.manual_seed(SEED)
    return LoadedNet(build_net(config.net, encodings.sizes), encodings, config, CUTOFF)


def save_net(folder: Path, loaded: LoadedNet) -> None:
    """Write a net as a checkpoint's folder, without the tables that :mod:`assets.training.saving` asks for."""
    manifest = {
        "format": FORMAT,
        "model": MODEL,
        "kind": "net",
        "seed": SEED,
        "config": loaded.config.model_dump(mode="json"),
        "bounds": {"cutoff": str(CUTOFF)},
        "weights": save_weights(folder, loaded.net.state_dict()),
        "id_maps": save_maps(folder, loaded.encodings.maps),
    }
    write_json(folder / MANIFEST, manifest)


def fill_store(store: KeyValueStore, model: LiveModel, sizes: Sizes) -> None:
    """Write every item and user, in chunks; every item is due for its first embedding."""
    random = np.random.default_rng(SEED)
    for chunk in batches(sizes.items, CHUNK):
        with store.write() as writer:
            _put_items(writer, model, sizes, np.arange(chunk.start, chunk.stop), random)
    for chunk in batches(sizes.users, CHUNK):
        with store.write() as writer:
            _put_users(writer, sizes, np.arange(chunk.start, chunk.stop), random)
    with store.write() as writer:
        put_meta(writer, ITEMS, sizes.items)
        put_meta(writer, WATERMARK, START - 1)
        put_meta(writer, EPOCH, START - DAY)


def opened(folder: Path, store: KeyValueStore, model: LiveModel) -> OpenGeneration:
    """The store as a generation; its folder holds nothing else."""
    record = GenerationRecord(
        model=MODEL, seed=SEED, checkpoint="", tables="", until=None, engagement=EngagementRule(), created_at=START
    )
    return OpenGeneration(Storage(folder, "made-up"), store, model, Generation(folder), record)


def engagements(items: Int, users: Int, start: int, span: int, first_row: int) -> pa.Table:
    """Interactions [E] as a landed batch has them, evenly spread over ``span`` microseconds.

    Args:
        items: [E] numbers.
        users: [E] numbers.
        start: event clock, microseconds.
        first_row: source row of the first one.
    """
    count = len(items)
    columns = {
        Columns.USER: pa.array(user_names(users)),
        Columns.ITEM: pa.array(item_names(items)),
        Columns.TIMESTAMP: pa.array(start + np.arange(count) * span // count).cast(
            INTERACTIONS_SCHEMA.field(Columns.TIMESTAMP).type
        ),
        Columns.EVENT_TYPE: pa.array(["view"] * count),
        Columns.VALUE: pa.array(np.ones(count)),
        Columns.SOURCE_ROW: pa.array(first_row + np.arange(count)),
    }
    return pa.table([columns[name] for name in INTERACTIONS_SCHEMA.names], INTERACTIONS_SCHEMA)


def _put_items(writer: Writer, model: LiveModel, sizes: Sizes, numbers: Int, random: np.random.Generator) -> None:
    keys, names, count = number_keys(numbers), item_names(numbers), len(numbers)
    genres = np.array(GENRES, object)[random.integers(0, len(GENRES), (count, 2))]
    frame = pd.DataFrame(
        {
            Columns.ITEM: names,
            Columns.TITLE: names,
            Columns.CREATED_AT: CUTOFF - np.timedelta64(SPAN, "us"),
            "genre": list(genres),
        }
    )
    created = created_instants(frame)
    writer.put_many(Table.NUMBERS, zip(id_keys(names), keys, strict=True))
    writer.put_many(Table.DETAILS, zip(keys, encoded_details(frame, created, [None] * count), strict=True))
    writer.put_many(Table.FEATURES, zip(keys, model.encoded_items(frame), strict=True))
    readers = 1 + random.integers(0, sizes.users, count * sizes.item_history)
    histories = pack_runs(_entries(ENTRY, count, sizes.item_history, readers), np.full(count, sizes.item_history))
    records = new_items(count)
    records["available_at"] = created
    records["first_engaged_at"] = records["last_engaged_at"] = records["decayed_at"] = START - 1
    records["total"] = records["train_count"] = records["decayed"] = sizes.item_history
    writer.put_many(Table.ITEMS, zip(keys, pack(records), strict=True))
    writer.put_many(Table.ITEM_HISTORIES, zip(keys, histories, strict=True))
    writer.put_many(Table.PENDING, zip(keys, pack(np.zeros(count, PENDING)), strict=True))


def _put_users(writer: Writer, sizes: Sizes, numbers: Int, random: np.random.Generator) -> None:
    keys, length = id_keys(user_names(numbers)), sizes.user_history
    bought = random.integers(0, sizes.items, (len(numbers), length))
    entries = _entries(USER_ENTRY, len(numbers), length, bought.ravel())
    entries["event"], entries["value"] = 1, 1.0
    histories = pack_runs(entries, np.full(len(numbers), length))
    writer.put_many(Table.USER_HISTORIES, zip(keys, histories, strict=True))
    writer.put_many(Table.SEEN, zip(keys, _seen(np.sort(bought, axis=1)), strict=True))


def _entries(kind: np.dtype, count: int, length: int, ids: Int) -> Records:
    """``count`` runs of ``length`` entries each, evenly spread over :data:`SPAN`, the last just before the start."""
    entries = np.empty(count * length, kind)
    entries["timestamp"] = np.tile(START - 1 - (SPAN // length) * np.arange(length)[::-1], count)
    entries["row"] = np.arange(count * length)
    entries["id"] = ids
    return entries


def _seen(bought: Int) -> Iterator[bytes]:
    for row in bought.astype("<i4"):
        yield np.unique(row).tobytes()
