"""Causal attention over ragged sequences that lie one behind another, without padding: who reads what, and the product.

Two ways to the same numbers. By bands: queries in order are taken some at a time, and what any of them may look at is
one stretch of rows; a masked product per stretch is cheap where sequences are long. By pairs: a gather per pair that
attends is cheap where many short sequences are read at one place each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.precision import full_precision, widened

BAND = 32
"""Queries of one band. Forward and backward of 5,100 queries of length 51 (width 64, one thread) take 42 ms in bands of
8, 30 of 16, 23 of 32 and 64, 28 of 128; one mask over all rows takes 595."""

CELLS_PER_PAIR = 12
"""Cells of bands that cost about what a pair costs, forward and backward: .05 us and .7 us; where few pairs share
what is gathered, 3 us."""


@dataclass(frozen=True)
class Bands:
    """Queries in N bands of B, each with the W rows that its queries may look at.

    Attributes:
        queries: [N, B] indexes into a :class:`Reads`, its queries in ascending order; the last one is repeated behind.
        rows: [N, B] their rows.
        firsts: [N, B] first row of each one's sequence.
        width: W.
    """

    queries: Tensor
    rows: Tensor
    firsts: Tensor
    width: int

    @property
    def cells(self) -> int:
        """N B W."""
        return self.rows.numel() * self.width

    def stretch(self) -> Tensor:
        """[N, W] rows of each band; those behind the last band's end do not exist."""
        return self.firsts[:, :1] + torch.arange(self.width, device=self.rows.device)

    def mask(self) -> Tensor:
        """[N, B, W] whether a query may look at a row."""
        stretch = self.stretch()[:, None]  # [N, 1, W]
        return (stretch >= self.firsts[..., None]) & (stretch <= self.rows[..., None])


@dataclass(frozen=True)
class Reads:
    """Which outputs of a block over ragged sequences are wanted, and what each of them may look at.

    Attributes:
        queries: [Q] rows of the block's input [S, D].
        firsts: [Q] first row of each query's sequence; a query attends to the rows from there to itself.
    """

    queries: Tensor
    firsts: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        """[P] index into :attr:`queries`, ascending, and [P] row, of every query and every row it attends to."""
        counts = self.queries - self.firsts + 1
        query = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)  # [P]
        within = torch.arange(len(query), device=counts.device) - (counts.cumsum(0) - counts)[query]
        return query, self.firsts[query] + within

    def bands(self) -> Bands:
        """The queries, at least one, in bands."""
        size = min(BAND, len(self.queries))
        order = self.queries.argsort(stable=True)
        behind = order[-1:].expand(-len(order) % size)
        queries = torch.cat([order, behind]).view(-1, size)  # [N, B]
        rows, firsts = self.queries[queries], self.firsts[queries]
        # In ascending order, a band's first query belongs to its first sequence, and its last looks furthest.
        return Bands(queries, rows, firsts, int((rows[:, -1] - firsts[:, 0]).max()) + 1)

    def cheapest(self) -> Bands | None:
        """Bands, where they are cheaper than pairs."""
        if not len(self.queries):
            return None
        bands = self.bands()
        return bands if bands.cells < CELLS_PER_PAIR * int((self.queries - self.firsts + 1).sum()) else None


def attention(q: Tensor, kv: Tensor, heads: int, reads: Reads) -> Tensor:
    """[Q, D] softmax(Q K^T / sqrt(D / H)) V per head (SASRec eq. 2-3), of the rows that each query attends to.

    Args:
        q: [Q, D] queries.
        kv: [S, 2 D] keys and values of all rows.
        heads: H.
        reads: Q of them.
    """
    bands = reads.cheapest()
    return by_pairs(q, kv, heads, reads) if bands is None else by_bands(q, kv, heads, bands)


def by_bands(q: Tensor, kv: Tensor, heads: int, bands: Bands) -> Tensor:
    """See :func:`attention`; a masked product per band."""
    (n, size), (count, d) = bands.rows.shape, q.shape
    stretch = bands.stretch().clamp(max=len(kv) - 1).flatten()
    keys_values = kv.index_select(0, stretch).view(n, -1, 2, heads, d // heads)  # [N, W, 2, H, D/H]
    k, v = keys_values.permute(2, 0, 3, 1, 4)  # [N, H, W, D/H] each
    queries = q.index_select(0, bands.queries.flatten()).view(n, size, heads, d // heads)
    mixed = functional.scaled_dot_product_attention(
        queries.transpose(1, 2), k, v, attn_mask=bands.mask()[:, None]
    )  # [N, H, B, D/H]
    places = torch.empty(count, dtype=torch.long, device=q.device)
    places[bands.queries.flatten()[:count]] = torch.arange(count, device=q.device)
    return mixed.transpose(1, 2).reshape(-1, d).index_select(0, places)


def by_pairs(q: Tensor, kv: Tensor, heads: int, reads: Reads) -> Tensor:
    """See :func:`attention`; of the pairs that attend alone.

    Sums are of 32 bits at least: of bfloat16, outputs of sequences of 51 are .5 % off and gradients .6 to .8 %, of 32
    bits .3 and .4 %, as in bands.
    """
    with full_precision(q):
        wide, wide_kv = widened(q, kv)
        return _summed(wide, wide_kv, heads, reads).to(q.dtype)


def _summed(q: Tensor, kv: Tensor, h: int, reads: Reads) -> Tensor:
    """[Q, D] of :func:`by_pairs` in the precision of what is given."""
    d = q.shape[1]
    query, row = reads.pairs()  # [P]
    k, v = kv.index_select(0, row).split(d, dim=1)  # [P, D] each
    scores = (q.index_select(0, query) * k).view(-1, h, d // h).sum(dim=2) * (d / h) ** -0.5  # [P, H]
    # The largest score is taken off, as in any softmax; it cancels, so no gradient need pass through it.
    top = scores.new_full((len(q), h), -torch.inf)
    top = top.scatter_reduce(0, query[:, None].expand_as(scores), scores.detach(), "amax")  # [Q, H]
    weights = (scores - top.index_select(0, query)).exp()  # [P, H]
    total = weights.new_zeros(len(q), h).index_add(0, query, weights)  # [Q, H]
    weighted = (weights[..., None] * v.view(-1, h, d // h)).flatten(1)  # [P, D]
    mixed = q.new_zeros(len(q), d).index_add(0, query, weighted)  # [Q, D]
    return (mixed.view(-1, h, d // h) / total[..., None]).flatten(1)
