"""Attention over ragged lists of rows of one large table: IHM's item histories.

A step at ten million engagements reads 60,000 to 190,000 rows of users. Written as gathers, every product holds [E, D]
at once, 48 MB each, forward and backward, and torch sorts a gradient of E rows. Here nothing of that size is held: rows
are read where they are used, and the gradient is summed per distinct row. One thread, 150,000 entries of 64: 95 ms for
the products of queries and entries as gathers, 13 ms in parts; a weighted sum takes 5 ms.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models.precision import full_precision, widened
from models.work import DividedTable

PART = 2048
"""Entries that are gathered at a time on a CPU: 2 MiB of 64-wide rows and queries stay in its cache."""


def pool(
    own_scores: Tensor, query: Tensor, static: Tensor, table: nn.Embedding, entries: Tensor, rows: Tensor
) -> Tensor:
    """Softmax-weighted mean of each row's entries and of one vector of its own, scores being inner products.

    out_m = w_m static_m + sum_{e of m} w_e t_e, where w is the softmax of own_m and all query_m . t_e. A row without
    entries gives ``static`` back exactly.

    Args:
        own_scores: [M].
        query: [M, D].
        static: [M, D].
        table: whose rows t are pooled; its gradient is sparse where ``table.sparse`` says so.
        entries: [E] rows of the table.
        rows: [E] row (0..M-1) that each entry belongs to, ascending.

    Returns:
        [M, D].
    """
    weight, entries, sparse = _readable(table, entries)
    assert bool((rows[1:] >= rows[:-1]).all()), "entries must be grouped by their row, ascending"
    if not len(entries):
        # Nothing, but with gradients of zero: an optimiser goes on with parameters that have one, and not without.
        return static + 0 * own_scores[:, None] + functional.embedding(entries, weight, sparse=sparse).sum()
    with full_precision(query):  # gathers and sums: nothing that bfloat16 would speed up
        return _Pool.apply(*widened(own_scores, query, static), weight, entries, rows, sparse)


def _readable(table: nn.Module, entries: Tensor) -> tuple[Tensor, Tensor, bool]:
    """What holds the rows, the entries as rows of it, and whether its gradient is to be sparse."""
    if isinstance(table, DividedTable):
        return *table.read(entries), False
    assert isinstance(table, nn.Embedding)
    return table.weight, entries, table.sparse


def softmax_weights(own_scores: Tensor, scores: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """[M] and [E] weights that sum to one over a row's own score [M] and those of its entries [E]."""
    top = own_scores.scatter_reduce(0, rows, scores, "amax")  # [M] taken off, as in any softmax
    own = (own_scores - top).exp()
    weights = (scores - top.index_select(0, rows)).exp()
    total = own.index_add(0, rows, weights)  # [M]
    return own / total, weights / total.index_select(0, rows)


def inner_products(queries: Tensor, table: Tensor, entries: Tensor, rows: Tensor) -> Tensor:
    """[E] products of table row ``entries[e]`` and query ``rows[e]``, gathered in parts."""
    part = PART if table.device.type == "cpu" else len(entries)
    return torch.cat(
        [
            table.index_select(0, entry).mul_(queries.index_select(0, row)).sum(dim=1)
            for entry, row in zip(entries.split(part), rows.split(part), strict=True)
        ]
    )


def weighted_sums(table: Tensor, entries: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """[N, D] sums of weighted table rows; list n is entries ``offsets[n]`` to the next offset, or to the end."""
    return functional.embedding_bag(entries, table, offsets, mode="sum", per_sample_weights=weights)


def starts(rows: Tensor, count: int) -> Tensor:
    """[count] where each row's entries begin among ascending ``rows`` [E]."""
    return torch.searchsorted(rows, torch.arange(count, device=rows.device))


class _Pool(Function):
    """:func:`pool`, with its gradient written out."""

    @staticmethod
    def forward(
        ctx: Any,
        own_scores: Tensor,
        query: Tensor,
        static: Tensor,
        table: Tensor,
        entries: Tensor,
        rows: Tensor,
        sparse: bool,
    ) -> Tensor:
        own, weights = softmax_weights(own_scores, inner_products(query, table, entries, rows), rows)
        mixed = weighted_sums(table, entries, weights, starts(rows, len(query)))
        mixed += own[:, None] * static
        ctx.save_for_backward(own, weights, query, static, table, entries, rows, mixed)
        ctx.sparse = sparse
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        own, weights, query, static, table, entries, rows, mixed = ctx.saved_tensors
        mean = (grad * mixed).sum(dim=1)  # [M] of the entries' products with the gradient, under the weights
        product = inner_products(grad, table, entries, rows)  # [E]
        scores = weights * (product - mean.index_select(0, rows))  # [E] the scores' gradient
        return (
            own * ((grad * static).sum(dim=1) - mean),
            weighted_sums(table, entries, scores, starts(rows, len(query))),
            own[:, None] * grad,
            _table_gradient(grad, query, weights, scores, table, entries, rows, ctx.sparse),
            None,
            None,
            None,
        )


def _table_gradient(
    grad: Tensor,
    query: Tensor,
    weights: Tensor,
    scores: Tensor,
    table: Tensor,
    entries: Tensor,
    rows: Tensor,
    sparse: bool,
) -> Tensor:
    """[N, D] w_e grad_m + s_e query_m summed over the entries e of each table row, a row once and ascending."""
    ordered, order = entries.sort(stable=True)
    distinct, counts = torch.unique_consecutive(ordered, return_counts=True)
    row = rows.index_select(0, order)
    # Two entries side by side for each one: of the gradient, and of the query behind it in one small table.
    pairs = torch.stack([row, row + len(grad)], dim=1).flatten()
    both = torch.stack([weights, scores], dim=1).index_select(0, order).flatten()
    values = weighted_sums(torch.cat([grad, query]), pairs, both, 2 * (counts.cumsum(0) - counts))
    if sparse:
        return torch.sparse_coo_tensor(distinct[None], values, table.shape, is_coalesced=True, check_invariants=False)
    return torch.zeros_like(table).index_copy_(0, distinct, values)
