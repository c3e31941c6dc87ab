"""Training batches from precomputed arrays: no per-row Python. One iteration over a batch source is one epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch

from assets.stream import PADDING, EngagementStream, Int
from assets.training.encoding import Encodings, Universe, features_by_dense_id
from assets.training.negatives import NegativeSampler
from models.base import Features
from models.sasrec import SequenceBatch
from models.two_tower import PairBatch


class BatchSource(Protocol):
    """Training batches; one iteration is one epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Sequences:
    """Every engagement as a target, at the place in its user's sequence where its history ends.

    A user's sequence is cut into windows of at most L items. A target whose history holds e items (strictly earlier
    in time, so targets with equal timestamps share one history) belongs to the first window if e <= L, else to the
    window that starts at c * (L // 2) for the smallest c that reaches e. So it is encoded with all its history or at
    least half of the longest window, and every position up to the last is trained. Targets are paired with windows, not
    with positions, because equal timestamps give one position several targets and others none.

    Attributes:
        items: [E] dense item ids grouped by user, in time order.
        starts: [C] where each window starts in ``items``.
        lengths: [C] items of each window.
        offsets: [C + 1] where each window's targets start in the next two.
        positions: [E] items of the window before the target: the encoder position that predicts it.
        targets: [E] dense item ids.
    """

    items: Int
    starts: Int
    lengths: Int
    offsets: Int
    positions: Int
    targets: Int

    @classmethod
    def build(cls, known: EngagementStream, dense_items: Int, length: int) -> Self:
        """Windows over ``known``.

        Args:
            dense_items: [N] dense id of every universe row.
            length: L, at least 1.
        """
        users = known.users[known.by_user]
        items = dense_items[known.items[known.by_user]]
        begins, ends = known.history_bounds(users, known.timestamps[known.by_user])
        earlier = ends - begins  # [E] e
        stride = max(1, length // 2)
        window = np.maximum(0, -((length - earlier) // stride))  # [E] ceil((e - L) / stride)
        position = earlier - window * stride  # [E]
        order = np.lexsort((position, window, users))
        keys = np.stack([users[order], window[order]])  # [2, E]
        first = np.ones(len(order), np.bool_)
        first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        offsets = np.append(np.flatnonzero(first), len(order)).astype(np.int64)
        return cls(
            items=items,
            starts=(begins + window * stride)[order][offsets[:-1]],
            lengths=position[order][offsets[1:] - 1],
            offsets=offsets,
            positions=position[order],
            targets=items[order],
        )

    def __len__(self) -> int:
        return len(self.starts)


class SequenceBatches:
    """Batches of windows of about equal length with about equally many targets, in a new order every epoch.

    Windows are sorted by length (ties in random order) before they are cut, so that short sequences are not padded to
    the longest: MovieTweetings' mean sequence is 5 items, the longest window 50.

    Args:
        batch_size: targets per batch; a batch holds whole windows.
    """

    def __init__(self, sequences: Sequences, sampler: NegativeSampler, batch_size: int, seed: int) -> None:
        self.sequences = sequences
        self.sampler = sampler
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return max(1, round(len(self.sequences.targets) / self.batch_size))

    def __iter__(self) -> Iterator[SequenceBatch]:
        noise = torch.rand(len(self.sequences), generator=self.generator).numpy()
        order = np.lexsort((noise, self.sequences.lengths))
        targets = np.cumsum(np.diff(self.sequences.offsets)[order])
        cuts = np.searchsorted(targets, targets[-1] * np.arange(1, len(self)) / len(self))
        parts = np.split(order, cuts)
        for index in torch.randperm(len(parts), generator=self.generator).tolist():
            if len(parts[index]):
                yield self.batch(parts[index])

    def batch(self, windows: Int) -> SequenceBatch:
        """The batch of the given windows."""
        data = self.sequences
        lengths = data.lengths[windows]
        slots = np.arange(lengths.max(initial=0))
        filled = slots < lengths[:, None]  # [B, L]
        inside = np.where(filled, data.starts[windows][:, None] + slots, 0)
        counts = data.offsets[windows + 1] - data.offsets[windows]
        chosen = np.repeat(data.offsets[windows] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())  # [T]
        targets = torch.from_numpy(data.targets[chosen])
        return SequenceBatch(
            history=torch.from_numpy(np.where(filled, data.items[inside], PADDING)),
            target_rows=torch.from_numpy(np.repeat(np.arange(len(windows)), counts)),
            target_positions=torch.from_numpy(data.positions[chosen]),
            targets=targets,
            negatives=self.sampler.draw(targets, self.generator),
            log_q=self.sampler.log_q,
        )


class PairBatches:
    """Engagements in groups contiguous in time, the groups in a new order every epoch.

    A group is a batch, so in-batch negatives come from the same days as the target and the serving regime is kept
    (DESIGN section 4). Its groups are as equal in size as possible.

    Negatives are drawn by being other rows' targets: log Q is the log frequency over all of ``known``. With local
    groups the best score is therefore log p_t(i|u) - log q_t(i) + log Q(i), q_t the group's own frequencies: the
    trend of the moment cancels and the long-run popularity stays.

    Args:
        batch_size: engagements per group, at most.
    """

    def __init__(
        self, known: EngagementStream, encodings: Encodings, universe: Universe, batch_size: int, seed: int
    ) -> None:
        sizes = encodings.sizes
        self.user_ids = universe.user_ids[torch.from_numpy(known.users)]  # [E]
        self.item_ids = universe.item_ids[torch.from_numpy(known.items)]  # [E]
        self.user_features = features_by_dense_id(universe.user_ids, universe.user_features, sizes.users)
        self.item_features = features_by_dense_id(universe.item_ids, universe.item_features, sizes.items)
        counts = torch.bincount(self.item_ids, minlength=sizes.items).double()
        self.log_q = (counts / counts.sum()).log().float()  # [N]; -inf for OOV, which is no target
        self.groups = np.array_split(np.arange(len(known)), -(-len(known) // batch_size))
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[PairBatch]:
        for index in torch.randperm(len(self.groups), generator=self.generator).tolist():
            yield self.batch(self.groups[index])

    def batch(self, rows: Int) -> PairBatch:
        """The batch of the given engagements."""
        users, items = self.user_ids[rows], self.item_ids[rows]
        return PairBatch(
            user_ids=users,
            user_features=_take(self.user_features, users),
            item_ids=items,
            item_features=_take(self.item_features, items),
            log_q=self.log_q[items],
        )


def _take(features: Features, ids: torch.Tensor) -> Features:
    return {name: values[ids] for name, values in features.items()}
