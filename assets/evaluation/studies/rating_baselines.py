"""Rating prediction without a net: averages that roll with time, and matrix factorization from a library."""

from itertools import repeat
from typing import Any, Final

import numpy as np
from surprise import SVD, Dataset, Reader

from assets.evaluation.studies.rating_cases import RatingCases, by_item
from assets.metrics import Floats
from assets.ranking import Cases, by_instant
from assets.stream import EngagementStream, Int, Time

ITEM_SHRINKAGE: Final = 2.0
USER_SHRINKAGE: Final = 20.0
"""k of :func:`rolling_biases`; these and the next were chosen on the validation tail of MovieLens-100K."""

FACTORIZATION: Final[dict[str, Any]] = {"n_factors": 50, "n_epochs": 40, "lr_all": 0.005, "reg_all": 0.1}
"""Hyper-parameters of the matrix factorization."""


def sums_before(stream: EngagementStream, users: Int, instants: Time, values: Floats) -> tuple[Floats, Floats]:
    """[B] sums and [B] numbers of known ``values`` of each user strictly before each instant.

    Args:
        users: [B] universe rows.
        instants: [B].
        values: [E] of the stream's engagements, NaN where unknown.
    """
    begins, ends = stream.history_bounds(users, instants)
    own = values[stream.by_user]
    known = ~np.isnan(own)
    total, number = (np.concatenate([[0.0], np.cumsum(each)]) for each in (np.where(known, own, 0.0), known))
    return total[ends] - total[begins], number[ends] - number[begins]


def means_before(stream: EngagementStream, users: Int, instants: Time) -> Floats:
    """[B] mean value of each user strictly before each instant; NaN where there is none."""
    total, number = sums_before(stream, users, instants, stream.values.astype(np.float64))
    return _ratio(total, number)


def overall_before(stream: EngagementStream, instants: Time) -> Floats:
    """[B] mean of all values strictly before each instant; NaN where there is none."""
    together = np.zeros(len(stream), np.int64)
    alone = EngagementStream(
        together, together, stream.timestamps, stream.values, stream.events, 1, 1, stream.event_types
    )
    return means_before(alone, np.zeros(len(instants), np.int64), instants)


def rolling_average(stream: EngagementStream, cases: Cases) -> Floats:
    """[C] (item mean + user mean) / 2 of what came strictly before each case: the paper's baseline (section 4.3).

    Of whom nothing came before, the mean does not exist, and the other one stands alone; of neither, the mean of all
    values so far.
    """
    user = means_before(stream, cases.users, cases.timestamps)
    item = means_before(by_item(stream), cases.items, cases.timestamps)
    known = np.stack([~np.isnan(user), ~np.isnan(item)]).sum(axis=0)  # [C] 0, 1 or 2
    total = np.nan_to_num(user) + np.nan_to_num(item)
    return np.where(known > 0, _ratio(total, known), overall_before(stream, cases.timestamps))


def rolling_biases(
    stream: EngagementStream, cases: Cases, of_item: float = ITEM_SHRINKAGE, of_user: float = USER_SHRINKAGE
) -> Floats:
    """[C] m + b_i + b_u, all of what came strictly before each case: what a mean can do at its best.

    m is the mean of all values, b_i = sum of (value - m) / (n_i + k) over the item's n_i engagements, and b_u the same
    of (value - m - b_i) over the user's, each engagement with the m and b_i of its own moment. 0 where there are none.

    Args:
        of_item: k of items.
        of_user: k of users.
    """
    items = by_item(stream)

    def item_bias(rows: Int, instants: Time) -> Floats:
        total, number = sums_before(items, rows, instants, beyond_mean)
        return total / (number + of_item)

    beyond_mean = stream.values - overall_before(stream, stream.timestamps)  # [E] NaN for the first
    beyond_item = beyond_mean - item_bias(stream.items, stream.timestamps)  # [E]
    total, number = sums_before(stream, cases.users, cases.timestamps, beyond_item)
    mean = overall_before(stream, cases.timestamps)
    return mean + item_bias(cases.items, cases.timestamps) + total / (number + of_user)


def factorization_frozen(stream: EngagementStream, held: RatingCases, cutoff: np.datetime64, seed: int) -> Floats:
    """[C] biased matrix factorization of what came before ``cutoff``, as nets are frozen there."""
    return _factorize(stream.before(cutoff), held.cases, (held.low, held.high), seed)


def factorization_daily(stream: EngagementStream, held: RatingCases, seed: int) -> Floats:
    """[C] the same, fitted anew before each UTC day on all that came before it: more than a frozen net may learn."""
    predictions = np.full(len(held), np.nan)
    for instant, rows in by_instant(held.cases.refresh_at):
        predictions[rows] = _factorize(stream.before(instant), held.cases.take(rows), (held.low, held.high), seed)
    return predictions


def _factorize(known: EngagementStream, cases: Cases, scale: tuple[float, float], seed: int) -> Floats:
    """[C] m + b_u + b_i + q_i . p_u by stochastic gradients (scikit-surprise's SVD); parts of who is unknown are 0."""
    given = np.flatnonzero(~np.isnan(known.values))
    columns = (known.users[given], known.items[given], known.values[given])
    ratings = list(zip(*(column.tolist() for column in columns), repeat(None)))
    train = Dataset(Reader(rating_scale=scale)).construct_trainset(ratings)
    fitted = SVD(random_state=seed, **FACTORIZATION).fit(train)
    answers = fitted.test(zip(cases.users.tolist(), cases.items.tolist(), np.zeros(len(cases)), strict=True))
    return np.array([answer.est for answer in answers])


def _ratio(total: Floats, number: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, total / number, np.nan)
