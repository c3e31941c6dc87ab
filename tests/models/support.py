"""Small inputs for nets, and the training losses one exponential at a time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.base import PADDING, Features, ItemInputs, Sizes, TrainBatch, UserInputs

SIZES = Sizes(
    users=7,
    items=9,
    history_users=5,
    user_features={"age": 3},
    item_features={"genre": 5, "year": 4},
    event_types=3,
)
HOUR = 3_600_000_000
MONDAY = 1_704_067_200_000_000
"""2024-01-01T00:00:00Z in microseconds."""
BARE = Sizes(users=7, items=9, history_users=5, user_features={}, item_features={}, event_types=3)

GENRES = ((1, 2), (3,), (), (4, 1, 2), (2,), (1,), (3, 4), (2, 3))
YEARS = ((1,), (2,), (3,), (1,), (), (2,), (3,), (1,))
HISTORIES = ((1, 2), (3,), (), (4, 1, 2), (2,), (1, 4), (3,), ())
"""Qualified users of each item of :func:`item_inputs`; two items have none."""


def lists(rows: Iterable[Sequence[int]], width: int = 0) -> Tensor:
    """[N, S] of ragged rows, left-aligned, padding behind; S is the longest row's length or ``width``."""
    rows = [list(row) for row in rows]
    width = max([width, *(len(row) for row in rows)])
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in rows], dtype=torch.int64).view(
        len(rows), width
    )


