"""What the champion recommends in a partition: how much of the catalog, how popular, by what scores."""

from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from assets.champion.quality.contenders import CHAMPION, Contest, drawn
from assets.champion.quality.spans import Span
from assets.evaluation.protocol import CaseSet
from assets.evaluation.slices import list_columns
from assets.ranking import Cases, by_instant, user_vectors_of
from assets.stream import PADDING, Int

MOST_SCORES: Final = 2_000
QUANTILES: Final = {"score_p10": 0.1, "score_p50": 0.5, "score_p90": 0.9}


def predictions_row(
    contest: Contest, span: Span, case_set: CaseSet, ranks: dict[str, pd.DataFrame], most: int, seed: int
) -> dict[str, Any] | None:
    """Numbers of at most ``most`` of the champion's lists, those of users with some history; ``None`` without any.

    Coverage is the share of the items available at the last of their refreshes that are in one of the lists, so it
    grows with the number of lists; popularity is the mean of log(1 + engagements before the cutoff) over what is
    listed; scores are inner products as the model gives them, trend included.

    Returns:
        Columns of ``predictions.parquet`` but checkpoint and model.
    """
    frame = ranks[CHAMPION]
    lists = frame[list_columns(frame)].to_numpy(dtype=np.int64)
    having = np.flatnonzero(frame["has_history"].to_numpy(dtype=bool) & (lists != PADDING).any(axis=1))
    chosen = drawn(having, most, f"lists {span.partition}", seed)
    if not len(chosen):
        return None
    kept = lists[chosen]
    named = kept[kept != PADDING]
    scores = list_scores(contest, case_set.cases.take(chosen), kept)
    shown = scores[drawn(np.arange(len(scores)), MOST_SCORES, f"scores {span.partition}", seed)]
    return {
        "partition": span.partition,
        "starts_at": span.starts_at,
        "ends_at": span.ends_at,
        "lists": len(chosen),
        "coverage": len(np.unique(named)) / int(frame["catalog"].to_numpy()[chosen].max()),
        "mean_popularity": float(np.log1p(contest.tables.catalog.train_count[named]).mean()),
        **{name: float(np.quantile(scores, share)) for name, share in QUANTILES.items()},
        "scores": shown.astype(np.float64),
    }


@torch.no_grad()
def list_scores(contest: Contest, cases: Cases, lists: Int) -> np.ndarray:
    """The champion's scores of what it listed, flat, in the order of cases [C] and lists [C, K]."""
    champion, stream = contest.champion, contest.tables.stream
    scores = np.full(lists.shape, np.nan)
    for instant, rows in by_instant(cases.refresh_at):
        items = champion.at(instant)
        queries = stream.queries(cases.users[rows], cases.timestamps[rows], champion.history_length)
        users = user_vectors_of(champion, queries, items)  # [R, D]
        listed = items[torch.from_numpy(np.maximum(lists[rows], 0))]  # [R, K, D]; padding is left out below
        scores[rows] = torch.einsum("rd,rkd->rk", users, listed).numpy()
    return scores[lists != PADDING]
