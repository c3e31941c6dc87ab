"""How far item embeddings move from one refresh to the next, and from where they were at the cutoff."""

from typing import Any, Final

import numpy as np
import pandas as pd
from torch import Tensor

from assets.champion.quality.contenders import Contest
from assets.champion.quality.spans import Span
from assets.metrics import Floats
from assets.stream import Catalog, Int

MOVED: Final = 0.01
"""Cosine distance beyond which an item counts as moved: float32 sums in another order make about 1e-7."""


def embeddings_row(contest: Contest, span: Span, most: int) -> dict[str, Any] | None:
    """Cosine distances of items between the refresh at the span's start and the one a span before.

    The trend, which changes with every engagement, is no part of an embedding. Of a model whose items have no
    histories nothing moves, and that is what the row says.

    Args:
        most: items compared: of those available at the earlier refresh the same ones in every partition.

    Returns:
        Columns of ``embeddings.parquet`` but checkpoint and model; ``from_cutoff`` is NaN where none of the items was
        available at the cutoff. ``None`` for a counting model, and where no item was available.
    """
    before = span.starts_at - span.length
    catalog, cutoff = contest.tables.catalog, contest.tables.cutoff
    items = sampled_items(catalog, before, most)
    if not contest.dimension or not len(items):
        return None
    now = _embeddings(contest, span.starts_at, items)
    distances = cosine_distances(now, _embeddings(contest, before, items))
    old = catalog.available_at[items] <= cutoff
    since = cosine_distances(now[old], _embeddings(contest, cutoff, items[old]))
    return {
        "partition": span.partition,
        "starts_at": span.starts_at,
        "items": len(items),
        "mean_distance": float(distances.mean()),
        "p95_distance": float(np.quantile(distances, 0.95)),
        "moved_share": float((distances > MOVED).mean()),
        "from_cutoff": float(since.mean()) if len(since) else np.nan,
        "distances": distances,
    }


def sampled_items(catalog: Catalog, instant: np.datetime64, most: int) -> Int:
    """At most ``most`` rows of items available at ``instant``, those with the smallest digests of their ids.

    So an item stays in the sample until enough others join, wherever its row is, and partitions compare like with like.
    """
    rows = catalog.rows_at(instant)
    digests = pd.util.hash_array(catalog.item_ids[rows], categorize=False)
    return np.sort(rows[np.argsort(digests, kind="stable")[:most]])


def cosine_distances(left: Floats, right: Floats) -> Floats:
    """[n] 1 - cosine, in [0, 2], of rows [n, D]; 0 between two zero vectors, 1 between a zero vector and another."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    both_zero = ~left.any(axis=1) & ~right.any(axis=1)
    cosine = np.einsum("nd,nd->n", left, right) / np.where(lengths > 0, lengths, 1.0)
    return np.clip(1.0 - np.where(both_zero, 1.0, cosine), 0.0, 2.0)


def _embeddings(contest: Contest, instant: np.datetime64, items: Int) -> Floats:
    vectors: Tensor = contest.champion.at(instant)
    return vectors[:, : contest.dimension].numpy()[items].astype(np.float64)