def ragged(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """[E] row of each entry and [E] entries."""
    pairs = [(row, entry) for row, entries in enumerate(rows) for entry in entries]
    return torch.tensor([row for row, _ in pairs]).long(), torch.tensor([entry for _, entry in pairs]).long()


def item_inputs(
    ids: Sequence[int] = (3, 1, 5, 2, 6, 0, 4, 0),
    histories: Sequence[Sequence[int]] = HISTORIES,
    genres: Sequence[Sequence[int]] = GENRES,
    years: Sequence[Sequence[int]] = YEARS,
    features: bool = True,
) -> ItemInputs:
    """Eight items by default, rows 5 and 7 unknown to the net; item i's counts and trend are functions of its row."""
    rows, users = ragged(histories)
    number = torch.arange(len(ids), dtype=torch.float32)
    return ItemInputs(
        ids=torch.tensor(ids),
        features={"genre": lists(genres, 1), "year": lists(years, 1)} if features else {},
        content=torch.zeros(len(ids), 0),
        counts=7 * number,
        log_trend=0.3 * number - 2,
        history_rows=rows,
        history_users=users,
    )


def user_inputs(
    histories: Sequence[Sequence[int]],
    ids: Sequence[int] | None = None,
    ages: Sequence[int] | None = None,
    width: int = 0,
) -> UserInputs:
    """Users by their histories; unknown ones of an unknown age unless said otherwise.

    Row r's entries follow each other after 1, 2, 4 … times r + 1 quarters of an hour; every third value is unknown.
    """
    zeros = [0] * len(histories)
    width = max([width, *map(len, histories)])
    places = torch.arange(width + 1)
    behind = places[:-1] >= torch.tensor([len(row) for row in histories]).reshape(-1, 1)  # [B, L]
    steps = (2**places) * (torch.arange(len(histories))[:, None] + 1) * (HOUR // 4)  # [B, L + 1]
    values = torch.where((places[:-1] % 3 == 2) | behind, math.nan, 1.0 + places[:-1] + 0 * behind)
    return UserInputs(
        ids=torch.tensor(zeros if ids is None else ids, dtype=torch.int64),
        features={"age": torch.tensor(zeros if ages is None else ages, dtype=torch.int64)[:, None]},
        history=lists(histories, width),
        times=MONDAY + steps.cumsum(dim=1),
        values=values,
        events=torch.where(behind, PADDING, places[:-1] % SIZES.event_types),
        lengths=torch.tensor([len(row) for row in histories], dtype=torch.int64),
    )


SEEN = ((0,), (0, 3), (5,), (), (2,), (2, 1))
"""Candidates that the user of each target of :func:`train_batch` had engaged with before."""
USER_HISTORIES = ((0, 3), (5,), (), (2, 7, 1))


def train_batch(loss: str = "full_softmax", features: bool = True) -> TrainBatch:
    """Six targets of four users among seven candidates; item 7 is in a history only.

    Targets 1 and 2 share an item, a target has no history, and drawn negatives collide with targets and with what was
    seen. What must not be read is NaN: the log probability of what is never drawn.
    """
    users = user_inputs(USER_HISTORIES, ids=[1, 2, 0, 4], ages=[1, 2, 0, 1])
    negatives = {"sampled_softmax": [6, 3, 0, 2, 2, 0], "bce": [5, 1, 2, 0, 6, 3]}.get(loss, [])
    log_q = torch.tensor([0.1, 0.2, 0.05, 0.25, 0.1, 0.1, 0.2, math.nan]).log()
    return TrainBatch(
        items=item_inputs(features=features),
        candidates=7,
        users=users if features else replace(users, features={}),
        target_rows=torch.tensor([0, 0, 1, 2, 3, 3]),
        target_positions=torch.tensor([1, 2, 1, 0, 1, 3]),
        targets=torch.tensor([3, 6, 6, 1, 4, 0]),
        values=torch.tensor([4.0, 1.0, math.nan, 5.0, 2.0, 3.0]),
        seen_targets=ragged(SEEN)[0],
        seen_items=ragged(SEEN)[1],
        negatives=torch.tensor(negatives, dtype=torch.int64),
        log_q=torch.zeros(0) if loss == "full_softmax" else log_q,
        rebalanced=torch.tensor([3, 0, 0, 5, 1, 2]),
        reversed=torch.tensor([3, 3, 4, 5, 3, 0]),
    )


def requests(batch: TrainBatch) -> UserInputs:
    """One request per target: its user with nothing but what was known at the target."""
    users, rows = batch.users, batch.target_rows.tolist()
    positions = batch.target_positions.tolist()
    kept = [users.history[row, :position].tolist() for row, position in zip(rows, positions, strict=True)]
    width = max(positions)
    return UserInputs(
        ids=users.ids[batch.target_rows],
        features=_rows(users.features, batch.target_rows),
        history=lists(kept),
        times=users.times[batch.target_rows, : width + 1],
        values=users.values[batch.target_rows, :width],
        events=users.events[batch.target_rows, :width],
        lengths=batch.target_positions,
    )


def _rows(features: Features, rows: Tensor) -> Features:
    return {name: values[rows] for name, values in features.items()}


def slow_softmax(own: float, others: Iterable[float]) -> float:
    """-log( exp(own) / (exp(own) + sum exp(others)) )."""
    return -math.log(math.exp(own) / (math.exp(own) + sum(math.exp(other) for other in others)))


def slow_full(scores: Tensor, labels: Sequence[int], blocked: Sequence[set[int]]) -> list[float]:
    """Loss of each row of scores [T, C] by the equation of :func:`models.losses.full_softmax`."""
    return [
        slow_softmax(row[label], [row[i] for i in range(len(row)) if i != label and i not in out])
        for row, label, out in zip(scores.tolist(), labels, blocked, strict=True)
    ]


def slow_sampled(
    scores: Tensor, labels: Sequence[int], drawn: Sequence[int], q: Sequence[float], blocked: Sequence[set[int]]
) -> list[float]:
    """By the equation of :func:`models.losses.sampled_softmax`; a drawn item that is the row's label counts."""
    return [
        slow_softmax(row[label] - math.log(q[label]), [row[i] - math.log(q[i]) for i in drawn if i not in out])
        for row, label, out in zip(scores.tolist(), labels, blocked, strict=True)
    ]


def slow_in_batch(
    scores: Tensor,
    labels: Sequence[int],
    q: Sequence[float],
    blocked: Sequence[set[int]],
    targets: Sequence[int] | None = None,
) -> list[float]:
    """Softmax over the batch (Yi et al., RecSys 2019): all targets are negatives, less a row's own and what it saw.

    Args:
        targets: of the batch, where the labels are not those.
    """
    own = [{label} for label in labels]
    return slow_sampled(
        scores, labels, labels if targets is None else targets, q, [a | b for a, b in zip(blocked, own, strict=True)]
    )


def slow_bce(
    scores: Tensor, labels: Sequence[int], negatives: Sequence[int], blocked: Sequence[set[int]]
) -> list[float]:
    """By the equation of :func:`models.losses.binary_cross_entropy`; blocked negatives and a row's own do not count."""
    return [
        math.log(1 + math.exp(-row[label]))
        + (0 if negative == label or negative in out else math.log(1 + math.exp(row[negative])))
        for row, label, negative, out in zip(scores.tolist(), labels, negatives, blocked, strict=True)
    ]


def slow_loss(
    loss: str, scores: Tensor, labels: Sequence[int], batch: TrainBatch, also: Sequence[int] = ()
) -> list[float]:
    """[T] of scores [T, C] by the documented equations, under the labels of one labelling.

    Args:
        also: another labelling's labels: under a softmax, candidates whatever was seen.
    """
    open_ = [{label, other} for label, other in zip(labels, also or labels, strict=True)]
    blocked = [set(seen) - labelled for seen, labelled in zip(SEEN, open_, strict=True)]
    q, drawn = batch.log_q.exp().tolist(), batch.negatives.tolist()
    if loss == "full_softmax":
        return slow_full(scores, labels, blocked)
    if loss == "sampled_softmax":
        return slow_sampled(scores, labels, drawn, q, blocked)
    if loss == "in_batch_softmax":
        return slow_in_batch(scores, labels, q, blocked)
    return slow_bce(scores, labels, drawn, [set(seen) for seen in SEEN])
