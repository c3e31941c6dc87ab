"""Training losses over scores that are inner products, [T] per target; callers take the mean.

Notation: s_ti score of target row t's user and item i (trend included), y_t the target, Q(i) the probability with which
a negative is drawn. The correction s - log Q makes a softmax over drawn candidates estimate the softmax over all items
(Bengio and Senecal 2008; Yi et al., RecSys 2019, eq. 3).
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models.base import TrainBatch
from models.precision import full_precision, widened


def blocked_pairs(batch: TrainBatch) -> Tensor:
    """[T, C] bool: candidates that are no candidates for a target, because its user had engaged with them before."""
    blocked = torch.zeros(len(batch.targets), batch.candidates, dtype=torch.bool, device=batch.targets.device)
    blocked[batch.seen_targets, batch.seen_items] = True
    return blocked


def full_softmax(scores: Tensor, labels: tuple[Tensor, ...], blocked: Tensor) -> tuple[Tensor, ...]:
    """[T] -log( exp(s_t,y_t) / sum_{i not blocked} exp(s_ti) ) for each labelling y of the same rows.

    Args:
        scores: [T, M], every item that exists at the refresh; overwritten where blocked.
        labels: each [T] columns of ``scores``, never blocked.
        blocked: [T, M].
    """
    log_probabilities = scores.masked_fill_(blocked, -torch.inf).log_softmax(dim=1)  # [T, M]
    return tuple(functional.nll_loss(log_probabilities, label, reduction="none") for label in labels)


LEAST = -1e30
"""Taken off instead of the largest score of a row that has none: minus infinity less minus infinity is NaN."""


@dataclass(frozen=True)
class Drawn:
    """The distinct items of a sample: what was never drawn adds nothing to a sum, and has no score computed.

    Attributes:
        items: [K] rows of the batch's candidates, ascending.
        times: [K] how often each was drawn.
        columns: [C] where a candidate stands among ``items``; K for one that was not drawn.
    """

    items: Tensor
    times: Tensor
    columns: Tensor

    @classmethod
    def of(cls, draws: Tensor, candidates: int) -> Self:
        """Of draws [any number], rows below ``candidates``."""
        times = torch.bincount(draws, minlength=candidates)  # [C]
        items = times.nonzero()[:, 0]
        places = torch.arange(len(items), device=items.device)
        columns = torch.full_like(times, len(items)).index_copy_(0, items, places)
        return cls(items, times.index_select(0, items), columns)

    def blocked(self, batch: TrainBatch, labels: tuple[Tensor, ...]) -> Tensor:
        """[T, K + 1] :func:`blocked_pairs` of these items without any row's labels; the last column is no item's."""
        blocked = batch.targets.new_zeros(len(batch.targets), len(self.items) + 1, dtype=torch.bool)
        blocked[batch.seen_targets, self.columns[batch.seen_items]] = True
        rows = torch.arange(len(blocked), device=blocked.device)
        for label in labels:
            blocked[rows, self.columns[label]] = False
        return blocked

    def with_own(self, blocked: Tensor, label: Tensor) -> Tensor:
        """[T, K + 1] ``blocked``, and each row's own label [T] as well."""
        rows = torch.arange(len(blocked), device=blocked.device)
        return blocked.index_put((rows, self.columns[label]), torch.ones_like(blocked[0, 0]))


def log_sum_of_products(x: Tensor, vectors: Tensor, offset: Tensor, blocked: Tensor) -> Tensor:
    """[T] log sum_{j not blocked} exp(x_t . v_j + o_j); minus infinity, without any gradient, where all are blocked.

    The cells of [T, K] are the largest part of a step over ids. They are written once and scaled where they are small,
    in ``x``: torch's masked sum of exponentials made four of them, and another two in its gradient.

    Args:
        x: [T, D].
        vectors: [K, D].
        offset: [K].
        blocked: [T, K].
    """
    if not len(vectors):
        return (x @ vectors.T).sum(dim=1) - torch.inf
    with full_precision(x):  # a sum over thousands of items, in whatever precision x came
        return _LogSum.apply(*widened(x, vectors, offset), blocked)


class _LogSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, vectors: Tensor, offset: Tensor, blocked: Tensor) -> Tensor:
        scores = torch.addmm(offset[None, :], x, vectors.T).masked_fill_(blocked, -torch.inf)  # [T, K]
        top = scores.amax(dim=1, keepdim=True).clamp_(min=LEAST)
        shares = scores.sub_(top).exp_()
        total = shares.sum(dim=1)  # [T] at least 1, from the largest; 0 where all are blocked
        ctx.save_for_backward(x, vectors, shares, total)
        return top[:, 0] + total.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, vectors, shares, total = ctx.saved_tensors
        scale = grad / total.clamp(min=1)  # [T]
        return (
            shares @ vectors * scale[:, None],
            shares.T @ (x * scale[:, None]),
            shares.T @ scale if ctx.needs_input_grad[2] else None,
            None,
        )


def sampled_softmax(own: Tensor, drawn: Tensor) -> Tensor:
    """[T] -log( exp(s'_t,y_t) / (exp(s'_t,y_t) + sum_{j not blocked} n_j exp(s'_t,j)) ), s' = s - log Q.

    One sample, drawn with replacement from Q, is shared by the batch; item j is in it n_j times. A row's own target may
    be among them, and counts as any other draw: that the target is found out among draws from Q then has its minimum
    where exp(s) is in proportion to the true probabilities, whatever the sample's size (Ma and Collins, EMNLP 2018),
    and with its size the gradient approaches the full softmax's. Without those draws neither holds: fitting 50 free
    scores, perplexity was 6 % worse with 128 draws and 50 % worse with 1,024.

    The batch's own targets can be the sample: they are drawn as often as they are popular. A row's own is in it once
    for being its target, so there the caller blocks it as a draw (Yi et al., RecSys 2019).

    Args:
        own: [T] s' of the targets.
        drawn: [T] log of the sum over what was drawn, of :func:`log_sum_of_products`.
    """
    return torch.logaddexp(own, drawn) - own


def binary_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """[T] -log sigma(s_t,y_t) - log(1 - sigma(s_t,j_t)), one negative j_t per row (SASRec eq. 7).

    Args:
        positive: [T] scores of the targets.
        negative: [T] scores of the negatives; -inf where a row has none, as the caller says of a negative that the user
            had engaged with before, or that is the row's own target.
    """
    return functional.softplus(-positive) + functional.softplus(negative)
