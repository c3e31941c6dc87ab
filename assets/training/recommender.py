"""A net and its encodings as an :class:`assets.ranking.Recommender`."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from assets.stream import PADDING, EngagementStream, Queries, batches
from assets.training.encoding import Universe
from models.base import Features, Net, UserInputs

ROWS_PER_BATCH = 4096
"""Items or users encoded at once: bounds memory, changes no result."""


class NetRecommender:
    """A trained net over one dataset's universe; vectors come back on the CPU.

    The weights are taken to be final: item vectors are computed once, because these nets read neither the instant nor
    the engagements since training. The net is put into eval mode.
    """

    def __init__(self, net: Net, universe: Universe) -> None:
        self.net = net.eval()
        self.universe = universe
        self.device = next(net.parameters()).device

    @property
    def history_length(self) -> int:
        return max(1, self.net.history_length)

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        """[N, D]; unknown items by the OOV id and their features."""
        del known, instant
        return self._item_vectors

    @cached_property
    def _item_vectors(self) -> Tensor:
        ids, features = self.universe.item_ids, self.universe.item_features
        parts = []
        with torch.inference_mode():
            for rows in batches(len(ids), ROWS_PER_BATCH):
                moved = {name: values[rows].to(self.device) for name, values in features.items()}
                parts.append(self.net.item_vectors(ids[rows].to(self.device), moved).float().cpu())
        return torch.cat(parts)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        """[B, D]; unknown users by the OOV id and their features, unknown items in a history by the OOV id."""
        del items
        parts = []
        with torch.inference_mode():
            for rows in batches(len(queries), ROWS_PER_BATCH):
                inputs = self.inputs(queries.take(np.arange(rows.start, rows.stop)))
                parts.append(self.net.user_vectors(inputs.to(self.device)).float().cpu())
        return torch.cat(parts) if parts else self._item_vectors[:0]

    def inputs(self, queries: Queries) -> UserInputs:
        """The net's inputs; the history is cut to its longest row, which keeps padding cheap."""
        length = self.net.history_length
        kept = np.minimum(queries.lengths, length)
        width = int(kept.max(initial=0))
        # Keep the latest entries when a query holds more than the net reads: left-aligned, so shift by the surplus.
        column = np.arange(width) + (queries.lengths - kept)[:, None]  # [B, L]
        filled = np.arange(width) < kept[:, None]
        items = np.take_along_axis(queries.history_items, np.where(filled, column, 0), axis=1)
        dense = self.universe.item_ids[torch.from_numpy(np.where(filled, items, 0))]
        users = torch.from_numpy(queries.users)
        return UserInputs(
            user_ids=self.universe.user_ids[users],
            user_features=_take(self.universe.user_features, users),
            history=torch.where(torch.from_numpy(filled), dense, PADDING),
            lengths=torch.from_numpy(kept),
        )


def _take(features: Features, rows: Tensor) -> Features:
    return {name: values[rows] for name, values in features.items()}
