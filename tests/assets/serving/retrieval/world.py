"""A store whose every state has one right answer, so that a reader who sees half a change is caught.

Group g lives on axis g. Of its members one half, even or odd, is in the index at a time, and every delta of a group
exchanges the halves and gives all members of the new half the length ``version``. So whoever asks along axis g sees
one half, whole, with one score, and never an earlier version after a later one.

Users u<g> have one engagement on axis g, with an anchor that is never in the index, and have seen one member of each
half. ``nobody`` is unknown to the store.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch

from assets.serving.ivf_index import IvfIndex
from assets.serving.live.generation import Generation, GenerationRecord, switch_to
from assets.serving.live.model import LiveModel, Towers
from assets.serving.retrieval.retriever import Retriever, wall_clock
from assets.serving.retrieval.serving import Serving
from assets.serving.store.deltas import append_delta, drop_deltas
from assets.serving.store.interface import Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import EPOCH, ITEMS, SEQ, SNAPSHOT, WATERMARK, get_meta, put_meta
from assets.serving.store.records import USER_ENTRY, new_items, number_keys, pack
from assets.storage import Storage
from assets.training.refresh import TrendPreset
from models.base import ItemInputs, UserInputs

DAY = 86_400_000_000
WATERMARK_AT = 20_000 * DAY
EMBEDDED_AT = 1_700_000_000_000_000


class SumOfHistory(Towers):
    """A user is the sum of the vectors of the history's items."""

    uses_trend = False
    history_length = 10

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def item_vectors(self, items: ItemInputs) -> torch.Tensor:
        raise NotImplementedError

    def user_vectors(self, users: UserInputs, items: torch.Tensor) -> torch.Tensor:
        vectors = torch.zeros(len(users.ids), self.dimension)
        for row, history in enumerate(users.history.tolist()):
            for place in history:
                if place >= 0:
                    vectors[row] += items[place]
        return vectors


