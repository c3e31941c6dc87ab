"""A tiny dataset, checkpoints of it with random weights, and a store filled by loops, without feature logging."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from assets.serving.live.items import Details
from assets.serving.live.model import LiveModel
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.meta import EPOCH, ITEMS, WATERMARK, put_meta
from assets.serving.store.records import ENTRY, NEVER, USER_ENTRY, new_items, number_keys, pack, pack_runs
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.counting import CountAll, CountDecayed, CountRecent
from assets.training.encoding import Encodings
from assets.training.presets import FitPreset
from assets.training.refresh import TrendPreset
from assets.training.saving import save_checkpoint
from assets.training.train import Trained
from models.net import RetrievalConfig
from models.registry import NETS, build_net
from tests.assets.training.slow import GENRES, START, random_tables
from tests.support import interactions_frame, write_tables

CUTOFF = "2024-03-04"
"""Items and users that come later are unknown to every checkpoint."""

QUALIFIED = 8
SEED = 2
SMOOTHING = 0.02
COUNTING = {"popularity": CountAll(), "decayed_popularity": CountDecayed(), "recent_popularity": CountRecent()}


def toy(root: Path) -> tuple[Storage, DatasetTables]:
    """240 engagements of 12 users with some 30 items over five days, with features, some of them missing.

    Of several types, one of which comes after the cutoff only, with values, some of them unknown.
    """
    frame = random_tables(4).interactions
    rows = [(row.user_id, row.item_id, row.timestamp.isoformat()) for row in frame.itertuples()]
    rows += [("newcomer", "i00", "2024-03-05T12:00:00"), ("newcomer", "late", "2024-03-05T13:00:00")]
    items = sorted({row[1] for row in rows})
    genres = {item: GENRES[: index % 4] for index, item in enumerate(items)}
    cities = {f"u{number:02d}": ["oslo", "rome"][number % 2 :] for number in range(9)}
    engagements = interactions_frame(rows)
    count, random = len(engagements), np.random.default_rng(0)
    kinds = random.choice(np.array(["rating", "view", "purchase"], object), count)
    new = (engagements["timestamp"] >= CUTOFF) & (random.random(count) < 0.4)
    engagements["event_type"] = np.where(new, "gift", kinds)
    engagements["value"] = np.where(random.random(count) < 0.3, np.nan, random.integers(2, 11, count) / 2)
    storage = write_tables(
        root,
        engagements,
        cutoff=CUTOFF,
        validation_start="2024-03-03",
        item_features={"genre": genres, "year": {item: ["2024"] for item in items[::2]}},
        user_features={"city": cities},
    )
    return storage, load_tables(storage)


def small(name: str) -> RetrievalConfig:
    """The registered net, narrow, and with histories shorter than the data's, so that they are cut."""
    values = NETS[name].model_dump()
    values["dim"] = 8
    for part in _parts(values):
        if "history_length" in part:
            part["history_length"] = 4
    return RetrievalConfig(**values)


def _parts(values: dict) -> list[dict]:
    inside = [value for value in values.values() if isinstance(value, dict)]
    return [values, *(part for value in inside for part in _parts(value))]


def save_net(storage: Storage, tables: DatasetTables, name: str) -> Path:
    """A checkpoint of random weights; its folder."""
    fit = FitPreset(net=small(name), counts=TrendPreset(half_life_days=1.5, smoothing=0.3))
    known = tables.stream.before(tables.cutoff)
    encodings = Encodings.fit(tables, known, QUALIFIED)
    torch.manual_seed(SEED)
    net = build_net(fit.net, encodings.sizes)
    for parameter in net.parameters():  # rows as small as initial ones would hide differences
        torch.nn.init.normal_(parameter, std=0.5)
    config = fit.model_dump(mode="json")
    return save_checkpoint(storage, _trained(tables, name, "net", config, encodings, net.state_dict()))


