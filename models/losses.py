"""Training losses over scores that are inner products. Every loss is a mean over the targets.

Notation: x_b user vector, v_i item vector, s_bi = x_b . v_i, y_b the target of row b, Q(i) the probability with which a
negative is drawn. The correction s - log Q makes a softmax over drawn candidates estimate the softmax over all items
(Bengio and Senecal 2008; Yi et al., RecSys 2019, eq. 3).
"""

import torch
from torch import Tensor
from torch.nn import functional


def full_softmax(users: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    """-(1/B) sum_b log( exp(s_b,y_b) / sum_i exp(s_bi) ).

    Args:
        users: [B, D].
        items: [N, D], every item.
        targets: [B] rows of ``items``.
    """
    return functional.cross_entropy(users @ items.T, targets)  # [B, N]


def sampled_softmax(
    users: Tensor, positives: Tensor, targets: Tensor, negatives: Tensor, negative_ids: Tensor, log_q: Tensor
) -> Tensor:
    """-(1/B) sum_b log( exp(s'_b,y_b) / (exp(s'_b,y_b) + sum_{j: i_j != y_b} exp(s'_b,i_j)) ), s' = s - log Q.

    One sample i_1..i_K, drawn with replacement from Q, is shared by the batch. Collision rule: where a drawn item is
    the row's own target, it is masked for that row.

    Args:
        users: [B, D].
        positives: [B, D] vectors of the targets.
        targets: [B] item ids.
        negatives: [K, D] vectors of the drawn items.
        negative_ids: [K] item ids.
        log_q: [N] log Q of every item id.
    """
    positive = (users * positives).sum(dim=1) - log_q[targets]  # [B]
    negative = users @ negatives.T - log_q[negative_ids]  # [B, K]
    negative = negative.masked_fill(targets[:, None] == negative_ids[None, :], -torch.inf)
    return (torch.logaddexp(positive, negative.logsumexp(dim=1)) - positive).mean()


def in_batch_softmax(users: Tensor, items: Tensor, item_ids: Tensor, log_q: Tensor) -> Tensor:
    """-(1/B) sum_b log( exp(s'_bb) / sum_{c: c = b or i_c != i_b} exp(s'_bc) ), s'_bc = s_bc - log Q(i_c).

    The other rows' targets are the negatives, so a popular item is drawn as often as it is popular; log Q takes that
    back. Accidental hits (another row with the same item) are masked.

    Args:
        users: [B, D].
        items: [B, D] vectors of the rows' targets.
        item_ids: [B] item ids.
        log_q: [B] log Q of each row's item.
    """
    logits = users @ items.T - log_q[None, :]  # [B, B]
    own = torch.eye(len(users), dtype=torch.bool, device=users.device)
    hits = (item_ids[:, None] == item_ids[None, :]) & ~own
    return functional.cross_entropy(logits.masked_fill(hits, -torch.inf), torch.arange(len(users), device=users.device))


def binary_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """-(1/B) sum_b [ log sigma(s_b,y_b) + log(1 - sigma(s_b,j_b)) ], one negative j_b per row (SASRec eq. 7).

    Args:
        positive: [B] scores of the targets.
        negative: [B] scores of the negatives.
    """
    return (functional.softplus(-positive) + functional.softplus(negative)).mean()
