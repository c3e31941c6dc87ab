"""A checkpoint as the freshness path uses it: from its folder alone, without tables.

A score is x_u . v_i + tau log q(i). :attr:`LiveModel.dimension` is that of v, which changes when an item is embedded
again; the trend log q is one dimension more, which changes with every engagement and costs no embedding.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from assets.idmap import OOV, IdMap
from assets.schema import Columns
from assets.serving.live.content import Run, packed
from assets.serving.servable import servable
from assets.serving.store.records import pack_features
from assets.stream import PADDING, Int
from assets.training.checkpoints import (
    CheckpointError,
    LoadedNet,
    checkpoint_digest,
    load_counting,
    load_net,
    read_manifest_in,
)
from assets.training.counting import CountDecayed
from assets.training.encoding import Encodings, encode_lists
from assets.training.refresh import TrendPreset
from models.base import ItemInputs, UserInputs
from models.net import Retrieval

EXPLAINED: Final = 10
"""Entries of a user's history that are kept at least, whatever the model reads: results are explained by them."""

NOTHING: Final = IdMap(())

Side = Literal["items", "users"]


class Towers(ABC):
    """What makes vectors of inputs.

    Attributes:
        dimension: D of v.
        uses_trend: whether the trend is one dimension more, of items and users.
        item_history_length: latest qualified users of an item that are read (0: none).
        history_length: latest items of a user that are read (0: none).
    """

    dimension: int
    uses_trend: bool
    item_history_length: int = 0
    history_length: int = 0

    @abstractmethod
    def item_vectors(self, items: ItemInputs) -> Tensor:
        """[M, D] without the trend."""

    @abstractmethod
    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        """[B, D], or [B, D + 1] where the trend is used, for histories that point into ``items`` [M, D]."""


class NetTowers(Towers):
    """A trained net, in eval mode, on the CPU."""

    def __init__(self, net: Retrieval) -> None:
        self.net = net.eval()
        self.dimension = net.config.dim
        self.uses_trend = net.config.trend.used
        self.item_history_length = net.item_history_length
        self.history_length = net.history_length

    def item_vectors(self, items: ItemInputs) -> Tensor:
        return self.net.item_vectors(items)[:, : self.dimension].float()

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        return self.net.user_vectors(users, items).float()


class PopularityTowers(Towers):
    """v = [log(count + smoothing)], x = [1]."""

    dimension = 1
    uses_trend = False

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing

    def item_vectors(self, items: ItemInputs) -> Tensor:
        return (items.counts.double() + self.smoothing).log().float()[:, None]

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        del items
        return torch.ones(len(users), 1)


class TrendTowers(Towers):
    """The trend and nothing else: v and x are empty, tau is 1."""

    dimension = 0
    uses_trend = True

    def item_vectors(self, items: ItemInputs) -> Tensor:
        return torch.zeros(len(items), 0)

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        del items
        return torch.ones(len(users), 1)


