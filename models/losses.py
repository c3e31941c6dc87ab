"""Training losses over scores that are inner products, [T] per target; callers take the mean.

Notation: s_ti score of target row t's user and item i (trend included), y_t the target, Q(i) the probability with which
a negative is drawn. The correction s - log Q makes a softmax over drawn candidates estimate the softmax over all items
(Bengio and Senecal 2008; Yi et al., RecSys 2019, eq. 3).
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.base import TrainBatch


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


NEVER = -1e30
"""log 0 of items that were not drawn: the same in float32, and finite. Where all that was drawn is blocked, minus
infinity has no gradient but NaN."""


def sampled_softmax(own: Tensor, drawn: Tensor, blocked: Tensor) -> Tensor:
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
        drawn: [T, C] s' + log n; :data:`NEVER` for log 0.
        blocked: [T, C].
    """
    return torch.logaddexp(own, drawn.masked_fill(blocked, -torch.inf).logsumexp(dim=1)) - own


def binary_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """[T] -log sigma(s_t,y_t) - log(1 - sigma(s_t,j_t)), one negative j_t per row (SASRec eq. 7).

    Args:
        positive: [T] scores of the targets.
        negative: [T] scores of the negatives; -inf where a row has none, as the caller says of a negative that the user
            had engaged with before, or that is the row's own target.
    """
    return functional.softplus(-positive) + functional.softplus(negative)