def save_counting(storage: Storage, tables: DatasetTables, name: str) -> Path:
    """A checkpoint of a counting model; its folder."""
    config = {**COUNTING[name].model_dump(mode="json"), "smoothing": SMOOTHING}
    return save_checkpoint(storage, _trained(tables, name, "counting", config))


def _trained(tables: DatasetTables, name: str, kind: str, config: dict, *rest: object) -> Trained:
    bounds = {"cutoff": str(tables.cutoff), "validation_start": str(tables.validation_start)}
    return Trained(name, kind, SEED, config, {}, {}, 1, bounds, *rest)  # type: ignore[arg-type]


def micros(instant: np.datetime64) -> int:
    return int(instant.astype("datetime64[us]").astype(np.int64))


FIRST_DAY = micros(START)


def fill(store: KeyValueStore, model: LiveModel, tables: DatasetTables, epoch: np.datetime64) -> None:
    """Everything that ``model`` reads, as of the end of ``tables``; universe row i is item number i. No vectors."""
    keys = number_keys(np.arange(len(tables.catalog)))
    items = new_items(len(keys))
    histories: list[list[tuple[int, int, int]]] = [[] for _ in keys]
    of_users: dict[str, list[tuple[int, int, int, int, float]]] = {name: [] for name in tables.users["user_id"]}
    last = micros(tables.stream.timestamps[-1])
    numbers = {item: number for number, item in enumerate(tables.catalog.item_ids)}
    for row in tables.interactions.itertuples():
        number, instant = numbers[row.item_id], micros(np.datetime64(row.timestamp))
        item = items[number]
        item["first_engaged_at"] = instant if item["total"] == 0 else item["first_engaged_at"]
        item["available_at"], item["last_engaged_at"] = item["first_engaged_at"], instant
        item["total"] += 1
        item["train_count"] += instant < micros(tables.cutoff)
        # As of another instant than the epoch: whoever reads it must decay it.
        item["decayed"] += 0.5 ** ((last - instant) / 86_400_000_000 / model.trend.half_life_days)
        item["decayed_at"] = last
        dense = int(model.history_users.encode([row.user_id])[0])
        if dense:
            histories[number].append((instant, row.source_row, dense))
        kind = int(model.event_types.encode([row.event_type])[0])
        of_users[row.user_id].append((instant, row.source_row, number, kind, row.value))
    assert (items["available_at"] != NEVER).all()
    with store.write() as writer:
        kept = [history[-model.item_history_length :] if model.item_history_length else [] for history in histories]
        writer.put_many(Table.ITEMS, zip(keys, pack(items), strict=True))
        writer.put_many(Table.ITEM_HISTORIES, [(k, v) for k, v in zip(keys, _runs(kept, ENTRY), strict=True) if v])
        writer.put_many(Table.FEATURES, zip(keys, model.encoded_items(tables.catalog.frame), strict=True))
        writer.put_many(
            Table.DETAILS,
            [(key, Details(item).encoded()) for key, item in zip(keys, tables.catalog.item_ids, strict=True)],
        )
        writer.put_many(Table.NUMBERS, [(item.encode(), keys[number]) for item, number in numbers.items()])
        names = [name.encode() for name in of_users]
        writer.put_many(Table.USERS, zip(names, model.encoded_users(tables.users), strict=True))
        latest = [history[-model.user_history_length :] for history in of_users.values()]
        writer.put_many(Table.USER_HISTORIES, zip(names, _runs(latest, USER_ENTRY), strict=True))
        seen = [np.unique([entry[2] for entry in history]).astype("<i4").tobytes() for history in of_users.values()]
        writer.put_many(Table.SEEN, zip(names, seen, strict=True))
        put_meta(writer, ITEMS, len(keys))
        put_meta(writer, WATERMARK, last)
        put_meta(writer, EPOCH, micros(epoch))


def _runs(histories: Sequence[Sequence[tuple]], entry: np.dtype) -> list[bytes]:
    entries = np.array([each for history in histories for each in history], entry)
    return pack_runs(entries, np.array([len(history) for history in histories]))