@dataclass(frozen=True)
class LiveModel:
    """A servable checkpoint.

    Attributes:
        manifest: of the checkpoint.
        towers: its item and user side.
        encodings: its id maps and vocabularies; ``None`` for a counting model.
        trend: how engagements decay, for the trend dimension and for the list that users without history get.
    """

    manifest: dict[str, Any]
    towers: Towers
    encodings: Encodings | None
    trend: TrendPreset

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The checkpoint in ``folder``.

        Raises:
            CheckpointError: when it is missing, incomplete or damaged, or its model cannot be served.
        """
        manifest = read_manifest_in(folder)
        if not servable(manifest["model"]):
            raise CheckpointError(
                f"{folder} holds {manifest['model']}, which cannot be kept up to date: serve a net or another count"
            )
        if manifest["kind"] == "counting":
            return cls._counting(manifest)
        return cls.of_net(manifest, load_net(folder, manifest))

    @classmethod
    def of_net(cls, manifest: dict[str, Any], loaded: LoadedNet) -> Self:
        """A net as it was loaded.

        Raises:
            CheckpointError: when it does not rank items.
        """
        if not isinstance(loaded.net, Retrieval):
            raise CheckpointError(
                f"{manifest['model']} was trained with loss {loaded.config.net.loss}: it predicts values and does not"
                " rank items; train it with a softmax to serve it"
            )
        return cls(manifest, NetTowers(loaded.net), loaded.encodings, loaded.config.counts)

    @classmethod
    def _counting(cls, manifest: dict[str, Any]) -> Self:
        counting = load_counting(manifest)
        if isinstance(counting.config, CountDecayed):
            trend = TrendPreset(half_life_days=counting.config.half_life_days, smoothing=counting.smoothing)
            return cls(manifest, TrendTowers(), None, trend)
        return cls(manifest, PopularityTowers(counting.smoothing), None, TrendPreset(smoothing=counting.smoothing))

    @property
    def name(self) -> str:
        return str(self.manifest["model"])

    @property
    def seed(self) -> int:
        return int(self.manifest["seed"])

    @cached_property
    def digest(self) -> str:
        """What names the checkpoint, see :func:`assets.training.checkpoints.checkpoint_digest`."""
        return checkpoint_digest(self.manifest)

    @property
    def trained_until(self) -> np.datetime64:
        """The cutoff: engagements from it on were not trained on."""
        return np.datetime64(self.manifest["bounds"]["cutoff"], "us")

    @property
    def dimension(self) -> int:
        """D of v."""
        return self.towers.dimension

    @property
    def uses_trend(self) -> bool:
        return self.towers.uses_trend

    @property
    def index_dimension(self) -> int:
        """Of the vectors in the index and of users': v, and the trend where it is used."""
        return self.dimension + self.uses_trend

    @property
    def item_history_length(self) -> int:
        """Latest qualified users to keep per item; 0: none."""
        return self.towers.item_history_length

    @property
    def user_history_length(self) -> int:
        """Latest items to keep per user: what the user tower reads, and enough to explain results by."""
        return max(EXPLAINED, self.towers.history_length)

    @property
    def history_users(self) -> IdMap:
        """Qualified users, those that item histories hold; nobody where no histories are read."""
        return NOTHING if self.encodings is None or not self.item_history_length else self.encodings.history_users

    @property
    def event_types(self) -> IdMap:
        """Types of engagements that the model tells apart; none where there is no vocabulary."""
        return NOTHING if self.encodings is None else self.encodings.event_types

    @property
    def content(self) -> int:
        """Numbers of an item's content that the model reads; 0: none."""
        return 0 if self.encodings is None else self.encodings.content

    def feature_names(self, side: Side) -> tuple[str, ...]:
        """Features that the model reads, in the order of the encoded rows: by name."""
        return tuple(sorted(self._vocabularies(side)))

    def encoded_items(self, items: pd.DataFrame) -> list[bytes]:
        """[N] rows of FEATURES for items with their features as columns of lists.

        A feature that ``items`` lacks, or that a row has no value of, is OOV; content follows, see :mod:`.content`.
        """
        ids = NOTHING if self.encodings is None else self.encodings.items
        return self._encoded("items", ids.encode(items[Columns.ITEM]), items, packed(items, self.content))

    def encoded_users(self, users: pd.DataFrame) -> list[bytes]:
        """[N] rows of USERS, likewise."""
        ids = NOTHING if self.encodings is None else self.encodings.users
        return self._encoded("users", ids.encode(users[Columns.USER]), users)

    def _vocabularies(self, side: Side) -> dict[str, IdMap]:
        if self.encodings is None:
            return {}
        return dict(self.encodings.item_features if side == "items" else self.encodings.user_features)

    def _encoded(self, side: Side, dense_ids: Int, frame: pd.DataFrame, dense: Sequence[Run] = ()) -> list[bytes]:
        vocabularies = self._vocabularies(side)
        names = self.feature_names(side)
        return pack_features(dense_ids, [*(_value_ids(frame, name, vocabularies[name]) for name in names), *dense])


def _value_ids(frame: pd.DataFrame, name: str, vocabulary: IdMap) -> tuple[Int, Int]:
    """All value ids of a feature one after another, and [N] how many each row has."""
    if name not in frame:
        return np.full(len(frame), OOV, np.int64), np.ones(len(frame), np.int64)
    padded = encode_lists(frame[name], vocabulary)  # [N, S]
    filled = padded != PADDING
    return padded[filled], filled.sum(axis=1)
