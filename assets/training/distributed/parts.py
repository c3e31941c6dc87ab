"""Shares of a batch: which rows a process computes, and the inputs that those need. Torch and numpy alone."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from assets.stream import Int
from models.base import ItemInputs, TrainBatch, UserInputs


def even_bounds(rows: int, processes: int) -> Int:
    """[W + 1] bounds of shares of ``rows`` rows that differ by one at most."""
    return np.arange(processes + 1, dtype=np.int64) * rows // processes


def bounds_by_cost(costs: Int, processes: int) -> Int:
    """[W + 1] bounds of consecutive shares of about the same sum of ``costs`` [B], each of them positive."""
    total = np.cumsum(costs)
    wanted = np.arange(1, processes) * total[-1] / processes
    return np.concatenate([[0], np.searchsorted(total, wanted, side="right"), [len(costs)]]).astype(np.int64)


def item_share(items: ItemInputs, begin: int, end: int) -> ItemInputs:
    """The inputs of rows ``begin`` to ``end``; history entries are in order of their rows."""
    ends = torch.searchsorted(items.history_rows, torch.tensor([begin, end], device=items.history_rows.device)).tolist()
    entries, rows = slice(*ends), slice(begin, end)
    return ItemInputs(
        ids=items.ids[rows],
        features={name: values[rows] for name, values in items.features.items()},
        content=items.content[rows],
        counts=items.counts[rows],
        log_trend=items.log_trend[rows],
        history_rows=items.history_rows[entries] - begin,
        history_users=items.history_users[entries],
    )


def user_share(users: UserInputs, begin: int, end: int) -> UserInputs:
    """The inputs of rows ``begin`` to ``end``."""
    rows = slice(begin, end)
    return UserInputs(
        ids=users.ids[rows],
        features={name: values[rows] for name, values in users.features.items()},
        history=users.history[rows],
        times=users.times[rows],
        values=users.values[rows],
        events=users.events[rows],
        lengths=users.lengths[rows],
    )


def target_share(batch: TrainBatch, begin: int, end: int, *, paired: bool) -> TrainBatch:
    """The batch with the targets ``begin`` to ``end`` alone, against the same candidates and the same sample.

    What mixes targets (``rebalanced``, ``reversed``) stays as it was: heads do that before rows are shared out.

    Args:
        paired: whether a negative belongs to a target each.
    """
    rows = slice(begin, end)
    inside = (batch.seen_targets >= begin) & (batch.seen_targets < end)
    return replace(
        batch,
        target_rows=batch.target_rows[rows],
        target_positions=batch.target_positions[rows],
        targets=batch.targets[rows],
        values=batch.values[rows],
        seen_targets=batch.seen_targets[inside] - begin,
        seen_items=batch.seen_items[inside],
        # In-batch negatives are all the batch's targets, not those of this share.
        negatives=batch.negatives[rows] if paired else batch.drawn,
    )


def places_of(shares: list[Tensor], total: int) -> Tensor:
    """[total] where each row of the whole lies in the shares laid one behind another."""
    order = torch.cat(shares)
    places = torch.empty_like(order)
    places[order] = torch.arange(total, device=order.device)
    return places
