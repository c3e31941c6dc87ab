"""Which k a page shows of a metrics table that was cut at several."""

from typing import Final

import pandas as pd

HEADLINE_K: Final = 10
CUT: Final = ("hr", "ndcg")
"""Metrics that are cut at the k of the settings; lists of recommendations have a length of their own."""


def measured_k(metrics: pd.DataFrame) -> int:
    """The k of leaderboards and figures: 10 where the table has it, else its first, in the order of the settings.

    Args:
        metrics: columns metric and k; 10 where it has neither of :data:`CUT`.
    """
    ks = [int(k) for k in metrics.loc[metrics["metric"].isin(CUT), "k"].unique()]
    return HEADLINE_K if HEADLINE_K in ks or not ks else ks[0]
