"""The figure of a contest."""

import pandas as pd

from dashboards.contest import contest_png

MODELS = {"champion": "sasrec", "challenger": "ihm_sasrec", "floor": "decayed_popularity"}
METRICS = pd.DataFrame(
    [
        (contender, "overall", "ndcg", 10, value, value - 0.01, value + 0.01)
        for contender, value in zip(MODELS, (0.1, 0.2, 0.15), strict=True)
    ],
    columns=["contender", "slice", "metric", "k", "value", "ci_low", "ci_high"],
)


def test_equal_numbers_give_equal_pictures_and_other_numbers_others() -> None:
    shown = [("ndcg", 10), ("hr", 10)]  # hr was not measured: its panel is empty
    png = contest_png(METRICS, MODELS, shown, "a contest")
    assert png.startswith(b"\x89PNG")
    assert png == contest_png(METRICS, MODELS, shown, "a contest")
    assert png != contest_png(METRICS.assign(value=0.1), MODELS, shown, "a contest")
    assert png != contest_png(METRICS, MODELS | {"champion": "gru"}, shown, "a contest")