class World:
    """Writes the store of one generation, and knows what is right.

    Args:
        groups: axes, which is the dimension.
        half: members of a group in the index at a time.
    """

    def __init__(self, storage: Storage, groups: int = 6, half: int = 5, name: str = "first") -> None:
        self.storage, self.groups, self.half = storage, groups, half
        self.generation = Generation(storage.live / "generations" / name)
        self.store = LmdbStore(self.generation.store)
        self.versions = dict.fromkeys(range(groups), 1)
        self.snapshots = 0
        self._write_items()
        self.compact()
        self.generation.write_record(
            GenerationRecord(
                model="sum", seed=0, checkpoint=name, tables="", until=None, engagement={}, created_at=EMBEDDED_AT
            )
        )

    @property
    def model(self) -> LiveModel:
        return LiveModel({"model": "sum", "seed": 0}, SumOfHistory(self.groups), None, TrendPreset())

    def promote(self) -> None:
        switch_to(self.storage, self.generation)

    def members(self, group: int, version: int) -> list[str]:
        """The half that is in the index at ``version``."""
        return [f"g{group}-{place}-{version % 2}" for place in range(self.half)]

    def step(self, group: int) -> int:
        """The next delta of a group; returns its number."""
        self.versions[group] += 1
        version = self.versions[group]
        with self.store.write() as writer:
            gone, ids = self.members(group, version - 1), self.members(group, version)
            return append_delta(writer, EMBEDDED_AT, ids, self.vectors(group, version), gone).seq

    def vectors(self, group: int, version: int) -> np.ndarray:
        return np.eye(self.groups, dtype=np.float32)[[group] * self.half] * version

    def compact(self) -> None:
        """A new snapshot of the present state, in place of all deltas."""
        self.snapshots += 1
        with self.store.read() as reader:
            seq = get_meta(reader, SEQ, 0)
        index = IvfIndex(self.groups)
        index.build(
            [item for group, version in self.versions.items() for item in self.members(group, version)],
            np.concatenate([self.vectors(group, version) for group, version in self.versions.items()]),
        )
        index.nprobe = 1  # a group is in one cell: as exact as all of them
        name = f"{seq}-{self.snapshots}.safetensors"
        index.save(self.generation.snapshots / name)
        snapshot = {"seq": seq, "file": name, "epoch": 0, "items": index.size, "recall": 1.0, "created_at": EMBEDDED_AT}
        with self.store.write() as writer:
            put_meta(writer, SNAPSHOT, snapshot)
            put_meta(writer, EPOCH, 0)
            drop_deltas(writer, seq)
        for path in self.generation.snapshots.iterdir():
            if path.name != name:
                path.unlink()

    def problems(self, group: int, items: Sequence[str], scores: Sequence[float], hidden: Sequence[str]) -> list[str]:
        """What is wrong with an answer along the axis of ``group`` that asked for as many items as a half has."""
        if len(set(items)) != len(items):
            return [f"an item twice: {items}"]
        if shown := set(items) & set(hidden):
            return [f"excluded items: {sorted(shown)}"]
        own = [(item, score) for item, score in zip(items, scores, strict=True) if item.startswith(f"g{group}-")]
        if len({score for _, score in own}) != 1:
            return [f"several versions at once: {own}"]
        expected = set(self.members(group, round(own[0][1]))) - set(hidden)
        if {item for item, _ in own} != expected:
            return [f"not one whole half: {sorted(item for item, _ in own)}, expected {sorted(expected)}"]
        return []

    def user(self, group: int) -> tuple[str, list[str]]:
        """A user and what it has seen."""
        return f"u{group}", [f"anchor-{group}", f"g{group}-0-0", f"g{group}-0-1"]

    def retriever(self, new_item_days: float = 7.0) -> Retriever:
        """A retriever of whatever generation is current."""
        return Retriever(self.storage, new_item_days, self._serving)

    def _serving(self, generation: Generation) -> Serving:
        store = LmdbStore(generation.store)
        serving = Serving(generation, store, self.model, wall_clock)
        serving.close = store.close
        return serving

    def _write_items(self) -> None:
        members = [
            f"g{group}-{place}-{half}" for group in range(self.groups) for place in range(self.half) for half in (0, 1)
        ]
        items = [*members, *(f"anchor-{group}" for group in range(self.groups))]
        numbers = {item: number for number, item in enumerate(items)}
        records = new_items(len(items))
        records["total"] = np.arange(len(items)) + 1
        records["decayed"], records["decayed_at"] = np.arange(len(items)) + 1.0, WATERMARK_AT
        records["available_at"] = WATERMARK_AT - np.arange(len(items)) * DAY  # the first is the newest
        records["embedded_at"] = EMBEDDED_AT
        keys = number_keys(np.arange(len(items)))
        axes = np.array([int(item.split("-")[0 if item[0] == "g" else 1].removeprefix("g")) for item in items])
        details = [json.dumps({"item_id": item, "title": f"Title {item}", "created_at": None}) for item in items]
        with self.store.write() as writer:
            writer.put_many(Table.NUMBERS, zip([item.encode() for item in items], keys, strict=True))
            writer.put_many(Table.ITEMS, zip(keys, pack(records), strict=True))
            writer.put_many(Table.DETAILS, zip(keys, [text.encode() for text in details], strict=True))
            vectors = np.eye(self.groups, dtype=np.float32)[axes]
            writer.put_many(Table.VECTORS, zip(keys, [vector.tobytes() for vector in vectors], strict=True))
            for group in range(self.groups):
                user, seen = self.user(group)
                entry = np.array([(WATERMARK_AT, 0, numbers[f"anchor-{group}"], 0, np.nan)], USER_ENTRY)
                writer.put(Table.USER_HISTORIES, user.encode(), entry.tobytes())
                writer.put(Table.SEEN, user.encode(), np.sort([numbers[item] for item in seen]).astype("<i4").tobytes())
            put_meta(writer, ITEMS, len(items))
            put_meta(writer, WATERMARK, WATERMARK_AT)
            put_meta(writer, SEQ, 0)
