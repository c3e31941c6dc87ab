"""From source ids and feature values to a net's dense ids, fitted on training engagements only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.idmap import OOV, IdMap
from assets.runs import places_in_runs
from assets.schema import ITEM_COLUMNS, USER_COLUMNS, Columns
from assets.stream import PADDING, DatasetTables, EngagementStream, Int, rows_in
from models.base import Features, Sizes

MIN_VALUE_COUNT: Final = 2
"""A feature value that fewer training rows have is OOV: one row's own value is its id once more (ML-100K has 795 zip
codes for 943 users), and the OOV row gets trained by such values."""


@dataclass(frozen=True)
class Encodings:
    """Id maps and feature vocabularies; part of every checkpoint.

    Attributes:
        users: known user ids.
        items: known item ids.
        history_users: ids of qualified users.
        user_features: feature name -> known values.
        item_features: feature name -> known values.
        event_types: known types of engagements.
        content: numbers of an item's dense content; 0 where the items it was fitted on have none.
    """

    users: IdMap
    items: IdMap
    history_users: IdMap
    user_features: Mapping[str, IdMap]
    item_features: Mapping[str, IdMap]
    event_types: IdMap
    content: int = 0

    @classmethod
    def fit(cls, tables: DatasetTables, known: EngagementStream, qualified_user_min: int) -> Self:
        """Number the users and items of ``known``, and the feature values of exactly those users and items.

        Users with at least ``qualified_user_min`` engagements in ``known`` are qualified for item histories.
        """
        users = tables.users.iloc[rows_in(known.users, known.n_users)]
        qualified = np.bincount(known.users, minlength=known.n_users) >= qualified_user_min
        items = tables.catalog.frame.iloc[rows_in(known.items, known.n_items)]
        return cls(
            users=IdMap.fit(users[Columns.USER]),
            items=IdMap.fit(items[Columns.ITEM]),
            history_users=IdMap.fit(tables.users.iloc[np.flatnonzero(qualified)][Columns.USER]),
            user_features=_vocabularies(users, USER_COLUMNS),
            item_features=_vocabularies(items, ITEM_COLUMNS),
            event_types=IdMap.fit(
                np.array(known.event_types, dtype=object)[rows_in(known.events, len(known.event_types))]
            ),
            content=content_width(items),
        )

    @property
    def sizes(self) -> Sizes:
        return Sizes(
            users=self.users.size,
            items=self.items.size,
            history_users=self.history_users.size,
            user_features={name: values.size for name, values in self.user_features.items()},
            item_features={name: values.size for name, values in self.item_features.items()},
            event_types=self.event_types.size,
            content=self.content,
        )

    @property
    def maps(self) -> dict[str, IdMap]:
        """Every map by a name that is unique and fit for a file: ``users``, ``items``, ``user_feature-<name>`` …."""
        return {
            "users": self.users,
            "items": self.items,
            "history_users": self.history_users,
            "event_types": self.event_types,
            **{f"user_feature-{name}": values for name, values in self.user_features.items()},
            **{f"item_feature-{name}": values for name, values in self.item_features.items()},
        }

    @classmethod
    def from_maps(cls, maps: Mapping[str, IdMap], content: int = 0) -> Self:
        """Inverse of :attr:`maps`, with the length of content, which is no map."""
        return cls(
            users=maps["users"],
            items=maps["items"],
            history_users=maps["history_users"],
            user_features=_with_prefix(maps, "user_feature-"),
            item_features=_with_prefix(maps, "item_feature-"),
            event_types=maps["event_types"],
            content=content,
        )


def _with_prefix(maps: Mapping[str, IdMap], prefix: str) -> dict[str, IdMap]:
    return {name.removeprefix(prefix): values for name, values in maps.items() if name.startswith(prefix)}


def feature_columns(frame: pd.DataFrame, others: tuple[str, ...]) -> list[str]:
    """Names of the feature columns, sorted."""
    return sorted(str(name) for name in frame.columns if name not in others)


def _vocabularies(frame: pd.DataFrame, others: tuple[str, ...]) -> dict[str, IdMap]:
    """Per feature the values to know; a feature without any tells these rows nothing and is left out."""
    fitted = {name: _vocabulary(frame[name]) for name in feature_columns(frame, others)}
    return {name: values for name, values in fitted.items() if values.ids}


def _vocabulary(values: pd.Series) -> IdMap:
    rows = values.reset_index(drop=True).explode().dropna().reset_index().drop_duplicates()  # a value once per row
    counts = rows[values.name].value_counts()
    return IdMap.fit(counts.index[counts >= MIN_VALUE_COUNT])


@dataclass(frozen=True)
class Universe:
    """Every universe row of a dataset under one checkpoint's encodings.

    Attributes:
        user_ids: [U] dense ids, OOV for users the checkpoint was not trained on.
        item_ids: [N] dense ids, likewise.
        history_user_ids: [U] dense ids among the qualified users, OOV for the others.
        user_features: name -> [U, S] value ids.
        item_features: name -> [N, S] value ids; an item without an id still has its features.
        item_content: [N, C] float32, a row of NaN for an item without content.
        event_ids: [V] dense ids of the stream's event types, by code.
    """

    user_ids: Tensor
    item_ids: Tensor
    history_user_ids: Int
    user_features: Features
    item_features: Features
    item_content: Tensor
    event_ids: Int

    @classmethod
    def encode(cls, encodings: Encodings, tables: DatasetTables) -> Self:
        """Encode every user and item of ``tables``.

        Raises:
            ValueError: naming a column of features or content that the encodings have and the tables lack, or when
                all content is of another length.
        """
        users, items = tables.users, tables.catalog.frame
        return cls(
            user_ids=torch.from_numpy(encodings.users.encode(users[Columns.USER])),
            item_ids=torch.from_numpy(encodings.items.encode(items[Columns.ITEM])),
            history_user_ids=encodings.history_users.encode(users[Columns.USER]),
            user_features=_encode_features(users, encodings.user_features, "users"),
            item_features=_encode_features(items, encodings.item_features, "items"),
            item_content=torch.from_numpy(_content(items, encodings.content)),
            event_ids=encodings.event_types.encode(tables.stream.event_types),
        )


def _encode_features(frame: pd.DataFrame, vocabularies: Mapping[str, IdMap], table: str) -> Features:
    if missing := [name for name in vocabularies if name not in frame]:
        raise ValueError(f"table {table!r} lacks the feature column {missing[0]!r} that the model was trained with")
    return {name: torch.from_numpy(encode_lists(frame[name], values)) for name, values in vocabularies.items()}


def content_width(items: pd.DataFrame) -> int:
    """Numbers of the content of ``items``; 0 where none has any."""
    if Columns.CONTENT not in items:
        return 0
    known = items[Columns.CONTENT].dropna()
    return len(known.iloc[0]) if len(known) else 0


def _content(items: pd.DataFrame, width: int) -> NDArray[np.float32]:
    # A few items of another length, as may land after the encoder was changed, count as items without content.
    if not width:
        return np.zeros((len(items), 0), np.float32)
    if Columns.CONTENT not in items:
        raise ValueError("table 'items' lacks the column 'content' that the model was trained with")
    lengths = items[Columns.CONTENT].dropna().map(len)
    if len(lengths) and not (lengths == width).any():
        raise ValueError(f"table 'items': content of {lengths.iloc[0]} numbers, the model was trained with {width}")
    return content_matrix(items[Columns.CONTENT], width)


def content_matrix(column: pd.Series, width: int) -> NDArray[np.float32]:
    """[N, width] of a column of lists; a row of NaN where there is none, or one of another length."""
    lists = column.to_numpy(dtype=object)
    lengths = column.str.len().to_numpy(dtype=np.float64)  # NaN of a null
    fits = lengths == width
    matrix = np.full((len(lists), width), np.nan, np.float32)
    if fits.any():
        matrix[fits] = np.stack(lists[fits])
    return matrix


def encode_lists(column: pd.Series, vocabulary: IdMap) -> Int:
    """[N, S] value ids of a column of lists, left-aligned, padding behind; S is the longest list, at least 1.

    A missing or empty list becomes the one value OOV; a null inside a list is no value.
    """
    flat = column.reset_index(drop=True).explode().dropna()
    rows = flat.index.to_numpy(dtype=np.int64)
    lengths = np.bincount(rows, minlength=len(column))
    slots = places_in_runs(lengths)
    encoded = np.full((len(column), max(1, int(lengths.max(initial=0)))), PADDING, dtype=np.int64)
    encoded[rows, slots] = vocabulary.encode(flat)
    encoded[lengths == 0, 0] = OOV
    return encoded
