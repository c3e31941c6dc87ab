"""A model's item vectors at refreshes, computed once each: ranking, scores and drift ask for the same ones."""

from collections import OrderedDict
from typing import Final

import numpy as np
from torch import Tensor

from assets.ranking import Recommender
from assets.stream import EngagementStream, Queries

KEPT: Final = 4
"""Refreshes whose vectors are held: the partition's, the one before it, the cutoff's, and one to spare."""


class Refreshes:
    """``model`` over ``stream`` as a recommender that remembers the latest refreshes it was asked for.

    What it hands to the model are the engagements before a refresh, so its vectors know nothing from then on.
    """

    def __init__(self, model: Recommender, stream: EngagementStream) -> None:
        self.model = model
        self.stream = stream
        self._held: OrderedDict[np.datetime64, Tensor] = OrderedDict()

    @property
    def history_length(self) -> int:
        return self.model.history_length

    def at(self, instant: np.datetime64) -> Tensor:
        """[N, D] vectors of every item as of a refresh at ``instant``."""
        if instant not in self._held:
            self._held[instant] = self.model.item_vectors(self.stream.before(instant), instant)
        self._held.move_to_end(instant)
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        return self._held[instant]

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        """The same; ``known`` are the engagements of the stream before ``instant``."""
        del known
        return self.at(instant)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        """[B, D], the model's."""
        return self.model.user_vectors(queries, items)
