"""Rating prediction as a task: which engagements, what of the past may be read, and the error.

HRNN-meta section 4.3: the rating of each item that a user engages with is predicted, from what came strictly before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from assets.metrics import Floats
from assets.ranking import QUERIES_PER_BATCH, Cases, by_instant, item_vectors_of, user_vectors_of
from assets.stream import EngagementStream, batches, start_of_day
from assets.training.recommender import NetRecommender
from models.rating import RatingNet

RMSE: Final = "rmse"
NEGATIVE_RMSE: Final = "negative_rmse"
"""What epochs are chosen by: the highest is the best."""


@dataclass(frozen=True)
class RatingCases:
    """Engagements whose value is to be predicted, in the order of time.

    Attributes:
        cases: [C] users, items, instants and refreshes (the start of each UTC day).
        truth: [C] the values.
        low: the lowest value of training; no prediction is below.
        high: the highest.
    """

    cases: Cases
    truth: Floats
    low: float
    high: float

    def __len__(self) -> int:
        return len(self.cases)

    def clipped(self, predictions: Floats) -> Floats:
        """[C] predictions, none beyond the values that training has."""
        return np.clip(predictions, self.low, self.high)

    def rmse(self, predictions: Floats) -> float:
        """Root mean squared error of [C] predictions, clipped."""
        return float(np.sqrt(np.square(self.clipped(predictions) - self.truth).mean()))


def rating_cases(stream: EngagementStream, since: np.datetime64) -> RatingCases:
    """Every engagement from ``since`` on whose value is known, but for repeats: their value was seen before.

    Raises:
        ValueError: when there is none, or the values before ``since`` are all alike, so that there is nothing to learn.
    """
    past = stream.before(since).values
    if np.unique(past[~np.isnan(past)]).size < 2:
        raise ValueError(
            f"engagements before {since} have no two different values: this dataset has no ratings to predict"
        )
    rows = np.flatnonzero((stream.timestamps >= since) & ~np.isnan(stream.values))
    rows = np.delete(rows, stream.repeats(rows))
    if not len(rows):
        raise ValueError(f"no engagement from {since} on has a value and is no repeat: there is nothing to predict")
    instants = stream.timestamps[rows]
    return RatingCases(
        cases=Cases(stream.users[rows], stream.items[rows], instants, start_of_day(instants)),
        truth=stream.values[rows].astype(np.float64),
        low=float(np.nanmin(past)),
        high=float(np.nanmax(past)),
    )


@torch.no_grad()
def net_predictions(model: NetRecommender, cases: Cases, stream: EngagementStream) -> Floats:
    """[C] predicted values: items as of each case's refresh, users by what they did strictly before each case.

    Args:
        stream: engagements up to the last case at least.

    Raises:
        TypeError: for a net that predicts no values.
    """
    net = model.net
    if not isinstance(net, RatingNet):
        raise TypeError(f"{type(net).__name__} scores items; a net that predicts values has loss squared_error")
    predictions = np.full(len(cases), np.nan)
    for instant, rows in by_instant(cases.refresh_at):
        items = item_vectors_of((model,), stream, instant)[0]  # [N, D]
        for part in batches(len(rows), QUERIES_PER_BATCH):
            chosen = cases.take(rows[part])
            queries = stream.queries(chosen.users, chosen.timestamps, model.history_length)
            users = user_vectors_of(model, queries, items)  # [B, D]
            scores = (users * items[torch.from_numpy(chosen.items)]).sum(dim=1)
            predictions[rows[part]] = net.values(scores.to(net.mean.device)).cpu().numpy()
    return predictions


@dataclass(frozen=True)
class RatingValidator:
    """Measures a net on rating cases after an epoch."""

    held: RatingCases
    stream: EngagementStream

    def __call__(self, model: NetRecommender) -> dict[str, float]:
        """RMSE, and the same with its sign changed."""
        rmse = self.held.rmse(net_predictions(model, self.held.cases, self.stream))
        return {RMSE: rmse, NEGATIVE_RMSE: -rmse}


def by_item(stream: EngagementStream) -> EngagementStream:
    """The stream with users and items exchanged: what is asked of a user's history is then asked of an item's."""
    return replace(stream, users=stream.items, items=stream.users, n_users=stream.n_items, n_items=stream.n_users)


def groups_of(held: RatingCases, stream: EngagementStream, cutoff: np.datetime64) -> Mapping[str, NDArray[np.int64]]:
    """Rows of the cases by what is known of their user and item, by name; those without a case are left out."""
    cases, train = held.cases, stream.before(cutoff)
    begins, ends = stream.history_bounds(cases.users, cases.timestamps)
    trained_user = np.bincount(train.users, minlength=stream.n_users)[cases.users] > 0
    trained_item = np.bincount(train.items, minlength=stream.n_items)[cases.items] > 0
    masks = {
        "all": np.ones(len(held), np.bool_),
        "user in training": trained_user,
        "user later, with history": ~trained_user & (ends > begins),
        "user without history": ends == begins,
        "item in training": trained_item,
        "item later": ~trained_item,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}
