"""A net and its encodings as an :class:`assets.ranking.Recommender`."""

import numpy as np
import torch
from torch import Tensor

from assets.stream import PADDING, EngagementStream, Int, Queries, batches, with_requests
from assets.training.refresh import ItemHistories, Refresher
from models.base import Features, Net, UserInputs

ROWS_PER_BATCH = 4096
"""Items or users encoded at once: bounds memory, changes no result."""


class NetRecommender:
    """A trained net over one dataset's universe; vectors come back on the CPU.

    The weights are taken to be final: where item vectors do not depend on the refresh they are computed once. The net
    is put into eval mode.
    """

    def __init__(self, net: Net, refresher: Refresher) -> None:
        self.net = net.eval()
        self.refresher = refresher
        self.universe = refresher.universe
        self.device = next(net.parameters()).device
        self._unchanging: Tensor | None = None

    @property
    def history_length(self) -> int:
        return max(1, self.net.history_length)

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        """[N, D]; unknown items by the OOV id, their features and their users."""
        if self._unchanging is not None:
            return self._unchanging
        histories = ItemHistories.build(known, self.universe.history_user_ids)
        vectors = self.vectors_of(np.arange(known.n_items), known, instant, histories)
        if not self.net.changes:
            self._unchanging = vectors
        return vectors

    def vectors_of(
        self, rows: Int, known: EngagementStream, instant: np.datetime64, histories: ItemHistories
    ) -> Tensor:
        """[M, D] vectors of the universe rows ``rows`` [M]; ``histories`` are those of ``known``."""
        parts = []
        with torch.inference_mode():
            for part in batches(len(rows), ROWS_PER_BATCH):
                inputs = self.refresher.inputs(rows[part], known, instant, histories)
                parts.append(self.net.item_vectors(inputs.to(self.device)).float().cpu())
        return torch.cat(parts)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        """[B, D]; unknown users by the OOV id and their features, items in a history by their vectors."""
        parts = []
        with torch.inference_mode():
            moved = items.to(self.device)
            for rows in batches(len(queries), ROWS_PER_BATCH):
                inputs = self.inputs(queries.take(np.arange(rows.start, rows.stop)))
                parts.append(self.net.user_vectors(inputs.to(self.device), moved).float().cpu())
        return torch.cat(parts) if parts else items[:0]

    def inputs(self, queries: Queries) -> UserInputs:
        """The net's inputs; the history is cut to its longest row, which keeps padding cheap."""
        length = self.net.history_length
        kept = np.minimum(queries.lengths, length)
        width = int(kept.max(initial=0))
        # Keep the latest entries when a query holds more than the net reads: left-aligned, so shift by the surplus.
        column = np.arange(width) + (queries.lengths - kept)[:, None]  # [B, L]
        filled = np.arange(width) < kept[:, None]
        column = np.where(filled, column, 0)
        items, timestamps, values, events = (
            np.take_along_axis(each, column, axis=1)
            for each in (
                queries.history_items,
                queries.history_timestamps.astype("datetime64[us]").astype(np.int64),
                queries.history_values,
                queries.history_events,
            )
        )
        requests = queries.instants.astype("datetime64[us]").astype(np.int64)
        users = torch.from_numpy(queries.users)
        return UserInputs(
            ids=self.universe.user_ids[users],
            features=_take(self.universe.user_features, users),
            history=torch.from_numpy(np.where(filled, items, PADDING)),
            times=torch.from_numpy(with_requests(timestamps.astype(np.int64), kept, requests)),
            values=torch.from_numpy(np.where(filled, values, np.float32("nan"))),
            events=torch.from_numpy(np.where(filled, self.universe.event_ids[events], PADDING)),
            lengths=torch.from_numpy(kept),
        )


def _take(features: Features, rows: Tensor) -> Features:
    return {name: values[rows] for name, values in features.items()}
